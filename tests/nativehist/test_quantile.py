"""Prometheus' rule for many rows at once, against the same rule written out for one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.nativehist.float_histogram import FloatHistogram
from latency_sweep.nativehist.grid import Grid
from latency_sweep.nativehist.quantile import fraction_above, histogram_quantiles

SAMPLES = st.lists(st.one_of(st.floats(-100, 100), st.sampled_from([0.0, 1.0, 2.0])), max_size=30)
QUANTILES = st.lists(st.floats(0, 1), max_size=4)


def _by_the_book(
    buckets: list[tuple[float, float, float]], count: float, q: float, *, sum_is_nan: bool
) -> float:
    """`HistogramQuantile` of `promql/quantile.go`, for buckets of (lower, upper, count)."""
    if not count:
        return math.nan
    from_below = sum_is_nan or q < 0.5
    rank = (q if from_below else 1 - q) * count
    seen = 0.0
    lower = upper = inside = math.nan
    for lower, upper, inside in buckets if from_below else reversed(buckets):  # noqa: B007
        seen += inside
        if seen >= rank:
            break
    if lower < 0 < upper:
        has_negative = any(high <= 0 for _, high, _ in buckets)
        has_positive = any(low >= 0 for low, _, _ in buckets)
        if has_positive and not has_negative:
            lower = 0
        if has_negative and not has_positive:
            upper = 0
    if not seen >= rank:
        return math.nan
    fraction = (rank - (seen - inside) if from_below else seen - rank) / inside
    if lower <= 0 <= upper:
        return lower + (upper - lower) * fraction
    low, high = math.log2(abs(lower)), math.log2(abs(upper))
    return math.copysign(2.0 ** (low + (high - low) * fraction), lower)


@given(SAMPLES, st.integers(0, 5), st.integers(-4, 8), QUANTILES)
def test_quantiles_are_those_of_prometheus(
    samples: list[float], nans: int, schema: int, qs: list[float]
) -> None:
    plain = FloatHistogram.from_samples(samples, schema)
    total = math.nan if nans else plain.sum
    histogram = FloatHistogram(plain.count + nans, total, plain.lower, plain.upper, plain.counts)
    rows = zip(plain.lower.tolist(), plain.upper.tolist(), plain.counts.tolist(), strict=True)
    buckets = [*rows]
    expected = [
        _by_the_book(buckets, histogram.count, q, sum_is_nan=bool(nans)) if buckets else math.nan
        for q in qs
    ]
    assert histogram.quantiles(qs).tolist() == pytest.approx(expected, rel=1e-9, nan_ok=True)


@given(st.lists(SAMPLES, max_size=5), st.integers(-4, 8), QUANTILES)
def test_many_rows_have_the_quantiles_of_each_alone(
    samples: list[list[float]], schema: int, qs: list[float]
) -> None:
    histograms = [FloatHistogram.from_samples(part, schema) for part in samples]
    grid = Grid.of(histograms)
    together = histogram_quantiles(grid.counts, grid.lower, grid.upper, qs)
    assert together.shape == (len(histograms), len(qs))
    for row, histogram in zip(together, histograms, strict=True):
        assert row.tolist() == pytest.approx(histogram.quantiles(qs).tolist(), nan_ok=True)
    for at, q in enumerate(qs):
        assert np.array_equal(grid.row_quantiles(q), together[:, at], equal_nan=True)


@given(
    st.sampled_from([(1.0, 4.0), (-4.0, -1.0), (-1.0, 1.0), (0.0, 2.0)]),
    st.integers(1, 100),
    st.floats(0.01, 0.99),
)
def test_the_share_above_a_quantile_is_what_is_left(
    bounds: tuple[float, float], count: int, q: float
) -> None:
    lower, upper = (np.array([bound]) for bound in bounds)
    counts = np.array([float(count)])
    (quantile,) = histogram_quantiles(counts[np.newaxis], lower, upper, [q])[0]
    assert fraction_above(counts, lower, upper, quantile) == pytest.approx(1 - q)
