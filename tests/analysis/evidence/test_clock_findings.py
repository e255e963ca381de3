"""Clocks that their own data refute: behind, ahead, drifting, stepping; alone and together."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.results import ConstraintStatus
from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.evidence.clock_findings import clock_findings
from latency_sweep.analysis.evidence.records import (
    Candidate,
    InstanceEvidence,
    OffsetRange,
    RoundTrips,
)
from latency_sweep.analysis.report.words.next_steps import next_steps
from latency_sweep.contract.clocks import EXCHANGE_TOLERANCE_SEC
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import changed, evidence, rules, run_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.decision.verdict import CandidateRow, Verdict
    from latency_sweep.analysis.evidence.records import Evidence, RunEvidence

CLAIM = 20e-6
RUNS, WINDOWS = 9, 4
NAMES = ("tokyo", "osaka", "singapore", "london", "nagoya")
# True latency of the quickest message: 1.5 ms and more.
BASE = (0.0015, 0.002, 0.035, 0.1, 0.0025)


def readings(base: float, seed: int) -> list[np.ndarray]:
    """True latencies of each window, seconds."""
    rng = np.random.default_rng(seed)
    return [base + 0.001 * rng.lognormal(0.0, 0.4, 1500) for _ in range(WINDOWS)]


def place(
    number: int,
    error: float | Sequence[float] = 0.0,
    *,
    endpoint: float | None = None,
    round_trip: float | None = None,
    exchange: float = 0.0,
    instance: str | None = None,
    zone: str | None = None,
) -> list[RunEvidence]:
    """The runs of one place.

    Args:
        number: which place.
        error: of its clock, seconds, alike or window by window; positive is ahead.
        endpoint: error bound of the time endpoint's offset; None without a time endpoint.
        round_trip: of its pings, seconds.
        exchange: error of the exchange's clock, seconds.
        instance: its name; the place's own if None.
        zone: its zone.
    """
    errors = np.broadcast_to(error, WINDOWS)
    candidate = Candidate(("region", "instance_type"), (NAMES[number], "c6in.large"))
    offset = None
    if endpoint is not None:
        offsets = exchange - errors
        offset = OffsetRange(float(offsets.max()) - endpoint, float(offsets.min()) + endpoint)
    runs = []
    for index in range(RUNS):
        windows = tuple(
            FloatHistogram.from_samples(true + wrong - exchange)
            for true, wrong in zip(readings(BASE[number], index), errors, strict=True)
        )
        run = run_of(
            candidate,
            index,
            FloatHistogram.merge(*windows),
            windows=windows,
            instance=instance or f"i-{NAMES[number]}",
            az_id=zone,
            clock_error_bound_sec=CLAIM,
            exchange_offset=offset,
            round_trips=None if round_trip is None else RoundTrips(round_trip, 1.1 * round_trip),
        )
        runs.append(run)
    return runs


def least_error_ms(reasons: Sequence[str]) -> float:
    """The size of the error that the reasons claim."""
    found = [
        re.search(r"wrong by at least ([0-9.]+) ms, though it claims 0.02 ms", r) for r in reasons
    ]
    return max(float(match[1]) for match in found if match)


def row_of(verdict: Verdict, number: int) -> CandidateRow:
    return next(row for row in verdict.ranking if row.name.startswith(NAMES[number]))


def clock_status(row: CandidateRow) -> ConstraintStatus:
    return next(c.status for c in row.constraints if c.name == "clock")


def verdict_on(*groups: Sequence[RunEvidence]) -> Verdict:
    return decide(evidence(*groups), rules(decision__bootstrap_resamples=200))


def warned(found: Evidence) -> str:
    return "\n".join(clock_findings(found).warnings)


# By how much the clock of the place in front is behind; its latencies begin at 1.5 ms.
BEHIND = 0.0045


@pytest.mark.parametrize(
    "error",
    [
        -BEHIND,
        np.linspace(0.0, -BEHIND, WINDOWS).tolist(),
        [0.0, 0.0, -BEHIND, -BEHIND],
        [0.0, -BEHIND, 0.0, 0.0],
    ],
    ids=["behind", "drifting", "stepping", "back again"],
)
@pytest.mark.parametrize("endpoint", [None, 0.0002, 0.05], ids=["none", "near", "far"])
def test_a_clock_behind_never_wins_and_the_least_error_is_told(
    error: float | list[float], endpoint: float | None
) -> None:
    """Beside two others, of which one is truly faster, with and without a time endpoint."""
    verdict = verdict_on(
        place(1, error, endpoint=endpoint),
        place(0, endpoint=endpoint),
        place(2, endpoint=endpoint),
    )
    wrong = row_of(verdict, 1)
    assert verdict.leader != wrong.name
    assert wrong.runs_used == 0 or endpoint == 0.05
    assert verdict.winner in {row_of(verdict, 0).name, None}
    if endpoint != 0.05:
        assert verdict.kind is VerdictKind.WINNER
        assert clock_status(wrong) is ConstraintStatus.FAIL
        for run in wrong.runs:
            assert 1.0 < least_error_ms(run.reasons) <= BEHIND * 1e3


def test_a_clock_behind_by_less_than_its_latencies_shows_only_by_the_time_endpoint() -> None:
    groups = place(1, -0.0015), place(0), place(2)
    assert clock_findings(evidence(*groups)).runs == {}
    told = clock_findings(
        evidence(place(1, -0.0025, endpoint=1e-4), place(0, endpoint=1e-4), place(2, endpoint=1e-4))
    )
    assert {candidate.values[0] for candidate, _ in told.runs} == {"osaka"}


def test_a_clock_ahead_is_proven_wrong_by_a_majority_at_the_time_endpoint() -> None:
    """Its latencies are only too large, which no latency is by itself."""
    verdict = verdict_on(
        place(0, 0.004, endpoint=2e-4), place(1, endpoint=2e-4), place(2, endpoint=5e-4)
    )
    ahead = row_of(verdict, 0)
    assert (ahead.runs_used, clock_status(ahead)) == (0, ConstraintStatus.FAIL)
    assert 1.0 < least_error_ms(ahead.runs[0].reasons) <= 4.0
    assert verdict.leader == row_of(verdict, 1).name


def test_a_clock_ahead_without_a_time_endpoint_is_a_warning_beside_round_trips() -> None:
    found = evidence(
        place(0, 0.02, round_trip=0.004),
        place(1, round_trip=0.004),
        place(4, round_trip=0.005),
        place(2, round_trip=0.075),
    )
    assert clock_findings(found).runs == {}
    (warning,) = clock_findings(found).warnings
    assert warning.startswith("i-tokyo: its latencies are too large by at least ")
    assert warning.endswith(f"(the worst of {RUNS} runs).")


def test_two_clocks_that_contradict_each_other_leave_the_question_open() -> None:
    """One of them is wrong, and nothing says which: neither may win."""
    verdict = verdict_on(place(0, 0.004, endpoint=1e-4), place(1, endpoint=1e-4))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert {clock_status(row) for row in verdict.ranking} == {ConstraintStatus.INSUFFICIENT}
    assert any("cannot be said which is right" in w for w in verdict.source_warnings)


def test_of_two_the_one_with_latencies_below_zero_is_wrong() -> None:
    verdict = verdict_on(place(0, -BEHIND, endpoint=1e-4), place(1, endpoint=1e-4))
    assert [row_of(verdict, n).runs_used for n in (0, 1)] == [0, RUNS]
    # The only other place is no winner, for what this one would show nobody knows.
    assert verdict.kind is VerdictKind.INCONCLUSIVE


@pytest.mark.parametrize("endpoint", [None, 1e-4])
def test_below_zero_everywhere_it_is_the_exchange_s_clock(endpoint: float | None) -> None:
    groups = [place(n, exchange=0.0026, endpoint=endpoint) for n in (0, 1)]
    found = clock_findings(evidence(*groups))
    assert found.runs == {}
    assert "the exchange's clock" in "\n".join(found.warnings)
    statuses = [clock_status(row) for row in verdict_on(*groups).ranking]
    assert statuses == [ConstraintStatus.PASS] * 2


def test_an_exchange_far_off_by_all_clocks_is_told_and_excludes_nothing() -> None:
    found = clock_findings(evidence(*(place(n, exchange=-0.3, endpoint=1e-3) for n in (0, 1, 2))))
    assert found.runs == {}
    assert "The exchange's clock was behind by at least 298 ms" in found.warnings[0]


def test_one_far_off_among_clocks_that_agree_is_excluded() -> None:
    verdict = verdict_on(
        place(0, 1.0, endpoint=1e-3), place(1, endpoint=1e-3), place(2, endpoint=1e-3)
    )
    (reason,) = row_of(verdict, 0).runs[0].reasons
    assert reason.startswith("the clock of i-tokyo and the exchange's were at least 999 ms apart")
    assert clock_status(row_of(verdict, 0)) is ConstraintStatus.FAIL


def test_an_exchange_ahead_by_its_time_endpoint_explains_the_nearest_place() -> None:
    """Only the nearest shows latencies below zero; the time endpoint says why."""
    found = clock_findings(evidence(*(place(n, exchange=0.003, endpoint=5e-4) for n in (0, 2, 3))))
    assert found.runs == {}
    assert "the exchange's clock may be ahead" in "\n".join(found.warnings)


def test_an_exchange_that_may_be_ahead_leaves_the_nearest_place_in_doubt() -> None:
    """Without a time endpoint: by the others' round trips both explanations are possible."""
    verdict = verdict_on(
        place(0, exchange=0.003, round_trip=0.003),
        place(2, exchange=0.003, round_trip=0.075),
        place(3, exchange=0.003, round_trip=0.21),
    )
    near = row_of(verdict, 0)
    assert (near.runs_used, clock_status(near)) == (RUNS, ConstraintStatus.INSUFFICIENT)
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert any("its clock is wrong by more than" in w for w in verdict.source_warnings)


