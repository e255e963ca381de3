"""Hard constraints: proven, broken, or short of evidence, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from latency_sweep.analysis.decision import constraints
from latency_sweep.analysis.decision.results import ConstraintResult, ConstraintStatus
from latency_sweep.analysis.evidence.sample import CandidateSample
from latency_sweep.analysis.report.words.sentences import constraint_evidence, constraint_missing
from latency_sweep.analysis.stats.intervals import quantile_interval
from latency_sweep.analysis.stats.resample import Bootstrap
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import candidate_of, latencies, rules, run_of, runs_of, steady

if TYPE_CHECKING:
    from latency_sweep.analysis.evidence.records import RunEvidence

RULE = rules().decision


def check(runs: list[RunEvidence]) -> dict[str, ConstraintResult]:
    sample = CandidateSample(candidate_of(), runs)
    quantiles = constraints.quantile_intervals(sample, Bootstrap(400, 0, 99.99), RULE.confidence)
    return {result.name: result for result in constraints.check(sample, RULE, quantiles)}


def nine(p99: float = 0.010, **fields: Any) -> list[RunEvidence]:
    return runs_of(candidate_of(), steady(p99), **fields)


def test_a_steady_candidate_passes_everything() -> None:
    results = check(nine())
    assert {r.status for r in results.values()} == {ConstraintStatus.PASS}
    assert {r.lacking for r in results.values()} == {None}
    assert constraints.overall(tuple(results.values())) is ConstraintStatus.PASS


def test_a_candidate_that_is_surely_too_slow_fails() -> None:
    result = check(nine(0.080))["p99"]
    assert result.status is ConstraintStatus.FAIL
    assert "limit 50 ms" in constraint_evidence(result)


def test_a_p99_whose_interval_holds_the_limit_is_insufficient() -> None:
    result = check(nine(0.050))["p99"]
    assert result.status is ConstraintStatus.INSUFFICIENT
    assert constraint_missing(result) == "More runs: the limit lies inside the interval of p99."


def test_a_p99_with_too_few_samples_says_how_many_more() -> None:
    runs = [run_of(candidate_of(), 0, latencies(0.010, samples=300))]
    result = check(runs)["p99"]
    assert result.status is ConstraintStatus.INSUFFICIENT
    assert constraint_missing(result) == "68 more samples: p99 has no upper bound with fewer."


def test_the_clock_bound_counts_against_p99() -> None:
    assert check(nine(0.0485))["p99"].status is ConstraintStatus.PASS
    assert (
        check(nine(0.0485, clock_error_bound_sec=0.002))["p99"].status
        is ConstraintStatus.INSUFFICIENT
    )


def test_runs_that_disagree_make_the_interval_wider_than_their_samples_do() -> None:
    torn = runs_of(candidate_of(), [0.010, 0.030, 0.011, 0.012, 0.035, 0.010, 0.010, 0.040, 0.010])
    result = check(torn)["p99"]
    samples = quantile_interval(FloatHistogram.merge(*(run.latency for run in torn)), 0.99, 0.95)
    assert result.interval is not None
    assert None not in (result.interval.low, result.interval.high, *samples)
    assert (result.interval.low or 0) < 0.8 * (samples[0] or 0)
    assert (result.interval.high or 0) > (samples[1] or 0)


def test_intervals_cover_where_samples_come_in_runs() -> None:
    rng = np.random.default_rng(3)
    between, within = 0.03, 0.15
    true = float(np.exp(stats.norm.ppf(0.99) * np.hypot(between, within)))
    samples_only = covered = 0
    for trial in range(60):
        runs = np.exp(rng.normal(0, between, (9, 1)) + rng.normal(0, within, (9, 2000)))
        sample = CandidateSample(
            candidate_of(),
            [
                run_of(candidate_of(), i, FloatHistogram.from_samples(run))
                for i, run in enumerate(runs)
            ],
        )
        found = constraints.quantile_intervals(sample, Bootstrap(400, trial, 99.99), 0.95)
        covered += (found.p99.low or 0.0) <= true <= (found.p99.high or np.inf)
        low, high = quantile_interval(sample.latency, 0.99, 0.95)
        samples_only += (low or 0.0) <= true <= (high or np.inf)
    assert samples_only < 0.8 * 60
    assert covered >= 0.9 * 60


@pytest.mark.parametrize(
    ("spread", "status"),
    [
        (0.15, ConstraintStatus.PASS),
        (2.2, ConstraintStatus.FAIL),
        (1.43, ConstraintStatus.INSUFFICIENT),
    ],
)
def test_the_tail_ratio_is_evaluated_by_its_interval(
    spread: float, status: ConstraintStatus
) -> None:
    assert check(nine(spread=spread))["tail_ratio"].status is status


def test_a_ratio_is_not_resampled_where_a_resample_has_no_positive_p99() -> None:
    early = [FloatHistogram.from_samples(np.linspace(-0.002, -0.001, 5000))] * 2
    sample = CandidateSample(
        candidate_of(),
        [run_of(candidate_of(), i, h) for i, h in enumerate([*early, latencies(0.01)])],
    )
    found = constraints.quantile_intervals(sample, Bootstrap(400, 0, 99.99), RULE.confidence)
    p99, p999 = (quantile_interval(sample.latency, q, RULE.confidence) for q in (0.99, 0.999))
    assert None not in (*p99, *p999)
    assert found.p99.low is not None
    assert found.p99.low < 0 < sample.p99
    assert found.ratio.low == (p999[0] or 0) / (p99[1] or 0)
    assert found.ratio.high == (p999[1] or 0) / (p99[0] or 0)


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [
        (0.5, 0.999, ConstraintStatus.PASS),
        (0.5, 1.0, ConstraintStatus.INSUFFICIENT),
        (0.999, 2.0, ConstraintStatus.INSUFFICIENT),
        (1.0, 2.0, ConstraintStatus.FAIL),
    ],
)
def test_a_limit_itself_is_too_much(low: float, high: float, status: ConstraintStatus) -> None:
    assert constraints._judge(low, high, 1.0) is status


def test_a_tail_ratio_with_too_few_samples_is_not_a_pass() -> None:
    runs = [run_of(candidate_of(), 0, latencies(0.010, samples=2000))]
    result = check(runs)["tail_ratio"]
    assert result.status is ConstraintStatus.INSUFFICIENT
    assert constraint_missing(result) == "1,688 more samples: p99.9 has no upper bound with fewer."


def test_a_p99_of_zero_or_less_has_no_tail_ratio() -> None:
    early = FloatHistogram.from_samples(np.linspace(-0.002, -0.001, 5000))
    result = check([run_of(candidate_of(), 0, early)])["tail_ratio"]
    assert result.status is ConstraintStatus.INSUFFICIENT
    assert "not positive" in constraint_evidence(result)


@pytest.mark.parametrize(
    ("hours", "reconnects", "status"),
    [
        (0.34, 0, ConstraintStatus.PASS),
        (0.33, 0, ConstraintStatus.INSUFFICIENT),
        (1.0, 0, ConstraintStatus.PASS),
        (0.5, 1, ConstraintStatus.FAIL),
    ],
)
def test_reconnects_are_evaluated_by_exact_poisson_bounds(
    hours: float, reconnects: int, status: ConstraintStatus
) -> None:
    result = check(nine(hours=hours, reconnects=reconnects))["reconnects"]
    assert result.status is status


def test_too_few_hours_say_how_many_more() -> None:
    result = check([run_of(candidate_of(), 0, latencies(0.01), hours=1.0)])["reconnects"]
    assert constraint_missing(result) == "2.0 h more without another reconnect (3.0 h in total)."


def test_reconnects_that_were_not_counted_are_no_reason_to_pass() -> None:
    runs = [*nine(), run_of(candidate_of(), 9, latencies(0.010), reconnects=None)]
    result = check(runs)["reconnects"]
    assert result.status is ConstraintStatus.INSUFFICIENT
    assert constraint_evidence(result) == "The number of reconnects is not known for 1 of 10 runs."


@pytest.mark.parametrize(
    ("lost", "status"),
    [
        (0, ConstraintStatus.PASS),
        (1, ConstraintStatus.PASS),
        (2, ConstraintStatus.INSUFFICIENT),
        (9, ConstraintStatus.FAIL),
    ],
)
def test_loss_is_evaluated_by_exact_binomial_bounds(lost: int, status: ConstraintStatus) -> None:
    assert check(nine(lost=lost, messages=20_000))["loss"].status is status


def test_what_was_sent_to_nobody_is_told_and_is_no_loss() -> None:
    result = check(nine(never_sent=40, messages=20_000))["loss"]
    assert (result.status, result.events, result.never_sent) == (ConstraintStatus.PASS, 0, 360)
    assert constraint_evidence(result).startswith("0 of 180,000 messages lost; ")
    assert constraint_evidence(result).endswith(" 360 more messages missing: never sent to anyone.")


def test_too_few_messages_say_how_many_more() -> None:
    runs = [run_of(candidate_of(), 0, latencies(0.010), messages=29_955)]
    result = check(runs)["loss"]
    assert result.status is ConstraintStatus.INSUFFICIENT
    assert constraint_missing(result) == "1 more message without another loss."


def test_a_single_burst_of_losses_is_not_yet_proof_of_a_lossy_candidate() -> None:
    runs = [*nine()[:8], run_of(candidate_of(), 8, latencies(0.010), lost=400)]
    assert check(runs)["loss"].status is ConstraintStatus.INSUFFICIENT


def test_losses_that_were_not_counted_are_no_reason_to_pass() -> None:
    result = check(nine(lost=None))["loss"]
    assert result.status is ConstraintStatus.INSUFFICIENT
    assert (
        constraint_evidence(result) == "The number of lost messages is not known for 9 of 9 runs."
    )
    assert constraint_missing(result) == "Runs in which lost messages are counted."


def test_loss_near_the_limit_needs_many_more_messages() -> None:
    result = check(nine(lost=19, messages=200_000))["loss"]
    assert result.status is ConstraintStatus.INSUFFICIENT
    assert constraint_missing(result).endswith("more messages without another loss.")


def test_too_few_samples_and_runs_are_insufficient_not_failed() -> None:
    results = check(runs_of(candidate_of(), steady(0.010, 2)))
    assert results["samples"].status is ConstraintStatus.INSUFFICIENT
    assert constraint_missing(results["samples"]) == "6,000 more samples."
    assert results["runs"].status is ConstraintStatus.INSUFFICIENT
    assert constraint_missing(results["runs"]) == "1 more usable run."


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"clock_error_bound_sec": None}, "not known"),
        ({"clock_error_bound_sec": 0.004}, "clock error is at most 4 ms, limit 1 ms"),
        ({"clock_synchronized": False}, "not synchronised in 9 runs"),
    ],
)
def test_a_doubtful_clock_is_never_a_pass(fields: dict[str, Any], says: str) -> None:
    result = check(nine(**fields))["clock"]
    assert result.status is ConstraintStatus.INSUFFICIENT
    assert says in constraint_evidence(result)
    assert constraint_missing(result)


def test_a_clock_known_just_as_well_as_the_limit_asks_passes() -> None:
    limit = RULE.constraints.clock_error_bound_sec
    assert check(nine(clock_error_bound_sec=limit))["clock"].status is ConstraintStatus.PASS
    beyond = float(np.nextafter(limit, 1.0))
    assert (
        check(nine(clock_error_bound_sec=beyond))["clock"].status is ConstraintStatus.INSUFFICIENT
    )


def test_a_clock_whose_state_is_unknown_but_bounded_passes() -> None:
    assert check(nine(clock_synchronized=None))["clock"].status is ConstraintStatus.PASS


def test_a_candidate_without_a_usable_run_passes_nothing() -> None:
    results = check(nine(exclusion_reasons=("the probe restarted",)))
    assert {r.status for r in results.values()} == {ConstraintStatus.INSUFFICIENT}
    assert (
        constraint_evidence(results["runs"])
        == "0 usable runs (9 more excluded), at least 3 needed."
    )
    assert all(constraint_missing(r) for r in results.values())


def test_one_broken_limit_outweighs_missing_evidence() -> None:
    results = check(nine(0.080, lost=None))
    assert constraints.overall(tuple(results.values())) is ConstraintStatus.FAIL
