"""Merging and lowering snapshots, and quantiles of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.nativehist.recording import (
    HistogramSettings,
    HistogramSnapshot,
    NativeHistogram,
    lower_schema,
    merge,
)


def _observed(
    values: list[float], schema: int = 8, zero_threshold: float = 2.0**-128, created: float = 0
) -> HistogramSnapshot:
    how = HistogramSettings(schema, zero_threshold, classic_bounds=(0.01, 1.0))
    histogram = NativeHistogram(how, clock=lambda: created)
    for value in values:
        histogram.observe(value)
    return histogram.snapshot()


VALUES = st.lists(st.one_of(st.floats(-1e3, 1e3), st.floats(-0.01, 0.05)), max_size=30)
SNAPSHOTS = st.builds(
    _observed,
    VALUES,
    st.integers(-4, 8),
    st.sampled_from([0.0, 2.0**-128, 0.001, 0.0123, 1.0]),
    st.integers(0, 10),
)
DEFAULTS = st.builds(_observed, VALUES, st.integers(-3, 8))


def _essence(snapshot: HistogramSnapshot) -> tuple[object, ...]:
    """All that addition of floats cannot blur."""
    return (
        snapshot.schema,
        snapshot.zero_threshold,
        snapshot.created,
        snapshot.count,
        snapshot.zero_count,
        snapshot.positive,
        snapshot.negative,
        snapshot.classic_counts,
        snapshot.moments.minimum,
        snapshot.moments.maximum,
    )


@given(SNAPSHOTS, SNAPSHOTS)
def test_merging_is_commutative(one: HistogramSnapshot, other: HistogramSnapshot) -> None:
    assert _essence(merge(one, other)) == _essence(merge(other, one))


@given(SNAPSHOTS, SNAPSHOTS, SNAPSHOTS)
def test_merging_is_associative(
    one: HistogramSnapshot, other: HistogramSnapshot, third: HistogramSnapshot
) -> None:
    left, right = merge(merge(one, other), third), merge(one, merge(other, third))
    assert _essence(left) == _essence(right)
    assert left.sum == pytest.approx(right.sum, abs=1e-9)
    assert left.mean == pytest.approx(right.mean, abs=1e-9, nan_ok=True)
    assert left.sd == pytest.approx(right.sd, abs=1e-6)


@given(VALUES, VALUES, st.integers(-4, 8))
def test_merging_is_observing_both(one: list[float], other: list[float], schema: int) -> None:
    merged = merge(_observed(one, schema), _observed(other, schema))
    assert _essence(merged) == _essence(_observed(one + other, schema))


@given(SNAPSHOTS, SNAPSHOTS)
def test_merging_loses_no_observation(one: HistogramSnapshot, other: HistogramSnapshot) -> None:
    merged = merge(one, other)
    inside = merged.positive.total + merged.negative.total + merged.zero_count
    assert merged.count == one.count + other.count == inside


def test_a_zero_bucket_that_takes_a_bucket_in_reaches_to_its_end() -> None:
    merged = merge(_observed([-0.01], 0, zero_threshold=0.009), _observed([0.012, 0.02], 0))
    assert (merged.zero_threshold, merged.zero_count) == (2.0**-6, 2)


@given(DEFAULTS, DEFAULTS)
def test_lowering_and_merging_can_be_swapped(
    one: HistogramSnapshot, other: HistogramSnapshot
) -> None:
    lowered = merge(lower_schema(one), lower_schema(other))
    assert _essence(lowered) == _essence(lower_schema(merge(one, other)))


@given(VALUES, st.integers(-3, 8))
def test_lowering_is_observing_at_the_lower_schema(values: list[float], schema: int) -> None:
    assert _essence(lower_schema(_observed(values, schema))) == _essence(
        _observed(values, schema - 1)
    )


def test_the_lowest_schema_cannot_be_lowered() -> None:
    with pytest.raises(ValueError, match="-4 is the lowest"):
        lower_schema(_observed([1.0], -4))


def test_histograms_with_other_classic_bounds_do_not_merge() -> None:
    with pytest.raises(ValueError, match="classic bounds"):
        merge(_observed([1.0]), HistogramSnapshot())


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


@pytest.mark.parametrize("q", [-0.1, 1.1])
def test_a_quantile_outside_the_distribution_is_infinite(q: float) -> None:
    assert _observed([1.0]).quantile(q) == math.copysign(math.inf, q)


def test_infinite_observations_have_infinite_quantiles() -> None:
    snapshot = _observed([-math.inf, 1.0, math.inf])
    assert snapshot.quantile(1) == math.inf
    assert snapshot.quantile(0) == -math.inf


def test_nothing_observed_has_no_quantile() -> None:
    assert math.isnan(_observed([]).quantile(0.5))
    assert math.isnan(_observed([math.nan]).quantile(0.5))
    assert math.isnan(_observed([1.0]).quantile(math.nan))


def test_ranks_held_by_nan_are_no_numbers() -> None:
    snapshot = _observed([3.0, math.nan, math.nan], schema=0)
    assert math.isnan(snapshot.quantile(0.9))
    assert snapshot.quantile(1 / 6) == pytest.approx(2 * 2**0.5)