def test_several_of_many_below_zero_prove_nothing_and_are_told() -> None:
    found = evidence(place(0, exchange=0.003), place(1, exchange=0.0035), place(3))
    assert clock_findings(found).runs == {}
    assert "Latencies of i-tokyo, i-osaka reach" in warned(found).replace(
        "i-osaka, i-tokyo", "i-tokyo, i-osaka"
    )


def test_single_messages_with_a_wrong_event_time_prove_nothing() -> None:
    runs = place(0)
    odd = FloatHistogram.from_samples([-1.0, -1.0])
    spoilt = [
        changed(run, latency=run.latency + odd, windows=(run.windows[0] + odd, *run.windows[1:]))
        for run in runs
    ]
    assert clock_findings(evidence(spoilt, place(1))).runs == {}


def test_a_clock_that_claims_nothing_refutes_nobody_and_is_not_refuted() -> None:
    unsynchronised = [changed(run, clock_synchronized=False) for run in place(1, -BEHIND)]
    assert clock_findings(evidence(unsynchronised, place(0))).runs == {}
    silent = [changed(run, clock_error_bound_sec=None) for run in place(1)]
    assert clock_findings(evidence(silent, place(0, -BEHIND))).runs == {}


def test_a_place_by_itself_has_nobody_to_refute_it() -> None:
    assert clock_findings(evidence(place(0, -BEHIND))).runs == {}


