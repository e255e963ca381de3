"""How far can the verdict be trusted? Simulated sweeps whose truth is known, many times over.

    python benchmarks/calibration.py [--trials 400] [--seed 1] [--jobs 2]

For each scenario: how often a winner is declared, how often it is the right one, how often the
nominal interval of the p99 difference covers the true one, and what the arithmetic this project
started from says on the same data. In square brackets stands the 95 % interval of each figure,
since the trials are few. Evidence enters where evidence from Prometheus does.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

# One thread per process; the processes share the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from latency_sweep.analysis.decision.comparison import Method, compare
from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.leader import ScoreDraws
from latency_sweep.analysis.decision.results import Interval
from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.evidence.sample import samples_of
from latency_sweep.analysis.stats.intervals import binomial_lower, binomial_upper
from latency_sweep.analysis.stats.resample import Bootstrap
from latency_sweep.contract.experiment import Experiment, load
from latency_sweep.lab.simulation.original_method import winners as original_winners
from latency_sweep.lab.simulation.sweep import (
    Truth,
    candidate,
    evidence_of,
    histograms,
    simulate_latencies,
)
from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.decision.verdict import Verdict
    from latency_sweep.analysis.evidence.records import Evidence

NEAR = 0.0064  # typical network latency of the candidates in question; p99 is near 10 ms
FAR = 0.025
RATE = 300
_TRUTH_RUNS, _TRUTH_BATCHES = 90, 8


@dataclass(frozen=True, slots=True)
class Scenario:
    """Simulated sweeps of one kind.

    Attributes:
        name: for the table.
        truth: what is simulated.
        best: the places that are best; one means that it should win, more that none should.
    """

    name: str
    ground_truth: Truth
    best: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one sweep; places are numbers, `covered` speaks of the first two."""

    kind: VerdictKind
    winner: int | None
    covered: bool
    original: int | None
    original_exact: int | None


def scenarios() -> tuple[Scenario, ...]:
    """The table's rows."""
    two, three = (NEAR, NEAR), (NEAR, NEAR, FAR)
    base = Truth(network=two, rate=RATE)
    identical = [
        Scenario("2 identical", base, (0, 1)),
        Scenario("2 identical, 1 far", replace(base, network=three), (0, 1)),
        Scenario(
            "6 identical", replace(base, network=(NEAR,) * 6, rate=RATE // 2), tuple(range(6))
        ),
        Scenario("2 identical, level 0.90", replace(base, correlation=0.9), (0, 1)),
        Scenario("2 identical, level 0.98", replace(base, correlation=0.98), (0, 1)),
        Scenario("2 identical, back to back", replace(base, back_to_back=True), (0, 1)),
        Scenario(
            "2 identical, level 0.98, back to back",
            replace(base, correlation=0.98, back_to_back=True),
            (0, 1),
        ),
        Scenario(
            "2 identical, 0.98, back to back, 48 runs",
            replace(base, correlation=0.98, back_to_back=True, runs=48, rate=100),
            (0, 1),
        ),
    ]
    different = [
        Scenario(
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


def true_difference(ground_truth: Truth, seed: int) -> float:
    """Pooled p99 of the second candidate minus that of the first, over very many runs, seconds."""
    two = replace(ground_truth, network=ground_truth.network[:2], runs=_TRUTH_RUNS)
    parts: list[list[FloatHistogram]] = [[], []]
    for batch in range(_TRUTH_BATCHES):
        latencies = simulate_latencies(two, np.random.default_rng([seed, batch]))
        for place in range(2):
            rows = latencies[place].reshape(_TRUTH_RUNS, -1)
            parts[place].append(FloatHistogram.merge(*histograms(rows)))
    first, second = (FloatHistogram.merge(*part).quantile(0.99) for part in parts)
    return second - first


def trial(
    scenario: Scenario, difference: float, experiment: Experiment, seed: Sequence[int]
) -> Trial:
    """Simulate one sweep and decide it both ways."""
    latencies = simulate_latencies(scenario.ground_truth, np.random.default_rng(seed))
    evidence = evidence_of(scenario.ground_truth, latencies)
    verdict = decide(evidence, experiment, seed=seed[-1])
    names = [candidate(place).name for place in range(len(scenario.ground_truth.network))]
    winner = None if verdict.winner is None else names.index(verdict.winner)
    interval, sign = _interval(verdict, evidence, experiment)
    covered = interval.low is not None and interval.high is not None
    covered = covered and (interval.low or 0.0) <= sign * difference <= (interval.high or 0.0)
    return Trial(verdict.kind, winner, covered, *original_winners(latencies))


def _interval(verdict: Verdict, evidence: Evidence, experiment: Experiment) -> tuple[Interval, int]:
    """The interval of the p99 difference between the first two candidates, and its sign.

    The pair is the same in every trial, whether the verdict looked at it or not: intervals picked
    for what they show do not cover as often as they say.
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


def run_scenario(
    scenario: Scenario, trials: int, seed: int, experiment: Experiment, pool: ProcessPoolExecutor
) -> list[Trial]:
    """All trials of a scenario, in parallel, the same for the same seed."""
    identical = len(set(scenario.ground_truth.network[:2])) == 1
    difference = 0.0 if identical else true_difference(scenario.ground_truth, seed)
    seeds = [(seed, number) for number in range(trials)]
    work = partial(trial, scenario, difference, experiment)
    return list(pool.map(work, seeds, chunksize=4))


def share(hits: int, trials: int) -> str:
    """Per cent with its exact 95 % interval."""
    if not trials:
        return "-"
    low, high = binomial_lower(hits, trials, 0.975), binomial_upper(hits, trials, 0.975)
    return f"{100 * hits / trials:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def row(scenario: Scenario, trials: Sequence[Trial]) -> str:
    """One line of the table."""
    size = len(trials)
    unique = scenario.best[0] if len(scenario.best) == 1 else None
    right = sum(t.winner == unique for t in trials if t.winner is not None and unique is not None)
    false = sum(t.winner is not None for t in trials) - right
    cells = [
        scenario.name,
        share(false, size),
        share(right, size) if unique is not None else "",
        share(sum(t.kind is VerdictKind.TIE for t in trials), size),
        share(sum(t.covered for t in trials), size),
    ]
    for declared in ([t.original for t in trials], [t.original_exact for t in trials]):
        hits = sum(w == unique for w in declared if w is not None and unique is not None)
        wrong = sum(w is not None for w in declared) - hits
        cells.append(share(wrong, size))
        cells.append(share(hits, size) if unique is not None else "")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run the scenarios and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=400, help="sweeps per scenario")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="only scenarios whose name contains this")
    options = parser.parse_args()
    experiment = load()
    print(
        f"{options.trials} sweeps per row, seed {options.seed}; per cent [95 % interval].\n\n"
        "| scenario | false winner | right winner | tie | 95 % interval covers"
        " | original: false | original: right"
        " | original, exact percentiles: false | right |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    with ProcessPoolExecutor(options.jobs) as pool:
        for scenario in scenarios():
            if options.only in scenario.name:
                done = run_scenario(scenario, options.trials, options.seed, experiment, pool)
                print(row(scenario, done), flush=True)


if __name__ == "__main__":
    main()
