"""How the demo passes on an `analyze` that came to no verdict; tests/e2e runs the demo itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.local import demo
from deploy.local.child import Child

if TYPE_CHECKING:
    from pathlib import Path


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
    assert no_verdict(end, tmp_path).code == demo.ExitCode.STACK_FAILED
