"""One code, one meaning, documented once."""

from __future__ import annotations

import re

from latency_sweep.analysis.cli.verdict_codes import OF_VERDICT
from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.contract.exit_codes import MEANINGS, ExitCode, table
from tests.repository import ROOT


def test_every_code_has_a_meaning_of_its_own() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert len(set(MEANINGS.values())) == len(ExitCode)


def test_every_verdict_has_a_code_of_its_own() -> None:
    assert set(OF_VERDICT) == set(VerdictKind)
    assert len(set(OF_VERDICT.values())) == len(VerdictKind)


def test_the_table_of_a_command_has_a_line_for_each_of_its_codes() -> None:
    assert table(ExitCode.NO_DATA, ExitCode.BAD_INPUT, success="shown").splitlines() == [
        "exit codes:",
        "    0  shown",
        f"    2  {MEANINGS[ExitCode.BAD_INPUT]}",
        f"    6  {MEANINGS[ExitCode.NO_DATA]}",
    ]


def test_the_page_says_what_the_table_says() -> None:
    page = (ROOT / "docs" / "exit-codes.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", page, re.MULTILINE)
    assert rows == [(str(code.value), MEANINGS[code]) for code in ExitCode]
