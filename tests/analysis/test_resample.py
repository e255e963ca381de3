"""The bootstrap: what it draws, and that its intervals are as wide as they must be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.histogram import Histogram
from analysis.pool import Pool
from analysis.resample import Bootstrap, _stationary_weights, percentile_interval
from tests.analysis.places import latencies, place, run_of, runs_of, steady


def bootstrap(resamples: int = 400, seed: int = 1) -> Bootstrap:
    return Bootstrap(resamples, seed, 99.99)


def pool_of(p99s: list[float], windows: int = 0) -> Pool:
    runs = []
    for index, p99 in enumerate(p99s):
        parts = tuple(latencies(p99 * (1 + 0.01 * (w % 3)), samples=200) for w in range(windows))
        whole = Histogram.merge(*parts) if parts else latencies(p99, samples=200)
        runs.append(run_of(place(), index, whole, windows=parts))
    return Pool(place(), runs)


def labels(pool: Pool) -> tuple[str, ...]:
    return tuple(pool.runs)


@given(st.integers(1, 6), st.integers(1, 40))
def test_every_resample_draws_as_many_runs_and_windows_as_there_are(runs: int, slots: int) -> None:
    weights = _stationary_weights(np.random.default_rng(0), 20, runs, slots)
    assert weights.shape == (20, runs * slots)
    assert np.all(weights.sum(axis=1) == runs * slots)
    per_run = weights.reshape(20, runs, slots).sum(axis=2)
    assert np.all(per_run % slots == 0)


def test_neighbouring_windows_are_drawn_together() -> None:
    weights = _stationary_weights(np.random.default_rng(0), 4000, 1, 60)
    neighbours = np.corrcoef(weights[:, 10], weights[:, 11])[0, 1]
    apart = np.corrcoef(weights[:, 10], weights[:, 40])[0, 1]
    assert neighbours > 0.8
    assert apart < 0


def test_windows_are_drawn_equally_often() -> None:
    weights = _stationary_weights(np.random.default_rng(0), 4000, 3, 60)
    assert weights.mean(axis=0) == pytest.approx(np.ones(180), abs=0.1)


@pytest.mark.parametrize("windows", [0, 1, 4, 60, 75])
def test_resampled_p99_centres_on_the_pooled_one(windows: int) -> None:
    pool = pool_of(steady(0.010), windows)
    draws = bootstrap().p99(pool, labels(pool))
    assert draws.shape == (400,)
    assert np.median(draws) == pytest.approx(pool.p99, rel=0.01)


def test_the_same_seed_gives_the_same_draws() -> None:
    pool = pool_of(steady(0.010), 5)
    first = bootstrap(seed=3).p99(pool, labels(pool))
    assert np.array_equal(first, bootstrap(seed=3).p99(pool, labels(pool)))
    assert not np.array_equal(first, bootstrap(seed=4).p99(pool, labels(pool)))


def test_places_share_their_draws_so_that_what_they_share_cancels() -> None:
    p99s = [0.010, 0.015, 0.008, 0.030, 0.011, 0.012]
    first, second = pool_of(p99s, 10), pool_of([p * 1.05 for p in p99s], 10)
    shared = bootstrap()
    one, two = (
        shared.p99(first, labels(first)),
        shared.p99(Pool(place("c6in.large"), [*second.runs.values()]), labels(second)),
    )
    assert np.std(two - one) < 0.1 * np.std(one)


def test_putting_low_buckets_together_changes_no_p99() -> None:
    pool = pool_of([0.010, 0.050, 0.002], 60)
    draws = bootstrap().p99(pool, labels(pool))
    weights = bootstrap()._draws(pool, labels(pool))
    direct = pool.window_grid.quantiles(weights, [0.99])[:, 0]
    assert draws == pytest.approx(direct, rel=1e-12)


def test_only_the_runs_named_are_drawn() -> None:
    pool = pool_of([0.010, 0.500, 0.011])
    cheap = tuple(label for label, p99 in pool.run_p99.items() if p99 < 0.1)
    assert len(cheap) == 2
    assert bootstrap().p99(pool, cheap).max() < 0.02


def test_resampled_moments_centre_on_the_pooled_ones() -> None:
    pool = pool_of(steady(0.010), 12)
    mean, sd = bootstrap().moments(pool, labels(pool))
    assert np.median(mean) == pytest.approx(pool.latency.mean(99.99), rel=0.01)
    assert np.median(sd) == pytest.approx(pool.latency.sd(99.99), rel=0.03)


def test_the_interval_of_few_runs_is_wider_than_plain_percentiles() -> None:
    draws = np.random.default_rng(0).normal(size=20_000)
    low, high = percentile_interval(draws, 9, 0.95)
    plain_low, plain_high = np.quantile(draws, [0.025, 0.975])
    assert low < plain_low
    assert high > plain_high
    assert percentile_interval(draws, 10_000, 0.95) == pytest.approx(
        (plain_low, plain_high), rel=0.05
    )


def test_the_interval_of_a_mean_of_nine_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        values = rng.normal(size=9)
        draws = values[rng.integers(0, 9, (1000, 9))].mean(axis=1)
        low, high = percentile_interval(draws, 9, 0.95)
        covered += low <= 0 <= high
    assert covered >= 0.93 * 400


def test_a_place_with_other_runs_is_resampled_over_the_shared_ones() -> None:
    long, short = Pool(place(), runs_of(place(), steady(0.01, 9))), pool_of(steady(0.01, 4))
    shared = tuple(sorted(set(long.runs) & set(short.runs)))
    assert bootstrap().p99(long, shared) == pytest.approx(bootstrap().p99(short, shared), rel=0.02)
