"""Whether verdicts can be trusted, on a small scale; `benchmarks/calibration.py` is the large one.

The seeds are fixed, so these cannot fail by chance. Runs are short and few are simulated: the
limits are what a sound method cannot miss, not the figures that are claimed for it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.report.words.conclusion import sentence
from latency_sweep.analysis.report.words.next_steps import next_steps
from latency_sweep.lab.simulation.calibration import CalibrationCase, trial
from latency_sweep.lab.simulation.original_method import winners
from latency_sweep.lab.simulation.sweep import (
    GroundTruth,
    candidate,
    histograms,
    simulate,
    simulate_latencies,
)
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import rules

EXPERIMENT = rules()
TRIALS = 25
# Constraints are not what is simulated here; short runs could not prove them.
SHORT = GroundTruth(network=(0.0064, 0.0064), windows=20, rate=100, level_sd=0.02)
LENIENT = rules(
    decision__constraints__reconnects_per_hour=10, decision__constraints__loss_ratio=0.001
)


def winners_of(ground_truth: GroundTruth) -> list[str | None]:
    return [
        decide(simulate(ground_truth, np.random.default_rng([5, n])), LENIENT, seed=n).winner
        for n in range(TRIALS)
    ]


def test_identical_sites_seldom_get_a_winner() -> None:
    assert sum(name is not None for name in winners_of(SHORT)) <= 3


def test_a_clear_difference_is_found_and_never_the_wrong_way_round() -> None:
    found = winners_of(replace(SHORT, network=(0.0064, 0.0072)))
    assert set(found) <= {None, candidate(0).name}
    assert sum(name is not None for name in found) >= 0.9 * TRIALS


def test_the_interval_has_about_its_nominal_coverage() -> None:
    case = CalibrationCase("identical", SHORT, (0, 1))
    trials = [trial(case, 0.0, LENIENT, (6, n)) for n in range(TRIALS)]
    assert sum(t.covered for t in trials) >= 0.9 * TRIALS
    # On the same data the original arithmetic sees a winner in most.
    assert sum(t.original_exact is not None for t in trials) >= 0.3 * TRIALS


def test_a_shared_disturbance_does_not_hide_a_difference() -> None:
    rough = replace(
        SHORT, network=(0.0064, 0.0072), exchange=0.002, exchange_sd=0.5, burst_share=0.0
    )
    found = winners_of(rough)
    assert sum(name == candidate(0).name for name in found) >= 0.8 * TRIALS


def test_the_simulation_buckets_as_the_histogram_does() -> None:
    rows = simulate_latencies(SHORT, np.random.default_rng(1))[0, 0]
    for fast, row in zip(histograms(rows), rows, strict=True):
        slow = FloatHistogram.from_samples(row)
        assert np.array_equal(fast.counts, slow.counts)
        assert np.array_equal(fast.upper, slow.upper)


def test_simulated_levels_hang_together_within_a_run_only() -> None:
    ground_truth = replace(SHORT, network=(0.0064,), runs=60, level_sd=0.2, run_sd=0.0)
    medians = np.median(simulate_latencies(ground_truth, np.random.default_rng(2))[0], axis=-1)
    centred = np.log(medians) - np.log(medians).mean()
    within = np.corrcoef(centred[:, :-1].ravel(), centred[:, 1:].ravel())[0, 1]
    across = np.corrcoef(centred[:-1, -1], centred[1:, 0])[0, 1]
    assert within > 0.8
    assert abs(across) < 0.4


def test_the_original_arithmetic_names_no_winner_where_all_buckets_agree() -> None:
    latencies = np.random.default_rng(1).uniform(0.011, 0.019, (2, 3, 5, 50))
    assert winners(latencies)[0] is None


@pytest.mark.parametrize("slower", [0, 1])
def test_the_original_arithmetic_finds_what_is_obvious(slower: int) -> None:
    latencies = np.random.default_rng(1).uniform(0.011, 0.019, (2, 3, 5, 50))
    latencies[slower] += 0.030
    assert winners(latencies) == (1 - slower, 1 - slower)


def test_a_simulated_sweep_passes_every_constraint_of_the_shipped_experiment() -> None:
    ground_truth = GroundTruth(network=(0.0064, 0.0080), rate=60)
    verdict = decide(simulate(ground_truth, np.random.default_rng(3)), EXPERIMENT)
    assert verdict.kind is VerdictKind.WINNER


def test_runs_back_to_back_of_a_route_that_drifts_are_to_be_spread() -> None:
    ground_truth = replace(
        SHORT, windows=60, level_sd=0.05, run_sd=0.005, correlation=0.98, back_to_back=True
    )
    verdict = decide(simulate(ground_truth, np.random.default_rng(1)), LENIENT)
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    (found,) = verdict.comparisons
    number = f"{found.effective_runs:.1f}"
    assert f"n = 9, effective number of runs {number})" in sentence(verdict)
    assert next_steps(verdict)[0] == (
        f"Spread the runs over hours or days: the difference between {found.leader} and"
        f" {found.rival} drifts so slowly that the effective number of these 9 runs is {number}."
    )
