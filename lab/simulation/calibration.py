"""Calibration of the decision: simulated sweeps with a known ground truth, decided many times.

Evidence enters the decision as evidence from Prometheus does, and the method that this project
started from decides the same data for comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.decision.comparison import Method, compare
from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.leader import ScoreDraws
from latency_sweep.analysis.decision.results import Interval
from latency_sweep.analysis.evidence.sample import samples_of
from latency_sweep.analysis.stats.resample import Bootstrap
from latency_sweep.lab.simulation.original_method import winners as original_winners
from latency_sweep.lab.simulation.sweep import (
    GroundTruth,
    candidate,
    evidence_of,
    histograms,
    simulate_latencies,
)
from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.decision.verdict import Verdict, VerdictKind
    from latency_sweep.analysis.evidence.records import Evidence
    from latency_sweep.contract.experiment import Experiment

NEAR = 0.0064  # typical network latency of the sites compared, seconds; p99 is near 10 ms
FAR = 0.025
RATE = 300
_TRUTH_RUNS, _TRUTH_BATCHES = 90, 8


@dataclass(frozen=True, slots=True)
class CalibrationCase:
    """Simulated sweeps with the same ground truth.

    Attributes:
        name: for the table.
        ground_truth: what is simulated.
        best: the sites that are best; if one, it should win; if several, none should.
    """

    name: str
    ground_truth: GroundTruth
    best: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of one simulated sweep. Sites are indices into `GroundTruth.network`.

    Attributes:
        kind: the verdict.
        winner: the declared winner, or None.
        covered: whether the interval of the p99 difference of the first two sites contains the
            true difference.
        original: winner by the original method, see `original_method.winners`.
        original_exact: the same with exact percentiles.
    """

    kind: VerdictKind
    winner: int | None
    covered: bool
    original: int | None
    original_exact: int | None


def cases() -> tuple[CalibrationCase, ...]:
    """The cases of the published table."""
    two, three = (NEAR, NEAR), (NEAR, NEAR, FAR)
    base = GroundTruth(network=two, rate=RATE)
    identical = [
        CalibrationCase("2 identical", base, (0, 1)),
        CalibrationCase("2 identical, 1 far", replace(base, network=three), (0, 1)),
        CalibrationCase(
            "6 identical", replace(base, network=(NEAR,) * 6, rate=RATE // 2), tuple(range(6))
        ),
        CalibrationCase("2 identical, level 0.90", replace(base, correlation=0.9), (0, 1)),
        CalibrationCase("2 identical, level 0.98", replace(base, correlation=0.98), (0, 1)),
        CalibrationCase("2 identical, back to back", replace(base, back_to_back=True), (0, 1)),
        CalibrationCase(
            "2 identical, level 0.98, back to back",
            replace(base, correlation=0.98, back_to_back=True),
            (0, 1),
        ),
        CalibrationCase(
            "2 identical, 0.98, back to back, 48 runs",
            replace(base, correlation=0.98, back_to_back=True, runs=48, rate=100),
            (0, 1),
        ),
    ]
    different = [
        CalibrationCase(
            f"p99 +{label}, 1 far",
            replace(base, network=(NEAR, NEAR * (1 + relative), FAR)),
            (0,),
        )
        for label, relative in (
            ("0.2 ms", 0.0212),
            ("5 %", 0.053),
            ("1 ms", 0.106),
            ("2 ms", 0.212),
        )
    ]
    return (*identical, *different)


def true_difference(ground_truth: GroundTruth, seed: int) -> float:
    """p99 of the second site minus p99 of the first, pooled over very many runs, seconds."""
    two = replace(ground_truth, network=ground_truth.network[:2], runs=_TRUTH_RUNS)
    parts: list[list[FloatHistogram]] = [[], []]
    for batch in range(_TRUTH_BATCHES):
        latencies = simulate_latencies(two, np.random.default_rng([seed, batch]))
        for site in range(2):
            rows = latencies[site].reshape(_TRUTH_RUNS, -1)
            parts[site].append(FloatHistogram.merge(*histograms(rows)))
    first, second = (FloatHistogram.merge(*part).quantile(0.99) for part in parts)
    return second - first


def trial(
    case: CalibrationCase, difference: float, experiment: Experiment, seed: Sequence[int]
) -> Trial:
    """Simulate one sweep and decide it both ways.

    Args:
        case: what to simulate.
        difference: the true difference between the p99 of the first two sites, seconds.
        experiment: the decision rule.
        seed: of the simulation; its last number seeds the bootstrap.
    """
    latencies = simulate_latencies(case.ground_truth, np.random.default_rng(seed))
    evidence = evidence_of(case.ground_truth, latencies)
    verdict = decide(evidence, experiment, seed=seed[-1])
    names = [candidate(site).name for site in range(len(case.ground_truth.network))]
    winner = None if verdict.winner is None else names.index(verdict.winner)
    interval, sign = _interval(verdict, evidence, experiment)
    covered = interval.low is not None and interval.high is not None
    covered = covered and (interval.low or 0.0) <= sign * difference <= (interval.high or 0.0)
    return Trial(verdict.kind, winner, covered, *original_winners(latencies))


def _interval(verdict: Verdict, evidence: Evidence, experiment: Experiment) -> tuple[Interval, int]:
    """The interval of the p99 difference between the first two sites, and its sign.

    The pair is the same in every trial, whether or not the verdict compared it: intervals that
    are selected by their result do not have their nominal coverage.
    """
    first, second = candidate(0), candidate(1)
    seen = {(c.leader, c.rival): c.pooled_interval for c in verdict.comparisons}
    for pair, sign in (((first.name, second.name), 1), ((second.name, first.name), -1)):
        if (interval := seen.get(pair)) is not None:
            return interval, sign
    samples, rule = samples_of(evidence), experiment.decision
    bootstrap = Bootstrap(rule.bootstrap_resamples, verdict.rule.seed, rule.outlier_cap_percentile)
    method = Method(rule, bootstrap, experiment.timing.measurement_sec)
    no_draws = ScoreDraws({}, 0, rule.confidence)
    (compared,) = compare(samples[first], [samples[second]], method, {}, no_draws)
    return compared.pooled_interval or Interval(None, None, rule.confidence), 1
