"""Runs that are worth fewer than they are, because they follow one another too closely."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.analysis.stats import inference
from latency_sweep.analysis.stats.dependence import Dependence, _drift, dependence

HOUR = 3600.0
BACK_TO_BACK = [f"2026-01-05T{hour:02d}:00:00Z" for hour in range(9)]
SPREAD_OUT = [f"2026-01-{day:02d}T06:00:00Z" for day in range(5, 14)]

Floats = np.ndarray[Any, np.dtype[np.float64]]

# Sums that differ, differ by more than the test takes for rounding, and by as much in any unit.
differences = st.floats(-1, 1).map(lambda x: round(x, 9))


def drifting(memory: float, *, seed: int = 1, level: float = 0.03) -> Floats:
    """Differences in 60 windows of nine runs back to back, forgotten over so many runs."""
    rng = np.random.default_rng(seed)
    kept, series, value = math.exp(-1 / (60 * memory)), np.empty(9 * 60), rng.standard_normal()
    for window in range(series.size):
        value = kept * value + math.sqrt(1 - kept**2) * rng.standard_normal()
        series[window] = level * value + 0.03 * rng.standard_normal()
    return series.reshape(9, 60)


def shared(series: Floats, labels: list[str]) -> Dependence:
    return dependence(labels, series.mean(axis=1), list(series), HOUR)


def test_runs_back_to_back_of_a_level_that_drifts_share_variance() -> None:
    found = shared(drifting(0.75), BACK_TO_BACK).covariance
    assert np.all(np.diag(found) == 0)
    assert found[0, 1] > 3 * found[0, 2] > 0
    assert np.array_equal(found, found.T)


def test_the_drift_is_measured_about_right() -> None:
    found = [shared(drifting(0.75, seed=seed), BACK_TO_BACK).covariance[0, 1] for seed in range(40)]
    between = np.mean([np.prod(drifting(0.75, seed=seed).mean(axis=1)[:2]) for seed in range(2000)])
    assert np.mean(found) == pytest.approx(between, rel=0.35)


def test_runs_days_apart_share_next_to_nothing() -> None:
    series = drifting(0.75)
    found = shared(series, SPREAD_OUT)
    assert found.covariance.max() < 1e-9
    assert found.stretch(series.mean(axis=1)) == pytest.approx(1)


def test_windows_without_drift_leave_runs_independent() -> None:
    series = 0.05 * np.random.default_rng(3).standard_normal((9, 60))
    series -= series.mean(axis=1, keepdims=True)
    assert shared(series, BACK_TO_BACK).covariance.max() < 1e-4


@pytest.mark.parametrize("seed", range(8))
def test_single_disturbed_windows_are_no_drift(seed: int) -> None:
    series = drifting(0.75, seed=seed, level=0.0)
    series[np.arange(9), np.random.default_rng(seed).integers(0, 60, 9)] += 0.5
    assert _drift(list(series)) < 0.5 * 0.03**2


@pytest.mark.parametrize(
    ("labels", "windows"),
    [
        (["first", "second"], np.zeros((2, 60))),
        (BACK_TO_BACK[:2], np.zeros((2, 0))),
        (BACK_TO_BACK[:2], np.ones((2, 3))),
        (BACK_TO_BACK[:2], np.ones((2, 60))),
        (BACK_TO_BACK[:2], np.full((2, 60), np.nan)),
    ],
)
def test_where_nothing_is_known_of_the_drift_nothing_is_shared(
    labels: list[str], windows: Floats
) -> None:
    found = dependence(labels, np.array([0.1, 0.2]), list(windows), HOUR)
    assert np.array_equal(found.covariance, np.zeros((2, 2)))
    assert found.stretch(np.array([0.1, 0.2])) == 1


def test_runs_share_no_more_than_their_differences_have() -> None:
    small = np.full(9, 0.001)
    found = dependence(BACK_TO_BACK, small, list(drifting(0.75, level=0.3)), HOUR).covariance
    assert found.max() == pytest.approx(0.001**2)


def test_no_pairs_share_nothing() -> None:
    assert dependence([], np.empty(0), [], HOUR).covariance.shape == (0, 0)


def test_a_run_cut_otherwise_than_the_others_is_left_out_of_the_drift() -> None:
    series = drifting(0.75)
    odd = [*series[:8], np.linspace(0, 9, 7)]
    found = dependence(BACK_TO_BACK, series.mean(axis=1), odd, HOUR).covariance
    rest = dependence(BACK_TO_BACK, series.mean(axis=1), list(series[:8]), HOUR).covariance
    assert np.array_equal(found, rest)


def test_intervals_grow_with_what_is_shared_and_never_beyond_one_run() -> None:
    differences = np.array([0.01, 0.03, 0.02, 0.04])
    stretches = [
        Dependence(common * (1 - np.eye(4))).stretch(differences) for common in (0, 1e-5, 1e-4, 1)
    ]
    assert stretches == sorted(stretches)
    assert (stretches[0], stretches[-1]) == (1, 2)
    variance = differences.var(ddof=1)
    assert stretches[1] == pytest.approx(math.sqrt(1 + 4 * 1e-5 / variance))


@pytest.mark.parametrize("pairs", [9, 48])
def test_what_runs_share_makes_a_difference_less_certain(pairs: int) -> None:
    values = 0.01 + 0.02 * np.random.default_rng(1).standard_normal(pairs)
    alike = 2e-4 * (1 - np.eye(pairs))
    assert inference.sign_flip_p(values, alike) > inference.sign_flip_p(values)


@given(
    st.lists(differences, min_size=1, max_size=20),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(1e-6, 1e6),
)
def test_p_grows_with_what_is_shared_and_does_not_depend_on_the_unit(
    values: list[float], first: float, second: float, unit: float
) -> None:
    low, high = sorted((first, second))
    series, apart = np.array(values), 1 - np.eye(len(values))
    less, more = (inference.sign_flip_p(series, c * apart) for c in (low, high))
    assert inference.sign_flip_p(series, 0 * apart) == inference.sign_flip_p(series)
    assert inference.sign_flip_p(series) <= less <= more <= 1
    scaled = inference.sign_flip_p(series * unit, low * unit**2 * apart)
    assert scaled == pytest.approx(less, abs=2.0 ** (1 - min(len(values), 16)) * 1.01)


def test_the_sign_flip_test_keeps_its_level_where_neighbours_drift() -> None:
    plain = allowed = 0
    for seed in range(300):
        series = drifting(0.75, seed=seed)
        differences = series.mean(axis=1)
        plain += inference.sign_flip_p(differences) < 0.05
        known = shared(series, BACK_TO_BACK)
        allowed += inference.sign_flip_p(differences, known.covariance) < 0.05
    assert plain > 0.12 * 300
    assert allowed <= 0.06 * 300
