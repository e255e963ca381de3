"""Snapshots as histograms to calculate with: merging, reducing the resolution, quantiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.nativehist.float_histogram import FloatHistogram
from latency_sweep.nativehist.histogram import NativeHistogram
from latency_sweep.nativehist.settings import HistogramSettings

if TYPE_CHECKING:
    from latency_sweep.nativehist.snapshot import HistogramSnapshot


def _snapshot(
    values: list[float], schema: int = 8, zero_threshold: float = 2.0**-128
) -> HistogramSnapshot:
    histogram = NativeHistogram(HistogramSettings(schema, zero_threshold))
    for value in values:
        histogram.observe(value)
    return histogram.snapshot()


def _observed(
    values: list[float], schema: int = 8, zero_threshold: float = 2.0**-128
) -> FloatHistogram:
    return _snapshot(values, schema, zero_threshold).to_float()


VALUES = st.lists(st.one_of(st.floats(-1e3, 1e3), st.floats(-0.01, 0.05)), max_size=30)
ZERO_THRESHOLDS = st.sampled_from([0.0, 2.0**-128, 0.001, 0.0123, 1.0])
HISTOGRAMS = st.builds(_observed, VALUES, st.integers(-4, 8), ZERO_THRESHOLDS)
SNAPSHOTS = st.builds(
    _snapshot,
    st.lists(st.one_of(st.floats(), VALUES.map(sum))),
    st.integers(-4, 8),
    ZERO_THRESHOLDS,
)


def _buckets(histogram: FloatHistogram) -> tuple[list[float], ...]:
    """All that addition of floats cannot blur."""
    bounds = histogram.lower.tolist(), histogram.upper.tolist()
    return [histogram.count], *bounds, histogram.counts.tolist()


@given(SNAPSHOTS)
def test_every_observation_is_in_a_bucket_or_is_nan(snapshot: HistogramSnapshot) -> None:
    histogram = snapshot.to_float()
    assert histogram.count == snapshot.count
    assert histogram.sum == pytest.approx(snapshot.sum, nan_ok=True, rel=0)
    inside = snapshot.positive.total + snapshot.negative.total + snapshot.zero_count
    assert histogram.counts.sum() == inside
    assert histogram.counts.size == snapshot.bucket_count + (snapshot.zero_count > 0)


@given(VALUES, st.integers(-4, 8))
def test_a_snapshot_is_the_histogram_of_its_samples(values: list[float], schema: int) -> None:
    from_samples = FloatHistogram.from_samples(values, schema)
    observed = _observed(values, schema)
    assert _buckets(observed) == _buckets(from_samples)
    assert observed.sum == pytest.approx(from_samples.sum, rel=1e-9, abs=1e-9)


@given(HISTOGRAMS, HISTOGRAMS)
def test_merging_is_commutative(one: FloatHistogram, other: FloatHistogram) -> None:
    assert _buckets(one + other) == _buckets(other + one)


@given(HISTOGRAMS, HISTOGRAMS, HISTOGRAMS)
def test_merging_is_associative(
    one: FloatHistogram, other: FloatHistogram, third: FloatHistogram
) -> None:
    left, right = (one + other) + third, one + (other + third)
    assert _buckets(left) == _buckets(right) == _buckets(FloatHistogram.merge(one, other, third))
    assert left.sum == pytest.approx(right.sum, abs=1e-9)


@given(VALUES, VALUES, st.integers(-4, 8), ZERO_THRESHOLDS)
def test_merging_is_observing_both(
    one: list[float], other: list[float], schema: int, zero_threshold: float
) -> None:
    merged = _observed(one, schema, zero_threshold) + _observed(other, schema, zero_threshold)
    assert _buckets(merged) == _buckets(_observed(one + other, schema, zero_threshold))


@given(HISTOGRAMS, HISTOGRAMS)
def test_merging_loses_no_observation(one: FloatHistogram, other: FloatHistogram) -> None:
    merged = one + other
    assert merged.count == one.count + other.count == merged.counts.sum()


@given(HISTOGRAMS, HISTOGRAMS)
def test_subtracting_undoes_merging(one: FloatHistogram, other: FloatHistogram) -> None:
    """On the buckets of the merge, which may be coarser than those of its parts."""
    merged = one + other
    left = merged - other
    assert (left.count, left.counts.sum()) == (one.count, one.counts.sum())
    assert _buckets(left + merged) == _buckets(one + merged)
    assert left.sum == pytest.approx(one.sum, abs=1e-9)


def test_a_zero_bucket_becomes_one_with_the_bucket_that_it_ends_in() -> None:
    merged = _observed([-0.01, 0.0], 0, zero_threshold=0.009) + _observed([0.012, 0.02], 0)
    assert merged.lower.tolist() == [-(2.0**-6), -0.009, 2.0**-6]
    assert merged.upper.tolist() == [-0.009, 2.0**-6, 2.0**-5]
    assert merged.counts.tolist() == [1, 2, 1]


@given(VALUES, st.integers(-3, 8), st.integers(0, 4))
def test_reducing_the_resolution_is_observing_at_the_lower_one(
    values: list[float], schema: int, steps: int
) -> None:
    steps = min(steps, schema + 4)
    fine, coarse = _snapshot(values, schema), _snapshot(values, schema - steps)
    assert fine.positive.reduce_resolution(steps) == coarse.positive
    assert fine.negative.reduce_resolution(steps) == coarse.negative
    assert _buckets(fine.to_float() + coarse.to_float()) == _buckets(
        coarse.to_float() + coarse.to_float()
    )


@given(HISTOGRAMS, st.lists(st.floats(0, 1), min_size=2))
def test_quantiles_ascend(histogram: FloatHistogram, qs: list[float]) -> None:
    quantiles = histogram.quantiles(sorted(qs))
    if histogram.count:
        assert (np.diff(quantiles) >= -1e-9 * np.abs(quantiles[1:])).all()
        assert (
            histogram.min_bounds()[0] <= quantiles[0] <= quantiles[-1] <= histogram.max_bounds()[1]
        )
    else:
        assert np.isnan(quantiles).all()


@pytest.mark.parametrize("q", [0.01, 0.25, 0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_quantile_is_within_half_a_bucket_or_so_of_the_samples(q: float, sign: int) -> None:
    values = sign * np.random.default_rng(7).lognormal(-4, 0.5, 50_000)
    exact = float(np.quantile(values, q))
    assert _observed(values.tolist()).quantile(q) == pytest.approx(exact, rel=0.005)


def test_quantiles_interpolate_exponentially_in_a_bucket() -> None:
    assert _observed([3.0] * 4, schema=0).quantile(0.25) == pytest.approx(2 * 2**0.25)
    assert _observed([-3.0] * 4, schema=0).quantile(0.25) == pytest.approx(-2 * 2**0.75)


def test_quantiles_interpolate_linearly_in_the_zero_bucket() -> None:
    assert _observed([0.0] * 4, zero_threshold=1.0).quantile(0.25) == -0.5
    assert _observed([0.0] * 3 + [2.0], zero_threshold=1.0).quantile(0.375) == 0.5
    assert _observed([0.0] * 3 + [-2.0], zero_threshold=1.0).quantile(0.625) == -0.5


def test_a_bucket_begins_where_a_wide_zero_bucket_ends() -> None:
    assert _observed([1.5], schema=0, zero_threshold=1.4).quantile(0) == pytest.approx(1.4)
    assert _observed([-1.5], schema=0, zero_threshold=1.4).quantile(1) == pytest.approx(-1.4)


def test_the_ends_of_the_distribution_are_the_ends_of_its_buckets() -> None:
    snapshot = _observed([-3.0, 0.5, 3.0], schema=0)
    assert (snapshot.quantile(0), snapshot.quantile(1)) == (-4, 4)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_that_there_cannot_be_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        _observed([1.0]).quantile(q)


def test_infinite_observations_have_infinite_quantiles() -> None:
    snapshot = _observed([-math.inf, 1.0, math.inf])
    assert snapshot.quantile(1) == math.inf
    assert snapshot.quantile(0) == -math.inf


def test_nothing_observed_has_no_quantile() -> None:
    assert math.isnan(_observed([]).quantile(0.5))
    assert math.isnan(_observed([math.nan]).quantile(0.5))


def test_ranks_held_by_nan_are_no_numbers() -> None:
    snapshot = _observed([3.0, math.nan, math.nan], schema=0)
    assert math.isnan(snapshot.quantile(0.9))
    assert snapshot.quantile(1 / 6) == pytest.approx(2 * 2**0.5)
