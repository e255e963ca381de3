"""What a reader is told: each way to be short of evidence or undecided, word for word."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from latency_sweep.analysis.decision import constraints
from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.verdict import Status, VerdictKind
from latency_sweep.analysis.evidence.pool import Pool
from latency_sweep.analysis.pricing.prices import load_prices
from latency_sweep.analysis.stats.resample import Bootstrap
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.places import (
    evidence,
    latencies,
    place,
    restless,
    rules,
    run_of,
    runs_of,
    steady,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.analysis.decision.verdict import ConstraintResult, Verdict
    from latency_sweep.analysis.evidence.records import RunEvidence

EXPERIMENT = rules()
A, B, C = place("c6i.large"), place("c6in.large"), place("r6i.large")
NO_DATA = "There is no usable observation."
ANY_RUN = "At least one usable run."


def nine(p99: float = 0.010, **fields: Any) -> list[RunEvidence]:
    return runs_of(A, steady(p99), **fields)


def few(samples: int) -> list[RunEvidence]:
    return [run_of(A, 0, latencies(0.010, samples=samples))]


def before_sent() -> list[RunEvidence]:
    return [run_of(A, 0, FloatHistogram.from_samples(np.linspace(-0.002, -0.001, 5000)))]


def result(name: str, runs: list[RunEvidence]) -> ConstraintResult:
    pool, rule = Pool(A, runs), EXPERIMENT.decision
    quantiles = constraints.quantile_intervals(pool, Bootstrap(400, 0, 99.99), rule.confidence)
    return next(r for r in constraints.check(pool, rule, quantiles) if r.name == name)


@pytest.mark.parametrize(
    ("name", "runs", "evidence_", "missing"),
    [
        (
            "p99",
            lambda: nine(0.050),
            (
                "p99 is 50.1 ms (95 % interval 49.7 ms to 50.6 ms), the limit 50 ms; 18,000"
                " samples in 9 runs."
            ),
            "More runs: the limit lies inside the interval of p99.",
        ),
        (
            "p99",
            lambda: few(300),
            "p99 is 9.91 ms (95 % interval 9.44 ms to ?), the limit 50 ms; 300 samples in 1 run.",
            "68 more samples: p99 has no upper bound with fewer.",
        ),
        ("p99", lambda: nine(exclusion_reasons=("t",)), NO_DATA, ANY_RUN),
        (
            "tail_ratio",
            lambda: nine(spread=1.43),
            (
                "p99.9 / p99 is 2.75 (95 % interval 2.18 to 3.69), the limit 3; 18,000 samples in 9"
                " runs."
            ),
            "More runs: the limit lies inside the interval of p99.9.",
        ),
        (
            "tail_ratio",
            lambda: few(300),
            "p99.9 / p99 is 1.10 (95 % interval ? to ?), the limit 3; 300 samples in 1 run.",
            "3,388 more samples: p99.9 has no upper bound with fewer.",
        ),
        (
            "tail_ratio",
            before_sent,
            "p99 is -1.01 ms: not positive, so p99.9 / p99 means nothing.",
            "A clock that agrees with the exchange's.",
        ),
        ("tail_ratio", lambda: nine(exclusion_reasons=("t",)), NO_DATA, ANY_RUN),
        (
            "reconnects",
            lambda: few(2000),
            "0 unplanned reconnects in 1.0 h: at most 3.00/h at 95 % confidence, the limit 1/h.",
            "2.0 h more without another reconnect (3.0 h in all).",
        ),
        (
            "reconnects",
            lambda: nine(hours=None),
            "It is not known how many reconnects there were in 9 of 9 runs.",
            "Runs in which reconnects are counted.",
        ),
        (
            "reconnects",
            lambda: nine(hours=0.0),
            "There was no connected time in which reconnects could be counted.",
            "Runs in which the probe is connected.",
        ),
        ("reconnects", lambda: nine(exclusion_reasons=("t",)), NO_DATA, ANY_RUN),
        (
            "loss",
            lambda: few(2000),
            "0 messages of 20,000 lost: at most 0.015 % at 95 % confidence, the limit 0.01 %.",
            "9,957 more messages without another loss.",
        ),
        (
            "loss",
            lambda: nine(messages=None),
            "It is not known how many lost messages there were in 9 of 9 runs.",
            "Runs in which lost messages are counted.",
        ),
        (
            "loss",
            lambda: nine(messages=0),
            "It is not known how many lost messages there were.",
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
            "2 usable runs (1 more run kept out), at least 3 needed.",
            "1 more usable run.",
        ),
        (
            "clock",
            lambda: nine(clock_error_bound_sec=None),
            "How wrong the clock may be is not known.",
            "A clock error bound in every run (chrony, ClockBound or a PHC).",
        ),
        (
            "clock",
            lambda: nine(clock_error_bound_sec=0.004),
            "The clock is right within 4 ms, the limit 1 ms.",
            "A better clock, such as the PHC or Amazon NTP.",
        ),
        (
            "clock",
            lambda: nine(clock_synchronized=False),
            "The clock is right within 0.01 ms, the limit 1 ms. It was not synchronised in 9 runs.",
            "Runs with a synchronised clock.",
        ),
        (
            "clock",
            lambda: nine(clock_error_bound_sec=None, clock_synchronized=False),
            "How wrong the clock may be is not known. It was not synchronised in 9 runs.",
            "A clock error bound in every run (chrony, ClockBound or a PHC).",
        ),
    ],
)
def test_insufficient_evidence_says_what_there_is_and_what_is_missing(
    name: str, runs: Callable[[], list[RunEvidence]], evidence_: str, missing: str
) -> None:
    found = result(name, runs())
    assert found.status is Status.INSUFFICIENT
    assert (found.evidence, found.missing) == (evidence_, missing)


@pytest.mark.parametrize(
    ("name", "fields", "evidence_"),
    [
        (
            "p99",
            {"p99": 0.080},
            (
                "p99 is 80.1 ms (95 % interval 79.3 ms to 81.1 ms), the limit 50 ms; 18,000"
                " samples in 9 runs."
            ),
        ),
        (
            "tail_ratio",
            {"spread": 2.2},
            (
                "p99.9 / p99 is 4.72 (95 % interval 3.30 to 7.42), the limit 3; 18,000 samples in 9"
                " runs."
            ),
        ),
        (
            "reconnects",
            {"hours": 0.5, "reconnects": 1},
            "9 unplanned reconnects in 4.5 h: at least 1.04/h at 95 % confidence, the limit 1/h.",
        ),
        (
            "loss",
            {"lost": 9},
            "81 messages of 180,081 lost: at least 0.0358 % at 95 % confidence, the limit 0.01 %.",
        ),
    ],
)
def test_a_broken_limit_is_told_with_the_bound_that_proves_it(
    name: str, fields: dict[str, Any], evidence_: str
) -> None:
    found = result(name, nine(**fields))
    assert found.status is Status.FAIL
    assert (found.evidence, found.missing) == (evidence_, "")


@cache
def verdict_on(case: str) -> Verdict:
    a, b = runs_of(A, steady(0.010)), runs_of(B, restless(0.010))
    groups: dict[str, list[list[RunEvidence]]] = {
        "nothing seen": [],
        "all kept out": [
            nine(exclusion_reasons=("the probe on i-1 restarted once during the run",))
        ],
        "one place": [a],
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


NOT_SURELY = f"No winner yet: {A.name} comes first, but not surely."


@pytest.mark.parametrize(
    ("case", "sentence", "reason", "step"),
    [
        (
            "nothing seen",
            "No verdict: there is not one usable run of the 0 places seen.",
            "No run was observed.",
            "Check that the probes run, that Prometheus scrapes them, and the range asked for.",
        ),
        (
            "all kept out",
            "No verdict: there is not one usable run of the 1 place seen.",
            "Kept out: the probe on i-1 restarted once during the run.",
            "Check that the probes run, that Prometheus scrapes them, and the range asked for.",
        ),
        (
            "one place",
            (
                f"No winner: {A.name} passes, but it is the only place with usable evidence, so"
                " there is nothing to compare it with."
            ),
            f"{A.name} passes every hard constraint.",
            "Measure at least one more place over the same runs.",
        ),
        (
            "none proven",
            "No winner yet: no place is proven to pass the hard constraints, and 1 place might.",
            (
                f"{A.name} is not proven to pass: 0 unplanned reconnects in 54 min: at most"
                " 3.33/h at 95 % confidence, the limit 1/h."
            ),
            f"{A.name}, reconnects: 2.1 h more without another reconnect (3.0 h in all).",
        ),
        (
            "never at peak",
            "No winner yet: no place is proven to pass the hard constraints, and 2 places might.",
            (
                f"{B.name} is not proven to pass: 0 unplanned reconnects in 48 min: at most"
                " 3.74/h at 95 % confidence, the limit 1/h."
            ),
            "Run all places between 00:00 and 02:00 UTC (time stratum peak).",
        ),
        (
            "tail open",
            (
                f"{NOT_SURELY} {A.name} and {B.name} differ by less than 0.2 ms, which does not"
                f" count, and {B.name} is not proven to pass."
            ),
            f"In the time stratum low {B.name} is ahead by 0.247 ms at p99.",
            f"{B.name}, p99.9 / p99: More runs: the limit lies inside the interval of p99.9.",
        ),
        (
            "equal but open",
            (
                f"{NOT_SURELY} {A.name} and {B.name} differ by less than 0.2 ms, which does not"
                f" count, and {B.name} is not proven to pass."
            ),
            (
                f"{A.name} and {B.name} differ by less than 0.2 ms, which does not count, and"
                f" {B.name} is not proven to pass."
            ),
            f"{B.name}, loss: Runs in which lost messages are counted.",
        ),
        (
            "faster but open",
            (
                f"{NOT_SURELY} {B.name} is faster than {A.name} at p99 by 2 ms, 20 % (p = 0.0039"
                f" after Holm, n = 9), and {B.name} may yet prove to pass."
            ),
            f"In the time stratum peak {B.name} is ahead by 2 ms at p99.",
            "Add runs in the time strata that disagree, or choose by the hours you trade.",
        ),
        (
            "no common run",
            f"{NOT_SURELY} {A.name} and {B.name} have no usable run in common.",
            "There is no usable run of all places in the time stratum low (06:00 to 08:00 UTC).",
            "Run all places between 06:00 and 08:00 UTC (time stratum low).",
        ),
        (
            "five runs",
            (
                f"{NOT_SURELY} {A.name} and {B.name} share 5 usable runs: no difference can be"
                " proven at 95 % confidence with fewer than 6."
            ),
            (
                f"{A.name} and {B.name} share 5 usable runs: no difference can be proven at 95 %"
                " confidence with fewer than 6."
            ),
            (
                f"About 1 more run of all places (1.1 h) would settle it at the variance observed;"
                f" {B.name} needs them most."
            ),
        ),
    ],
)
def test_an_inconclusive_verdict_says_why_and_what_to_do(
    case: str, sentence: str, reason: str, step: str
) -> None:
    verdict = verdict_on(case)
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert verdict.sentence == sentence
    assert reason in verdict.reasons
    assert step in verdict.next_steps


def test_places_that_all_fail_are_told_which_limits_break() -> None:
    verdict = verdict_on("all broken")
    assert verdict.kind is VerdictKind.NONE_PASSES
    assert verdict.sentence == (
        "No place passes: each of the 2 breaks a hard limit (p99 and p99.9 / p99)."
    )
    assert verdict.reasons[1].startswith(f"{B.name} fails: p99.9 / p99 is 4.72")
    assert verdict.next_steps == (
        "Add places to the sweep, or relax the limits that break in the experiment.",
    )


def test_strata_that_were_seen_are_not_asked_for_again_where_no_place_is_proven_to_pass() -> None:
    assert not any("time stratum" in step for step in verdict_on("none proven").next_steps)


def test_a_tie_says_that_more_runs_will_not_help() -> None:
    assert verdict_on("tie").next_steps == (
        f"Choose {A.name}, or any of the tied places for reasons of your own.",
        (
            "More runs will not help unless a smaller difference matters"
            " (decision.equivalence_ratio) or the clocks get better."
        ),
    )


@pytest.mark.parametrize("verified", [False, True])
def test_prices_that_nobody_checked_are_warned_of(verified: bool) -> None:  # noqa: FBT001 - given
    prices = load_prices().model_copy(update={"verified": verified})
    warnings = decide(evidence(), EXPERIMENT, prices=prices).warnings
    sentence = (
        f"Prices of {prices.date} were not checked against AWS; they only order what the evidence"
        " leaves open."
    )
    assert (sentence in warnings) is not verified
