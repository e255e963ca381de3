"""The histogram algebra against numpy, against Prometheus' rules, and against itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.nativehist.float_histogram import FloatHistogram

LATENCIES = np.random.default_rng(1).lognormal(-4, 0.5, 50_000)

values = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.5])), max_size=30
)
histograms = st.builds(FloatHistogram.from_samples, values, st.integers(-4, 8))


def same(one: FloatHistogram, other: FloatHistogram) -> bool:
    """Equal but for the rounding of the sum."""
    return (
        one.count == other.count
        and math.isclose(one.sum, other.sum, rel_tol=1e-9, abs_tol=1e-6)
        and np.array_equal(one.lower, other.lower)
        and np.array_equal(one.upper, other.upper)
        and np.array_equal(one.counts, other.counts)
    )


def test_zero_negative_and_infinite_observations_have_their_own_buckets() -> None:
    histogram = FloatHistogram.from_samples(
        [0, 1, 1.2, 1.4, 1.8, 2, math.inf, -math.inf, -3], schema=2
    )
    assert histogram.counts.tolist() == [1, 1, 1, 1, 2, 2, 1]
    assert histogram.min_bounds()[0] == -math.inf
    assert histogram.max_bounds()[1] == math.inf
    assert histogram.quantile_at_rank(3) == (-(2.0**-128), 2.0**-128)


@pytest.mark.parametrize("q", [0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_quantiles_are_within_half_a_percent_of_the_exact_ones(q: float) -> None:
    histogram = FloatHistogram.from_samples(LATENCIES)
    assert histogram.quantile(q) == pytest.approx(np.quantile(LATENCIES, q), rel=0.005)


def test_moments_and_fraction_are_near_the_exact_ones() -> None:
    histogram = FloatHistogram.from_samples(LATENCIES)
    assert histogram.mean() == pytest.approx(LATENCIES.mean())
    assert histogram.sd() == pytest.approx(LATENCIES.std(ddof=1), rel=1e-3)
    assert histogram.cv() == pytest.approx(LATENCIES.std(ddof=1) / LATENCIES.mean(), rel=1e-3)
    assert histogram.fraction_above(0.03) == pytest.approx((LATENCIES > 0.03).mean(), abs=1e-3)


@given(st.floats(-10, 10).filter(bool))
def test_all_of_a_bucket_without_width_lies_on_one_side_of_a_value(value: float) -> None:
    histogram = FloatHistogram(2, 0.0, *np.array([[0.0], [0.0], [2.0]]))
    assert histogram.fraction_above(value) == (value < 0)
    assert histogram.fraction_above(0.0) == 0


@given(histograms.filter(lambda h: h.count), st.sampled_from([-math.inf, -1e300, 1e300, math.inf]))
def test_above_a_value_beyond_all_observations_is_all_or_nothing(
    histogram: FloatHistogram, value: float
) -> None:
    assert histogram.fraction_above(value) == (value < 0)


def test_a_quantile_is_interpolated_geometrically_inside_its_bucket() -> None:
    histogram = FloatHistogram(4, 6.0, *np.array([[1.0], [4.0], [4.0]]))
    assert histogram.quantiles([0.25, 0.5, 1.0]).tolist() == pytest.approx([4**0.25, 2.0, 4.0])


def test_a_negative_bucket_mirrors_a_positive_one() -> None:
    histogram = FloatHistogram(4, -6.0, *np.array([[-4.0], [-1.0], [4.0]]))
    assert histogram.quantile(0.25) == pytest.approx(-(4**0.75))


def test_the_zero_bucket_is_interpolated_linearly_between_both_signs() -> None:
    histogram = FloatHistogram(
        6, 0.0, *np.array([[-4.0, -1.0, 1.0], [-1, 1, 4.0], [1.0, 4.0, 1.0]])
    )
    assert histogram.quantile(0.5) == pytest.approx(0.0)


def test_a_zero_bucket_beside_positive_ones_starts_at_zero() -> None:
    histogram = FloatHistogram(4, 1.0, *np.array([[-1.0, 1.0], [1.0, 2.0], [2.0, 2.0]]))
    assert histogram.quantile(0.25) == pytest.approx(0.5)


def test_a_zero_bucket_beside_negative_ones_ends_at_zero() -> None:
    histogram = FloatHistogram(4, 1.0, *np.array([[-2.0, -1.0], [-1.0, 1.0], [2.0, 2.0]]))
    assert histogram.quantile(0.75) == pytest.approx(-0.5)


def test_the_median_between_two_buckets_is_the_lower_end_of_the_upper_one() -> None:
    histogram = FloatHistogram(2, 101.0, *np.array([[1.0, 64.0], [2.0, 128.0], [1.0, 1.0]]))
    assert histogram.quantile(0.5) == 64
    assert histogram.quantile(0.49) < 2


def test_a_quantile_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1, not at 99"):
        FloatHistogram.from_samples([1.0]).quantile(99)


def test_nothing_can_be_read_from_an_empty_histogram() -> None:
    empty = FloatHistogram.empty()
    numbers = [
        empty.quantile(0.5),
        empty.mean(),
        empty.sd(),
        empty.cv(),
        empty.fraction_above(1),
        empty.bucket_width_at(1),
        *empty.min_bounds(),
        *empty.max_bounds(),
    ]
    assert np.isnan(numbers).all()


def test_ranks_start_at_one_and_end_at_the_count() -> None:
    histogram = FloatHistogram.from_samples([1.0, 2.0, 4.0], schema=0)
    assert [histogram.quantile_at_rank(k) for k in (1, 2, 3)] == [(0.5, 1), (1, 2), (2, 4)]
    for rank in (0, 4):
        with pytest.raises(ValueError, match=f"no observation of rank {rank} among 3"):
            histogram.quantile_at_rank(rank)


def test_the_width_at_a_value_is_that_of_its_bucket_or_the_nearest() -> None:
    histogram = FloatHistogram.from_samples([1.5, 3.0], schema=0)
    assert histogram.bucket_width_at(1.1) == 1
    assert histogram.bucket_width_at(100.0) == 2


def test_a_cap_keeps_one_outlier_from_moving_mean_and_sd() -> None:
    spoiled = FloatHistogram.from_samples(np.append(np.full(9999, 0.01), 1e6))
    assert spoiled.mean() > 90
    assert spoiled.mean(cap_percentile=99.9) == pytest.approx(0.01, rel=0.005)
    assert spoiled.sd(cap_percentile=99.9) == pytest.approx(0.0, abs=1e-4)
    assert spoiled.cv(cap_percentile=99.9) == pytest.approx(0.0, abs=1e-2)


@given(st.lists(st.floats(0.5, 64), min_size=2, max_size=30), st.integers(0, 8))
def test_the_spread_is_wrong_by_little_more_than_half_a_bucket(
    samples: list[float], schema: int
) -> None:
    histogram = FloatHistogram.from_samples(samples, schema)
    widest = float((histogram.upper - histogram.lower).max())
    displaced = 0.6 * widest * math.sqrt(len(samples) / (len(samples) - 1))
    assert histogram.sd() == pytest.approx(np.std(samples, ddof=1), abs=displaced)


def test_equal_observations_have_no_spread() -> None:
    assert FloatHistogram.from_samples([0.02] * 50).sd() == 0
    assert FloatHistogram.from_samples([0.02]).sd() == 0


def test_the_cv_around_zero_is_unknown() -> None:
    assert math.isnan(FloatHistogram.from_samples([-1.0, 1.0]).cv())


@given(histograms, histograms)
def test_merging_is_commutative(a: FloatHistogram, b: FloatHistogram) -> None:
    assert same(a + b, b + a)


@given(histograms, histograms, histograms)
def test_merging_is_associative(a: FloatHistogram, b: FloatHistogram, c: FloatHistogram) -> None:
    assert same((a + b) + c, a + (b + c))
    assert same((a + b) + c, FloatHistogram.merge(a, b, c))


@given(histograms)
def test_the_empty_histogram_is_neutral(a: FloatHistogram) -> None:
    assert same(a + FloatHistogram.empty(), a)
    assert same(a - FloatHistogram.empty(), a)


@given(values, values, st.integers(-4, 8))
def test_merging_equals_observing_together(a: list[float], b: list[float], schema: int) -> None:
    together = FloatHistogram.from_samples(a + b, schema)
    assert same(
        FloatHistogram.from_samples(a, schema) + FloatHistogram.from_samples(b, schema), together
    )


@given(histograms, histograms)
def test_merging_keeps_every_observation(a: FloatHistogram, b: FloatHistogram) -> None:
    assert (a + b).counts.sum() == a.counts.sum() + b.counts.sum()


@given(values, st.integers(-3, 8))
def test_a_coarser_histogram_absorbs_a_finer_one(samples: list[float], schema: int) -> None:
    fine = FloatHistogram.from_samples(samples, schema)
    coarse = FloatHistogram.from_samples(samples, schema - 1)
    assert np.array_equal((fine + coarse).lower, coarse.lower)
    assert np.array_equal((fine + coarse).counts, 2 * coarse.counts)


@given(values, values, st.integers(-4, 8))
def test_the_difference_of_snapshots_is_what_came_between(
    a: list[float], b: list[float], schema: int
) -> None:
    earlier, later = (
        FloatHistogram.from_samples(a, schema),
        FloatHistogram.from_samples(a + b, schema),
    )
    assert same(later - earlier, FloatHistogram.from_samples(b, schema))


def test_the_difference_spans_a_change_of_resolution() -> None:
    earlier = FloatHistogram.from_samples(LATENCIES[:1000], schema=8)
    later = FloatHistogram.from_samples(LATENCIES[:3000], schema=5)
    assert same(later - earlier, FloatHistogram.from_samples(LATENCIES[1000:3000], schema=5))


def test_a_difference_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="the counter was reset"):
        FloatHistogram.from_samples([1.0]) - FloatHistogram.from_samples([2.0])


def test_infinite_sums_of_both_signs_pool_to_an_unknown_sum() -> None:
    pooled = FloatHistogram.from_samples([math.inf]) + FloatHistogram.from_samples([-math.inf])
    assert math.isnan(pooled.sum)
    assert pooled.count == 2


@pytest.mark.parametrize(
    ("lower", "upper", "counts", "why"),
    [
        ([1.0], [2.0, 3.0], [1.0], "as many"),
        ([2.0], [1.0], [1.0], "lower bound above"),
        ([math.nan], [1.0], [1.0], "lower bound above"),
        ([1.0, 1.5], [2.0, 3.0], [1.0, 1.0], "overlap"),
        ([1.0], [2.0], [0.0], "greater than zero"),
    ],
)
def test_impossible_buckets_are_refused(
    lower: list[float], upper: list[float], counts: list[float], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        FloatHistogram(1.0, 1.0, np.array(lower), np.array(upper), np.array(counts))


@pytest.mark.parametrize("schema", [-5, 9])
def test_an_unknown_schema_is_refused(schema: int) -> None:
    with pytest.raises(ValueError, match=f"Schema {schema} does not exist"):
        FloatHistogram.from_samples([1.0], schema)


def test_samples_with_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="contain NaN"):
        FloatHistogram.from_samples([1.0, math.nan])


def test_a_histogram_cannot_be_changed() -> None:
    histogram = FloatHistogram.from_samples([1.0])
    with pytest.raises(ValueError, match="read-only"):
        histogram.counts[0] = 2


def test_equal_histograms_have_equal_hashes() -> None:
    one, other = FloatHistogram.from_samples([1.0, 2.0]), FloatHistogram.from_samples([2.0, 1.0])
    assert one == other
    assert hash(one) == hash(other)
    assert one != FloatHistogram.from_samples([1.0, 2.1])
    assert one != "a histogram"


def test_a_histogram_shows_its_size_not_its_buckets() -> None:
    text = repr(FloatHistogram.from_samples([1.0, 2.0]))
    assert text == "<FloatHistogram count=2 sum=3 buckets=2>"
