"""How the demo tells what went wrong; tests/e2e runs the demo itself."""

from __future__ import annotations

import errno
import io
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.lab.local import demo
from latency_sweep.lab.local.plan import DemoOptions
from latency_sweep.runtime.child import Child
from latency_sweep.runtime.interruption import interruptible


def no_verdict(script: str, folder: Path) -> demo.AnalysisError:
    with Child("analyze", ["sh", "-c", script], folder=folder) as child:
        return demo._no_verdict(child.wait(within_sec=30), child)


@pytest.mark.parametrize("code", [2, 6, 7])
def test_what_analyze_says_in_one_sentence_is_passed_on_with_its_code(
    code: int, tmp_path: Path
) -> None:
    error = no_verdict(f"echo 'analyze: there is no data.' >&2; exit {code}", tmp_path)
    assert (str(error), error.code) == ("analyze: there is no data.", code)


def test_a_fault_of_analyze_is_told_with_its_log(tmp_path: Path) -> None:
    error = no_verdict("echo one >&2; echo two >&2; exit 70", tmp_path)
    log = tmp_path / "analyze.log"
    sentence = f"analyze ended with exit code 70; its log {log} ends with:\n  one\n  two"
    assert (str(error), error.code) == (sentence, 70)


@pytest.mark.parametrize("end", ["exit 1", "kill -9 $$"])
def test_an_analyze_that_ends_as_it_never_should_is_a_failed_process(
    end: str, tmp_path: Path
) -> None:
    assert no_verdict(end, tmp_path).code == ExitCode.STACK_FAILED


def test_a_full_disk_is_told_with_the_folder_of_the_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # names no file, as write() does

    monkeypatch.setattr(demo, "_run", fill)
    errors = Console(file=io.StringIO(), width=200)
    assert demo.run(DemoOptions(results=Path("/full")), errors=errors) == ExitCode.STACK_FAILED
    assert isinstance(errors.file, io.StringIO)
    assert errors.file.getvalue() == "sweep demo: /full: No space left on device.\n"


class Impatient(io.StringIO):
    """Presses Ctrl-C while it is still being told so."""

    def write(self, text: str) -> int:
        written = super().write(text)
        if "Ctrl-C stops it" in text:
            signal.raise_signal(signal.SIGINT)
        return written


def test_who_is_told_how_to_stop_the_stack_may_do_so_at_once() -> None:
    prometheus = SimpleNamespace(url="http://127.0.0.1:9090")
    stack: Any = SimpleNamespace(prometheus=prometheus, probes=[])
    shown = Impatient()
    with interruptible():
        demo._keep(stack, Console(file=shown, width=200))
    assert shown.getvalue().endswith("Ctrl-C stops it.\n")


@pytest.mark.parametrize("option", ["config", "sites", "replay"])
def test_a_bad_file_is_named_before_prometheus_is_downloaded(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(**_: object) -> None:
        pytest.fail("looked for Prometheus")

    monkeypatch.setattr(demo, "find_or_fetch", fetch)
    bad = tmp_path / "bad"
    bad.mkdir()
    options: dict[str, Any] = {"results": tmp_path / "results", option: bad}
    errors = Console(file=io.StringIO(), width=400)
    assert demo.run(DemoOptions(**options), errors=errors) == ExitCode.BAD_INPUT
    assert isinstance(errors.file, io.StringIO)
    assert f"{bad}: cannot be read" in errors.file.getvalue()
    assert not options["results"].exists()
