"""Exit codes of `analyze`."""

from __future__ import annotations

from latency_sweep.analysis.cli.exit_codes import MEANINGS, OF_VERDICT, ExitCode, table
from latency_sweep.analysis.decision.verdict import VerdictKind


def test_exit_codes_are_distinct_and_explained() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert set(OF_VERDICT) == set(VerdictKind)
    assert len(set(OF_VERDICT.values())) == len(VerdictKind)
    assert 1 not in set(ExitCode)


def test_the_table_has_a_line_for_each_code() -> None:
    lines = table().splitlines()
    assert [int(line.split()[0]) for line in lines] == sorted(ExitCode)