def test_only_runs_with_a_proof_are_excluded_and_the_place_still_cannot_lead() -> None:
    wrong = [*place(1, -BEHIND)[:1], *place(1)[1:]]
    verdict = verdict_on(wrong, place(0), place(2))
    row = row_of(verdict, 1)
    assert (row.runs_used, row.runs_excluded) == (RUNS - 1, 1)
    assert row.status is ConstraintStatus.FAIL
    assert any("Fix the clock of osaka" in step for step in next_steps(verdict))


def test_instances_of_a_zone_that_differ_in_latency_and_not_in_round_trip_are_told() -> None:
    pair = [
        place(0, round_trip=0.003, zone="apne1-az4"),
        place(1, round_trip=0.003, zone="apne1-az4"),
    ]
    (warning,) = clock_findings(evidence(*pair)).warnings
    assert warning.startswith("i-osaka and i-tokyo, both in zone apne1-az4, differ by 0.5")
    apart = [
        place(0, round_trip=0.003, zone="apne1-az4"),
        place(1, round_trip=0.004, zone="apne1-az4"),
    ]
    assert clock_findings(evidence(*apart)).warnings == ()


def test_two_instances_of_one_place_are_judged_one_by_one() -> None:
    right, wrong = place(0), place(0, -BEHIND, instance="i-wrong")
    both: list[RunEvidence] = []
    for one, other in zip(right, wrong, strict=True):
        instances: tuple[InstanceEvidence, ...] = (*one.instances, *other.instances)
        both.append(replace(one, instances=instances))
    found = clock_findings(evidence(both, place(1)))
    reasons = {reason for finding in found.runs.values() for reason in finding.reasons}
    assert all("the clock of i-wrong is wrong by" in reason for reason in reasons)
    assert len(found.runs) == RUNS


@pytest.mark.parametrize(("synchronized", "flagged"), [(True, False), (False, True), (None, True)])
def test_only_the_bound_of_a_synchronised_clock_explains_a_difference_to_the_exchange(
    synchronized: bool | None,  # noqa: FBT001 - parametrized
    flagged: bool,  # noqa: FBT001 - parametrized
) -> None:
    apart = EXCHANGE_TOLERANCE_SEC + 5e-4
    runs = [
        changed(
            run,
            clock_error_bound_sec=8e-4,
            clock_synchronized=synchronized,
            exchange_offset=OffsetRange(apart, apart + 1e-3),
        )
        for run in place(0)[:1]
    ]
    reasons = clock_findings(evidence(runs)).reasons_against(runs[0])
    assert any("and the exchange's were at least 5.5 ms apart" in r for r in reasons) is flagged
