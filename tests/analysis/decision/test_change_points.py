"""Level shifts inside runs."""

from __future__ import annotations

import numpy as np

from latency_sweep.analysis.decision.change_points import change_points
from latency_sweep.analysis.evidence.sample import CandidateSample
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import candidate_of, latencies, rules, run_of

RULE = rules().decision


def sample_with(levels: list[list[float]]) -> CandidateSample:
    runs = []
    for index, series in enumerate(levels):
        windows = tuple(latencies(level, samples=200) for level in series)
        runs.append(run_of(candidate_of(), index, FloatHistogram.merge(*windows), windows=windows))
    return CandidateSample(candidate_of(), runs)


def noise(seed: int, size: int = 60) -> list[float]:
    return list(0.010 * (1 + 0.01 * np.random.default_rng(seed).normal(size=size)))


def test_a_route_change_is_flagged_where_it_happens() -> None:
    shifted = [x * (1.2 if i >= 40 else 1.0) for i, x in enumerate(noise(1))]
    (found,) = change_points([sample_with([noise(2), shifted, noise(3)])], RULE)
    assert found.run == "2026-01-01T14:05:00Z"
    assert (found.window, found.windows) == (40, 60)
    assert found.after_sec / found.before_sec > 1.15
    assert found.p_value < 0.05


def test_a_shift_is_candidated_in_time_where_windows_before_it_are_empty() -> None:
    levels = [x * (1.3 if i >= 11 else 1.0) for i, x in enumerate(noise(1, 20))]
    windows = [latencies(level, samples=200) for level in levels]
    windows[:3] = [FloatHistogram.empty()] * 3
    run = run_of(candidate_of(), 0, FloatHistogram.merge(*windows), windows=tuple(windows))
    (found,) = change_points([CandidateSample(candidate_of(), [run])], RULE)
    assert (found.window, found.windows) == (11, 20)


def test_steady_runs_are_not_flagged() -> None:
    assert change_points([sample_with([noise(seed) for seed in range(9)])], RULE) == ()


def test_a_shift_too_small_to_matter_is_not_flagged() -> None:
    shifted = [0.010 * (1 + 0.0005 * (i % 2)) * (1.01 if i >= 30 else 1.0) for i in range(60)]
    assert change_points([sample_with([shifted])], RULE) == ()


def test_runs_with_few_or_no_windows_are_left_alone() -> None:
    assert change_points([sample_with([[0.01] * 5 + [0.02] * 5])], RULE) == ()
    plain = CandidateSample(candidate_of(), [run_of(candidate_of(), 0, latencies(0.01))])
    assert change_points([plain], RULE) == ()
