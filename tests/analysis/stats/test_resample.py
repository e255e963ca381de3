"""The bootstrap: what it draws, and that its intervals are as wide as they must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.analysis.evidence.sample import CandidateSample
from latency_sweep.analysis.stats import resample
from latency_sweep.analysis.stats.resample import Bootstrap, _stationary_draws, percentile_interval
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import candidate_of, latencies, run_of, runs_of, steady

if TYPE_CHECKING:
    from numpy.typing import NDArray


def bootstrap(resamples: int = 400, seed: int = 1) -> Bootstrap:
    return Bootstrap(resamples, seed, 99.99)


def pool_of(p99s: list[float], windows: int = 0) -> CandidateSample:
    runs = []
    for index, p99 in enumerate(p99s):
        parts = tuple(latencies(p99 * (1 + 0.01 * (w % 3)), samples=200) for w in range(windows))
        whole = FloatHistogram.merge(*parts) if parts else latencies(p99, samples=200)
        runs.append(run_of(candidate_of(), index, whole, windows=parts))
    return CandidateSample(candidate_of(), runs)


def draws_of(resamples: int, runs: int, slots: int, seed: int = 0) -> NDArray[np.float64]:
    blocks = _stationary_draws([seed, runs], resamples, runs, slots)
    return np.concatenate(list(blocks)).astype(np.float64)


def labels(sample: CandidateSample) -> tuple[str, ...]:
    return tuple(sample.runs)


@given(st.integers(1, 6), st.integers(1, 40))
def test_every_resample_draws_as_many_runs_and_windows_as_there_are(runs: int, slots: int) -> None:
    weights = draws_of(20, runs, slots)
    assert weights.shape == (20, runs * slots)
    assert np.all(weights.sum(axis=1) == runs * slots)
    per_run = weights.reshape(20, runs, slots).sum(axis=2)
    assert np.all(per_run % slots == 0)


def test_neighbouring_windows_are_drawn_together() -> None:
    weights = draws_of(4000, 1, 60)
    neighbours = np.corrcoef(weights[:, 10], weights[:, 11])[0, 1]
    apart = np.corrcoef(weights[:, 10], weights[:, 40])[0, 1]
    assert neighbours > 0.8
    assert apart < 0


def test_windows_are_drawn_equally_often() -> None:
    weights = draws_of(4000, 3, 60)
    assert weights.mean(axis=0) == pytest.approx(np.ones(180), abs=0.1)


@pytest.mark.parametrize("windows", [0, 1, 4, 60, 75])
def test_resampled_p99_centres_on_the_pooled_one(windows: int) -> None:
    sample = pool_of(steady(0.010), windows)
    draws = bootstrap().p99(sample, labels(sample))
    assert draws.shape == (400,)
    assert np.median(draws) == pytest.approx(sample.p99, rel=0.01)


def test_the_same_seed_gives_the_same_draws() -> None:
    sample = pool_of(steady(0.010), 5)
    first = bootstrap(seed=3).p99(sample, labels(sample))
    assert np.array_equal(first, bootstrap(seed=3).p99(sample, labels(sample)))
    assert not np.array_equal(first, bootstrap(seed=4).p99(sample, labels(sample)))


def test_candidates_share_their_draws_so_that_what_they_share_cancels() -> None:
    p99s = [0.010, 0.015, 0.008, 0.030, 0.011, 0.012]
    first, second = pool_of(p99s, 10), pool_of([p * 1.05 for p in p99s], 10)
    shared = bootstrap()
    one, two = (
        shared.p99(first, labels(first)),
        shared.p99(
            CandidateSample(candidate_of("c6in.large"), [*second.runs.values()]), labels(second)
        ),
    )
    assert np.std(two - one) < 0.1 * np.std(one)


def test_putting_low_buckets_together_changes_no_p99() -> None:
    sample = pool_of([0.010, 0.050, 0.002], 60)
    draws = bootstrap().p99(sample, labels(sample))
    weights = np.concatenate(list(bootstrap()._draws(sample, labels(sample))))
    direct = sample.window_grid.quantiles(weights, [0.99])[:, 0]
    assert draws == pytest.approx(direct, rel=1e-12)


def test_only_the_runs_named_are_drawn() -> None:
    sample = pool_of([0.010, 0.500, 0.011])
    cheap = tuple(label for label, p99 in sample.run_p99.items() if p99 < 0.1)
    assert len(cheap) == 2
    assert bootstrap().p99(sample, cheap).max() < 0.02


def test_resampled_moments_centre_on_the_pooled_ones() -> None:
    sample = pool_of(steady(0.010), 12)
    mean, sd = bootstrap().moments(sample, labels(sample))
    assert np.median(mean) == pytest.approx(sample.latency.mean(99.99), rel=0.01)
    assert np.median(sd) == pytest.approx(sample.latency.sd(99.99), rel=0.03)


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


def test_a_candidate_with_other_runs_is_resampled_over_the_shared_ones() -> None:
    long, short = (
        CandidateSample(candidate_of(), runs_of(candidate_of(), steady(0.01, 9))),
        pool_of(steady(0.01, 4)),
    )
    shared = tuple(sorted(set(long.runs) & set(short.runs)))
    assert bootstrap().p99(long, shared) == pytest.approx(bootstrap().p99(short, shared), rel=0.02)


def with_windows(index: int, levels: list[float]) -> CandidateSample:
    """A place with one run; no level stands for an empty window."""
    windows = tuple(latencies(x, samples=200) if x else FloatHistogram.empty() for x in levels)
    run = run_of(
        candidate_of(f"t{index}.large"), 0, FloatHistogram.merge(*windows), windows=windows
    )
    return CandidateSample(run.candidate, [run])


def drawn(sample: CandidateSample) -> NDArray[np.float64]:
    return np.concatenate(list(bootstrap()._draws(sample, labels(sample))))


@pytest.mark.parametrize("size", [20, 60])
def test_empty_windows_leave_the_others_where_they_are_in_time(size: int) -> None:
    whole = with_windows(0, [0.010] * size)
    gap = with_windows(1, [0.0] * 3 + [0.010] * (size - 3))
    assert drawn(gap) == pytest.approx(drawn(whole)[:, 3:])


def test_resamples_of_empty_windows_only_are_left_out() -> None:
    lone = with_windows(0, [0.010] + [0.0] * 59)
    shared = bootstrap()
    p99 = shared.p99(lone, labels(lone))
    mean, sd = shared.moments(lone, labels(lone))
    empty = np.isnan(p99)
    assert 0 < np.count_nonzero(empty) < empty.size
    assert np.array_equal(np.isnan(mean), empty)
    assert np.array_equal(np.isnan(sd), empty)
    low, high = percentile_interval(p99, 1, 0.95)
    assert low == pytest.approx(high) == lone.p99


def test_blocks_change_nothing_but_the_memory_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = pool_of(steady(0.010), 20)
    shared = bootstrap()
    one_block = list(shared._draws(sample, labels(sample)))
    assert [len(block) for block in one_block] == [400]
    monkeypatch.setattr(resample, "_SLOTS_PER_BLOCK", 150 * 9 * 60)
    smaller = bootstrap()
    assert [len(block) for block in smaller._draws(sample, labels(sample))] == [150, 150, 100]
    assert smaller.p99(sample, labels(sample)).shape == (400,)
    assert smaller.moments(sample, labels(sample))[0].shape == (400,)


def test_draws_too_large_to_keep_are_the_same_when_drawn_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nine, four = pool_of(steady(0.010), 20), pool_of(steady(0.010, 4), 20)
    kept = bootstrap()
    expected = [kept.p99(sample, labels(sample)) for sample in (nine, four)]
    assert list(kept._kept) == [9, 4]
    monkeypatch.setattr(resample, "_KEPT_BYTES", 400 * 9 * 60 * 2)
    fitting = bootstrap()
    assert np.array_equal(fitting.p99(nine, labels(nine)), expected[0])
    assert np.array_equal(fitting.p99(four, labels(four)), expected[1])
    assert list(fitting._kept) == [4]
    monkeypatch.setattr(resample, "_KEPT_BYTES", 0)
    forgetful = bootstrap()
    assert np.array_equal(forgetful.p99(nine, labels(nine)), expected[0])
    assert np.array_equal(forgetful.moments(nine, labels(nine)), kept.moments(nine, labels(nine)))
    assert not forgetful._kept
