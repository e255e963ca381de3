"""Time strata."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.decision.strata import Contest, strata
from latency_sweep.analysis.evidence.sample import CandidateSample
from tests.analysis.candidates import candidate_of, rules, runs_of, steady

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.decision.verdict import StratumRow

EXPERIMENT = rules()
RULE = EXPERIMENT.decision
A, B = candidate_of("c6i.large"), candidate_of("c6in.large")


def rows(
    a: Sequence[float], b: Sequence[float], required: Sequence[str] = ("low", "high", "peak")
) -> dict[str, StratumRow]:
    first, second = CandidateSample(A, runs_of(A, a)), CandidateSample(B, runs_of(B, b))
    windows = {name: EXPERIMENT.time_strata[name] for name in required}
    contest = Contest(first, [second], [first, second], windows, RULE)
    return {row.name: row for row in strata(contest)}


def test_a_leader_ahead_everywhere_is_consistent() -> None:
    found = rows(steady(0.010), steady(0.012))
    assert [row.consistent for row in found.values()] == [True] * 3
    assert {row.fastest for row in found.values()} == {A.name}
    assert {row.runs for row in found.values()} == {3}
    assert found["low"].shift_sec == pytest.approx(0.002, rel=0.1)
    assert found["low"].p99_sec[B.name] == pytest.approx(0.012, rel=0.05)


def test_another_winner_in_one_stratum_is_inconsistent_there() -> None:
    slower_at_peak = [0.010, 0.010, 0.020] * 3
    found = rows(slower_at_peak, steady(0.012))
    assert [found[s].consistent for s in ("low", "high", "peak")] == [True, True, False]
    assert found["peak"].fastest == B.name
    assert found["peak"].closest_rival == B.name
    assert (found["peak"].shift_sec or 0) < 0


def test_a_lead_of_another_too_small_to_count_is_consistent() -> None:
    found = rows([0.0100, 0.0100, 0.0101] * 3, [0.0120, 0.0120, 0.0100] * 3)
    assert found["peak"].fastest == B.name
    assert found["peak"].consistent is True


def test_a_stratum_without_runs_says_nothing() -> None:
    found = rows([0.010], [0.012])
    assert found["low"].consistent is True
    assert found["high"].runs == 0
    assert found["high"].consistent is None
    assert found["high"].fastest is None


def test_strata_that_nobody_requires_are_shown_too() -> None:
    found = rows(steady(0.010), steady(0.012), required=())
    assert not any(row.required for row in found.values())
    assert set(found) == {"low", "high", "peak"}


def test_runs_outside_all_strata_get_a_row_without_a_name() -> None:
    outside = CandidateSample(A, runs_of(A, steady(0.010, 3), stratum=None))
    other = CandidateSample(B, runs_of(B, steady(0.012, 3), stratum=None))
    (row,) = strata(Contest(outside, [other], [outside, other], {}, RULE))
    assert row.name == ""
    assert row.runs == 3


def test_without_a_leader_there_is_only_the_table() -> None:
    sample = CandidateSample(A, runs_of(A, steady(0.010)))
    low = {"low": EXPERIMENT.time_strata["low"]}
    for row in strata(Contest(None, [], [sample], low, RULE)):
        assert row.fastest is None
        assert row.consistent is None
        assert A.name in row.p99_sec
