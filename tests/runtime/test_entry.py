"""Commands end quietly by Ctrl-C from the beginning, and help does not wait for statistics."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from latency_sweep.runtime import entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A module that takes as long to import as the test needs. A signal that comes between the last look
# for one and the system call that waits is seen after the call: so that has to end by itself.
BLOCKING = """\
import time
print("importing", flush=True)
while True:
    time.sleep(0.01)
"""


def start(arguments: tuple[str, ...], shadows: Path) -> subprocess.Popen[str]:
    """A console command that finds modules in `shadows` before the real ones."""
    command, *rest = arguments
    return subprocess.Popen(
        [str(Path(sys.executable).with_name(command)), *rest],
        env={**os.environ, "PYTHONPATH": str(shadows)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def default_handler() -> Iterator[None]:
    """Ctrl-C as at a terminal, also for children; background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_handler")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("probe", "run"), 0),
        (("probe", "doctor"), 130),
        (("sweep", "demo"), 130),
        (("analyze", "--from-archive", "sweep.parquet"), 130),
    ],
)
def test_ctrl_c_while_importing_ends_a_command_quietly(
    arguments: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    (tmp_path / "pydantic.py").write_text(BLOCKING)
    with start(arguments, tmp_path) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "importing\n"
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate()
        finally:
            process.kill()
    assert (process.returncode, complaint) == (code, "")


@pytest.mark.parametrize(
    "arguments", [("--help",), ("export", "--help"), ("--version",), ("--bogus",)]
)
def test_what_analyze_says_of_itself_needs_none_of_the_slow_modules(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    for name in ("numpy", "scipy", "pandas", "pyarrow", "requests", "boto3", "pydantic"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a slow module is imported')")
    with start(("analyze", *arguments), tmp_path) as process:
        try:
            output, complaint = process.communicate()
        finally:
            process.kill()
    assert "a slow module" not in complaint
    assert (process.returncode, output == "") == (
        (2, True) if "--bogus" in arguments else (0, False)
    )


@pytest.mark.usefixtures("default_handler")
def test_ctrl_c_that_a_command_does_not_heed_ends_it_with_the_code() -> None:
    def command() -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    assert entry.run(lambda: command) == 130
    assert entry.run(lambda: command, interrupted=0) == 0


@pytest.mark.usefixtures("default_handler")
def test_the_exit_code_of_a_command_is_passed_on() -> None:
    assert entry.run(lambda: lambda: 7) == 7


@pytest.mark.usefixtures("default_handler")
def test_where_ctrl_c_is_ignored_it_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handlers = []

    def load() -> Callable[[], int]:
        handlers.append(signal.getsignal(signal.SIGINT))
        return lambda: 0

    assert entry.run(load) == 0
    assert [*handlers, signal.getsignal(signal.SIGINT)] == [signal.SIG_IGN, signal.SIG_IGN]
