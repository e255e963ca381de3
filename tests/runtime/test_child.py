from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.runtime.child import Child, ChildError, Priority
from latency_sweep.runtime.interruption import Interrupted, interruptible

if TYPE_CHECKING:
    from pathlib import Path

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " print('deaf', flush=True); time.sleep(600)"
)
STUBBORN = [sys.executable, "-c", DEAF]
linux = pytest.mark.skipif(
    sys.platform != "linux", reason="needs pidfd and the parent-death signal"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_for_the_end(pid_descriptor: int) -> None:
    """A pidfd becomes readable when its process ends."""
    poller = select.poll()
    poller.register(pid_descriptor, select.POLLIN)
    assert poller.poll(30_000), "the process did not end"
    os.close(pid_descriptor)


def test_leaving_the_context_ends_the_child(tmp_path: Path) -> None:
    with Child("sleeper", SLEEP, folder=tmp_path) as child:
        assert child.running
    assert not child.running


def test_a_signal_that_comes_while_it_starts_leaves_no_child(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = []

    class Interrupting(subprocess.Popen[bytes]):
        """Is not yet anybody's when the signal comes."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupting)
    with pytest.raises(Interrupted), interruptible():
        Child("sleeper", SLEEP, folder=tmp_path)
    (process,) = started
    assert process.poll() is not None


def test_a_child_holds_no_signals_back(tmp_path: Path) -> None:
    code = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    with Child("asker", python(code), folder=tmp_path) as child:
        assert child.wait(within_sec=30) == 0
    assert child.output.read_text() == "set()\n"


def test_standard_output_and_error_are_kept_apart(tmp_path: Path) -> None:
    code = "import sys; print('result'); print('complaint', file=sys.stderr)"
    with Child("talker", python(code), folder=tmp_path) as child:
        assert child.wait(within_sec=30) == 0
    assert child.output.read_text() == "result\n"
    assert child.log.read_text() == "complaint\n"


@pytest.mark.parametrize(
    ("environment", "seen"), [(None, "shell None"), ({"ONLY": "given"}, "None given")]
)
def test_the_environment_is_the_one_given_or_that_of_this_process(
    environment: dict[str, str] | None,
    seen: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OF_THE_SHELL", "shell")
    code = "import os; print(os.environ.get('OF_THE_SHELL'), os.environ.get('ONLY'))"
    with Child("reader", python(code), folder=tmp_path, environment=environment) as child:
        child.wait(within_sec=30)
    assert child.output.read_text() == f"{seen}\n"


def test_a_patient_child_has_a_lower_priority(tmp_path: Path) -> None:
    code = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"
    with Child("patient", python(code), folder=tmp_path, priority=Priority.PATIENT) as child:
        child.wait(within_sec=30)
    assert int(child.output.read_text()) > os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.parametrize("priority", [Priority.FIRST, Priority.PROMPT])
def test_an_urgent_child_runs_whether_or_not_its_priority_is_allowed(
    priority: Priority, tmp_path: Path
) -> None:
    code = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"
    with Child("urgent", python(code), folder=tmp_path, priority=priority) as child:
        child.wait(within_sec=30)
    assert int(child.output.read_text()) == os.getpriority(os.PRIO_PROCESS, 0)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="probe cannot be started: there is no program /none"):
        Child("probe", ["/none"], folder=tmp_path)


def test_an_early_death_is_told_with_the_log_and_its_last_lines(tmp_path: Path) -> None:
    code = "import sys; [print(n, file=sys.stderr) for n in range(9)]; sys.exit(3)"
    with Child("probe", python(code), folder=tmp_path) as child:
        child.wait(within_sec=30)
        with pytest.raises(ChildError) as caught:
            child.check()
    assert str(caught.value) == (
        f"probe ended with exit code 3; its log {child.log} ends with:\n  4\n  5\n  6\n  7\n  8"
    )


def test_a_child_that_ends_while_it_is_waited_for_is_noticed(tmp_path: Path) -> None:
    with (
        Child("probe", python("raise SystemExit(2)"), folder=tmp_path) as child,
        pytest.raises(ChildError, match=r"exit code 2; its log .* is empty"),
    ):
        child.wait_until(lambda: False, within_sec=30, what="listen")


def test_a_child_that_does_not_get_ready_in_time_is_told(tmp_path: Path) -> None:
    with (
        Child("probe", SLEEP, folder=tmp_path) as child,
        pytest.raises(ChildError, match=r"probe did not listen within 0\.05 s"),
    ):
        child.wait_until(lambda: False, within_sec=0.05, what="listen")


def test_a_signal_is_told_as_one(tmp_path: Path) -> None:
    with Child("probe", SLEEP, folder=tmp_path) as child:
        os.kill(child.pid, signal.SIGKILL)
        child.wait(within_sec=30)
        with pytest.raises(ChildError, match="was killed by signal 9"):
            child.check()


def test_a_child_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latency_sweep.runtime.child._STOP_WITHIN_SEC", 0.05)
    child = Child("deaf", STUBBORN, folder=tmp_path)
    child.wait_until(lambda: child.output.stat().st_size > 0, within_sec=30, what="start")
    child.stop()
    assert not child.running


@linux
def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    with Child("parent", python(code), folder=tmp_path) as child:
        child.wait_until(lambda: child.output.stat().st_size > 0, within_sec=30, what="start")
        descriptor = os.pidfd_open(int(child.output.read_text()))
    wait_for_the_end(descriptor)


def test_ctrl_c_at_the_terminal_does_not_reach_a_child(tmp_path: Path) -> None:
    with Child("sleeper", SLEEP, folder=tmp_path) as child:
        assert os.getpgid(child.pid) == child.pid != os.getpgrp()


@linux
def test_a_child_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from latency_sweep.runtime.child import Child
child = Child("sleeper", {STUBBORN!r}, folder=Path({str(tmp_path)!r}))
child.wait_until(lambda: child.output.stat().st_size > 0, within_sec=30, what="start")
print(child.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(re.sub(r"\D", "", parent.stdout.readline()))
        descriptor = os.pidfd_open(pid)
        parent.kill()
    wait_for_the_end(descriptor)
