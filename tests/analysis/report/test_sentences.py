"""What a reader is told: each way to be short of evidence or undecided, word for word."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from latency_sweep.analysis.decision import constraints
from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.results import ConstraintStatus
from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.evidence.sample import CandidateSample
from latency_sweep.analysis.pricing.prices import load_prices
from latency_sweep.analysis.report.words import conclusion
from latency_sweep.analysis.report.words.next_steps import next_steps
from latency_sweep.analysis.report.words.sentences import constraint_evidence, constraint_missing
from latency_sweep.analysis.report.words.warnings import warnings
from latency_sweep.analysis.stats.resample import Bootstrap
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import (
    candidate_of,
    evidence,
    latencies,
    restless,
    rules,
    run_of,
    runs_of,
    steady,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.analysis.decision.results import ConstraintResult
    from latency_sweep.analysis.decision.verdict import Verdict
    from latency_sweep.analysis.evidence.records import RunEvidence

EXPERIMENT = rules()
A, B, C = candidate_of("c6i.large"), candidate_of("c6in.large"), candidate_of("r6i.large")
NO_DATA = "There is no usable observation."
ANY_RUN = "At least one usable run."


def nine(p99: float = 0.010, **fields: Any) -> list[RunEvidence]:
    return runs_of(A, steady(p99), **fields)


def few(samples: int) -> list[RunEvidence]:
    return [run_of(A, 0, latencies(0.010, samples=samples))]


def before_sent() -> list[RunEvidence]:
    return [run_of(A, 0, FloatHistogram.from_samples(np.linspace(-0.002, -0.001, 5000)))]


def result(name: str, runs: list[RunEvidence]) -> ConstraintResult:
    sample, rule = CandidateSample(A, runs), EXPERIMENT.decision
    quantiles = constraints.quantile_intervals(sample, Bootstrap(400, 0, 99.99), rule.confidence)
    return next(r for r in constraints.check(sample, rule, quantiles) if r.name == name)


@pytest.mark.parametrize(
    ("name", "runs", "evidence_", "missing"),
    [
        (
            "p99",
            lambda: nine(0.050),
            (
                "p99 is 50.1 ms (95 % interval 49.7 ms to 50.6 ms), limit 50 ms; 18,000"
                " samples in 9 runs."
            ),
            "More runs: the limit lies inside the interval of p99.",
        ),
        (
            "p99",
            lambda: few(300),
            "p99 is 9.91 ms (95 % interval 9.44 ms to ?), limit 50 ms; 300 samples in 1 run.",
            "68 more samples: p99 has no upper bound with fewer.",
        ),
        ("p99", lambda: nine(exclusion_reasons=("t",)), NO_DATA, ANY_RUN),
        (
            "tail_ratio",
            lambda: nine(spread=1.43),
            (
                "p99.9 / p99 is 2.75 (95 % interval 2.18 to 3.69), limit 3; 18,000 samples in 9"
                " runs."
            ),
            "More runs: the limit lies inside the interval of p99.9.",
        ),
        (
            "tail_ratio",
            lambda: few(300),
            "p99.9 / p99 is 1.10 (95 % interval ? to ?), limit 3; 300 samples in 1 run.",
            "3,388 more samples: p99.9 has no upper bound with fewer.",
        ),
        (
            "tail_ratio",
            before_sent,
            "p99 is -1.01 ms: not positive, so p99.9 / p99 is undefined.",
            "A clock that agrees with the exchange's.",
        ),
        ("tail_ratio", lambda: nine(exclusion_reasons=("t",)), NO_DATA, ANY_RUN),
        (
            "reconnects",
            lambda: few(2000),
            "0 unplanned reconnects in 1.0 h: at most 3.00/h at 95 % confidence, limit 1/h.",
            "2.0 h more without another reconnect (3.0 h in total).",
        ),
        (
            "reconnects",
            lambda: nine(hours=None),
            "The number of reconnects is not known for 9 of 9 runs.",
            "Runs in which reconnects are counted.",
        ),
        (
            "reconnects",
            lambda: nine(hours=0.0),
            "The probe was never connected, so reconnects could not be counted.",
            "Runs in which the probe is connected.",
        ),
        ("reconnects", lambda: nine(exclusion_reasons=("t",)), NO_DATA, ANY_RUN),
        (
            "loss",
            lambda: few(2000),
            "0 of 20,000 messages lost; loss at most 0.015 % at 95 % confidence, limit 0.01 %.",
            "9,957 more messages without another loss.",
        ),
        (
            "loss",
            lambda: nine(messages=None),
            "The number of lost messages is not known for 9 of 9 runs.",
            "Runs in which lost messages are counted.",
        ),
        (
            "loss",
            lambda: nine(messages=0),
            "The number of lost messages is not known.",
            "Runs in which lost messages are counted.",
        ),
        ("loss", lambda: nine(exclusion_reasons=("t",)), NO_DATA, ANY_RUN),
        (
            "samples",
            lambda: few(9_999),
            "9,999 latency samples, at least 10,000 needed.",
            "1 more sample.",
        ),
        (
            "runs",
            lambda: few(2000),
            "1 usable run, at least 3 needed.",
            "2 more usable runs.",
        ),
        (
            "runs",
            lambda: [*nine()[:2], replace(nine()[2], exclusion_reasons=("t",))],
            "2 usable runs (1 more excluded), at least 3 needed.",
            "1 more usable run.",
        ),
        (
            "clock",
            lambda: nine(clock_error_bound_sec=None),
            "The clock error bound is not known.",
            "A clock error bound in every run (chrony, ClockBound or a PHC).",
        ),
        (
            "clock",
            lambda: nine(clock_error_bound_sec=0.004),
            "The clock error is at most 4 ms, limit 1 ms.",
            "A better clock, such as the PHC or Amazon NTP.",
        ),
        (
            "clock",
            lambda: nine(clock_synchronized=False),
            (
                "The clock error is at most 0.01 ms, limit 1 ms. The clock was not synchronised in"
                " 9 runs."
            ),
            "Runs with a synchronised clock.",
        ),
        (
            "clock",
            lambda: nine(clock_error_bound_sec=None, clock_synchronized=False),
            "The clock error bound is not known. The clock was not synchronised in 9 runs.",
            "A clock error bound in every run (chrony, ClockBound or a PHC).",
        ),
    ],
)
def test_insufficient_evidence_says_what_there_is_and_what_is_missing(
    name: str, runs: Callable[[], list[RunEvidence]], evidence_: str, missing: str
) -> None:
    found = result(name, runs())
    assert found.status is ConstraintStatus.INSUFFICIENT
    assert (constraint_evidence(found), constraint_missing(found)) == (evidence_, missing)


@pytest.mark.parametrize(
    ("name", "fields", "evidence_"),
    [
        (
            "p99",
            {"p99": 0.080},
            (
                "p99 is 80.1 ms (95 % interval 79.3 ms to 81.1 ms), limit 50 ms; 18,000"
                " samples in 9 runs."
            ),
        ),
        (
            "tail_ratio",
            {"spread": 2.2},
            (
                "p99.9 / p99 is 4.72 (95 % interval 3.30 to 7.42), limit 3; 18,000 samples in 9"
                " runs."
            ),
        ),
        (
            "reconnects",
            {"hours": 0.5, "reconnects": 1},
            "9 unplanned reconnects in 4.5 h: at least 1.04/h at 95 % confidence, limit 1/h.",
        ),
        (
            "loss",
            {"lost": 9},
            "81 of 180,081 messages lost; loss at least 0.0358 % at 95 % confidence, limit 0.01 %.",
        ),
    ],
)
def test_a_broken_limit_is_told_with_the_bound_that_proves_it(
    name: str, fields: dict[str, Any], evidence_: str
) -> None:
    found = result(name, nine(**fields))
    assert found.status is ConstraintStatus.FAIL
    assert (constraint_evidence(found), constraint_missing(found)) == (evidence_, "")


@cache
def verdict_on(case: str) -> Verdict:
    a, b = runs_of(A, steady(0.010)), runs_of(B, restless(0.010))
    groups: dict[str, list[list[RunEvidence]]] = {
        "nothing seen": [],
        "all excluded": [
            nine(exclusion_reasons=("the probe on i-1 restarted once during the run",))
        ],
        "one candidate": [a],
        "none proven": [nine(hours=0.1), runs_of(B, steady(0.080))],
        "never at peak": [
            [run for run in runs_of(p, steady(s, 12), hours=0.1) if run.stratum != "peak"]
            for p, s in ((A, 0.010), (B, 0.020))
        ],
        "all broken": [nine(0.080), runs_of(B, steady(0.010), spread=2.2)],
        "tail open": [a, runs_of(B, restless(0.010), spread=1.43)],
        "equal but open": [a, runs_of(B, restless(0.010), lost=None)],
        "faster but open": [a, runs_of(B, steady(0.008), lost=None)],
        "no common run": [a[:6], [run_of(B, i, latencies(0.03)) for i in range(9, 15)]],
        "five runs": [a[:5], runs_of(B, steady(0.030, 5))],
        "tie": [a, b],
    }
    return decide(evidence(*groups[case]), EXPERIMENT)


NOT_PROVEN = f"No winner yet: {A.name} leads, but this is not proven."


@pytest.mark.parametrize(
    ("case", "sentence", "reason", "step"),
    [
        (
            "nothing seen",
            "No verdict: no run was observed.",
            "No run was observed.",
            "Check that the probes run, that Prometheus scrapes them, and the time range.",
        ),
        (
            "all excluded",
            "No verdict: the only candidate has no usable run.",
            "Excluded: the probe on i-1 restarted once during the run.",
            "Check that the probes run, that Prometheus scrapes them, and the time range.",
        ),
        (
            "one candidate",
            (
                f"No winner: {A.name} passes, but it is the only candidate with usable evidence,"
                " so there is nothing to compare it with."
            ),
            f"{A.name} passes every hard constraint.",
            "Measure at least one more candidate over the same runs.",
        ),
        (
            "none proven",
            (
                "No winner yet: no candidate is proven to pass the hard constraints, and 1"
                " candidate might."
            ),
            (
                f"{A.name} is not proven to pass: 0 unplanned reconnects in 54 min: at most"
                " 3.33/h at 95 % confidence, limit 1/h."
            ),
            f"{A.name}, reconnects: 2.1 h more without another reconnect (3.0 h in total).",
        ),
        (
            "never at peak",
            (
                "No winner yet: no candidate is proven to pass the hard constraints, and 2"
                " candidates might."
            ),
            (
                f"{B.name} is not proven to pass: 0 unplanned reconnects in 48 min: at most"
                " 3.74/h at 95 % confidence, limit 1/h."
            ),
            "Measure all candidates between 00:00 and 02:00 UTC (time stratum peak).",
        ),
        (
            "tail open",
            (
                f"{NOT_PROVEN} {A.name} and {B.name} differ by less than the margin of 0.2 ms at"
                f" p99, but {B.name} is not proven to pass."
            ),
            f"In the time stratum low {B.name} is ahead by 0.247 ms at p99.",
            f"{B.name}, p99.9 / p99: More runs: the limit lies inside the interval of p99.9.",
        ),
        (
            "equal but open",
            (
                f"{NOT_PROVEN} {A.name} and {B.name} differ by less than the margin of 0.2 ms at"
                f" p99, but {B.name} is not proven to pass."
            ),
            (
                f"{A.name} and {B.name} differ by less than the margin of 0.2 ms at p99, but"
                f" {B.name} is not proven to pass."
            ),
            f"{B.name}, loss: Runs in which lost messages are counted.",
        ),
        (
            "faster but open",
            (
                f"{NOT_PROVEN} {B.name} is faster than {A.name} at p99 by 2 ms, 20 % (p = 0.0039"
                f" after Holm, n = 9), and {B.name} may still pass the hard constraints."
            ),
            f"In the time stratum peak {B.name} is ahead by 2 ms at p99.",
            "Add runs in the time strata that disagree, or choose by the hours you trade.",
        ),
        (
            "no common run",
            f"{NOT_PROVEN} {A.name} and {B.name} have no usable run in common.",
            (
                "There is no usable run of all candidates in the time stratum low (06:00 to 08:00"
                " UTC)."
            ),
            "Measure all candidates between 06:00 and 08:00 UTC (time stratum low).",
        ),
        (
            "five runs",
            (
                f"{NOT_PROVEN} {A.name} and {B.name} share 5 usable runs; proving a difference"
                " at 95 % confidence takes at least 6."
            ),
            (
                f"{A.name} and {B.name} share 5 usable runs; proving a difference at 95 %"
                " confidence takes at least 6."
            ),
            (
                f"About 1 more run of all candidates (1.1 h) would settle it at the observed"
                f" variance; {B.name} needs them most."
            ),
        ),
    ],
)
def test_an_inconclusive_verdict_says_why_and_what_to_do(
    case: str, sentence: str, reason: str, step: str
) -> None:
    verdict = verdict_on(case)
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert conclusion.sentence(verdict) == sentence
    assert reason in conclusion.reasons(verdict)
    assert step in next_steps(verdict)


def test_candidates_that_all_fail_are_told_which_limits_they_violate() -> None:
    verdict = verdict_on("all broken")
    assert verdict.kind is VerdictKind.NONE_PASSES
    assert conclusion.sentence(verdict) == (
        "No candidate passes: each of the 2 violates a hard constraint (p99 and p99.9 / p99)."
    )
    reason = f"{B.name} fails: p99.9 / p99 is 4.72"
    assert any(told.startswith(reason) for told in conclusion.reasons(verdict))
    assert next_steps(verdict) == (
        "Add candidates to the sweep, or relax the violated limits in the experiment.",
    )


def test_strata_that_were_seen_are_not_asked_for_again_where_no_candidate_is_proven_to_pass() -> (
    None
):
    assert not any("time stratum" in step for step in next_steps(verdict_on("none proven")))


def test_a_tie_says_that_more_runs_will_not_help() -> None:
    assert next_steps(verdict_on("tie")) == (
        f"Choose {A.name}, or any of the tied candidates for other reasons.",
        (
            "More runs will not help unless a smaller difference matters"
            " (decision.equivalence_ratio) or the clocks improve."
        ),
    )


@pytest.mark.parametrize("verified", [False, True])
def test_prices_that_nobody_checked_are_warned_of(verified: bool) -> None:  # noqa: FBT001 - given
    prices = load_prices().model_copy(update={"verified": verified})
    found = warnings(decide(evidence(), EXPERIMENT, prices=prices))
    sentence = (
        f"Prices of {prices.date} were not checked against AWS; they are used only to break ties."
    )
    assert (sentence in found) is not verified
