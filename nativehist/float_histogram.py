"""Native histograms to calculate with: merge, subtract, and read quantiles and moments.

A bucket of schema n spans a factor of 2^(2^-n); its bounds are powers of that factor, so buckets
of a coarser schema are unions of buckets of a finer one. Histograms of different resolutions are
therefore combined on the finest partition that both respect: buckets that overlap become one.
Counts stay exact under every operation; only the position inside a bucket is ever interpolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from latency_sweep.nativehist.bounds import (
    DEFAULT_ZERO_THRESHOLD,
    MAX_SCHEMA,
    MIN_SCHEMA,
    upper_bounds,
)
from latency_sweep.nativehist.partition import Partition
from latency_sweep.nativehist.quantile import fraction_above, histogram_quantiles, interpolate
from latency_sweep.nativehist.sparse_buckets import SparseBuckets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike

    from latency_sweep.nativehist.bounds import Floats


@dataclass(frozen=True, slots=True, eq=False)
class FloatHistogram:
    """An immutable histogram with float counts in sorted, disjoint, non-empty buckets.

    Bounds are explicit, as the HTTP API returns them, so that buckets of any kind can be held.
    Observations of NaN are part of `count` and `sum` only.

    Attributes:
        count: number of observations.
        sum: their sum, in the unit observed.
        lower: lower bounds of the buckets, shape (buckets,); negative buckets come first.
        upper: upper bounds, shape (buckets,).
        counts: observations per bucket, shape (buckets,), all greater than zero.
    """

    count: float
    sum: float
    lower: Floats
    upper: Floats
    counts: Floats

    def __post_init__(self) -> None:
        """Take private, read-only arrays and check that they describe a histogram."""
        for name in ("lower", "upper", "counts"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if not self.lower.shape == self.upper.shape == self.counts.shape:
            raise ValueError("A histogram needs as many lower and upper bounds as counts.")
        if not np.all(self.lower <= self.upper):  # also refuses NaN
            raise ValueError("A histogram bucket has its lower bound above its upper bound.")
        if not np.all(self.upper[:-1] <= self.lower[1:]):
            raise ValueError("Histogram buckets must be sorted and must not overlap.")
        if not np.all(self.counts > 0):
            raise ValueError("A histogram lists only buckets with a count greater than zero.")

    @classmethod
    def empty(cls) -> Self:
        """The histogram of no observations: the neutral element of `merge`."""
        none = np.empty(0)
        return cls(0.0, 0.0, none, none, none)

    @classmethod
    def from_samples(cls, values: ArrayLike, schema: int = MAX_SCHEMA) -> Self:
        """Observe values in the bucket layout of a native histogram.

        Args:
            values: the observations, any shape; none may be NaN.
            schema: resolution, -4 (factor 65536) to 8 (factor 1.0027).

        Raises:
            ValueError: an unknown schema, or a NaN among the values.
        """
        if not MIN_SCHEMA <= schema <= MAX_SCHEMA:
            raise ValueError(f"Schema {schema} does not exist; choose one from -4 to 8.")
        samples = np.sort(np.asarray(values, dtype=np.float64), axis=None)
        if np.isnan(samples).any():
            raise ValueError("A histogram cannot be made of samples that contain NaN.")
        negative_end = samples.searchsorted(-DEFAULT_ZERO_THRESHOLD)
        positive_start = samples.searchsorted(DEFAULT_ZERO_THRESHOLD, side="right")
        return cls.of_buckets(
            schema=schema,
            zero_threshold=DEFAULT_ZERO_THRESHOLD,
            count=samples.size,
            total=_sum(samples.tolist()),
            zero_count=int(positive_start - negative_end),
            positive=SparseBuckets.of_magnitudes(samples[positive_start:], schema),
            negative=SparseBuckets.of_magnitudes(-samples[:negative_end][::-1], schema),
        )

    @classmethod
    def of_buckets(
        cls,
        *,
        schema: int,
        zero_threshold: float,
        count: float,
        total: float,
        zero_count: int,
        positive: SparseBuckets,
        negative: SparseBuckets,
    ) -> Self:
        """The histogram of buckets that are given by key.

        Args:
            schema: resolution, -4 to 8.
            zero_threshold: half-width of the zero bucket, which may cover a part of the others.
            count: number of observations, NaN included.
            total: their sum.
            zero_count: observations in the zero bucket.
            positive: buckets above it.
            negative: buckets below it, by magnitude.
        """
        above, below = (
            _bounds_of(buckets, schema, zero_threshold) for buckets in (positive, negative)
        )
        zero = np.full(int(zero_count > 0), zero_threshold)
        return cls(
            float(count),
            total,
            np.concatenate([-below[1][::-1], 0.0 - zero, above[0]]),
            np.concatenate([-below[0][::-1], zero, above[1]]),
            np.concatenate(
                [negative.counts[::-1], np.full(zero.size, zero_count), positive.counts],
                dtype=np.float64,
            ),
        )

    @classmethod
    def merge(cls, *histograms: FloatHistogram) -> Self:
        """Pool histograms: counts and sums add up; associative and commutative."""
        if not histograms:
            return cls.empty()
        partition = _partition(histograms)
        buckets = np.concatenate([h.counts for h in histograms])
        return cls(
            math.fsum(h.count for h in histograms),
            _sum(h.sum for h in histograms),
            partition.lower,
            partition.upper,
            partition.totals(buckets),
        )

    def __add__(self, other: FloatHistogram) -> FloatHistogram:
        """Pool two histograms."""
        return FloatHistogram.merge(self, other)

    def __sub__(self, earlier: FloatHistogram) -> FloatHistogram:
        """What was observed between two snapshots of one cumulative histogram.

        Raises:
            ValueError: the other one is not an earlier snapshot: some bucket would go below zero.
        """
        partition = _partition((self, earlier))
        signed = np.concatenate([self.counts, -earlier.counts])
        counts = partition.totals(signed)
        count = self.count - earlier.count
        if count < 0 or np.any(counts < 0):
            raise ValueError(
                "The difference of two histograms has a negative bucket: the second is not an "
                "earlier snapshot of the first, or the counter was reset between them."
            )
        kept = counts > 0
        total = self.sum - earlier.sum if count else 0.0
        return FloatHistogram(
            count, total, partition.lower[kept], partition.upper[kept], counts[kept]
        )

    def __eq__(self, other: object) -> bool:
        """Whether count, sum, bounds and counts are the same, bit for bit (NaN equals NaN)."""
        if not isinstance(other, FloatHistogram):
            return NotImplemented
        return (
            np.array_equal([self.count, self.sum], [other.count, other.sum], equal_nan=True)
            and np.array_equal(self.lower, other.lower)
            and np.array_equal(self.upper, other.upper)
            and np.array_equal(self.counts, other.counts)
        )

    def __hash__(self) -> int:
        """Consistent with equality."""
        return hash((self.count, self.lower.tobytes(), self.counts.tobytes()))

    def __repr__(self) -> str:
        """Count, sum and number of buckets: the buckets themselves would fill pages."""
        return f"<FloatHistogram count={self.count:g} sum={self.sum:g} buckets={self.counts.size}>"

    def quantile(self, q: float) -> float:
        """The q-quantile as PromQL's `histogram_quantile` gives it; NaN when empty.

        Raises:
            ValueError: q is not between 0 and 1.
        """
        return float(self.quantiles([q])[0])

    def quantiles(self, qs: Sequence[float]) -> Floats:
        """Several quantiles, shape (len(qs),)."""
        nan_count = max(self.count - self.counts.sum(), 0.0) if math.isnan(self.sum) else None
        rows = histogram_quantiles(
            self.counts[np.newaxis], self.lower, self.upper, qs, nan_count=nan_count
        )
        return rows.ravel()

    def quantile_at_rank(self, rank: int) -> tuple[float, float]:
        """Bounds of the bucket that holds the rank-th smallest observation.

        Args:
            rank: 1 for the smallest, up to the number of observations.

        Raises:
            ValueError: there is no observation of that rank.
        """
        cumulative = np.cumsum(self.counts)
        index = int(np.searchsorted(cumulative, rank, side="left"))
        if rank < 1 or index >= self.counts.size:
            raise ValueError(f"There is no observation of rank {rank} among {self.count:g}.")
        return float(self.lower[index]), float(self.upper[index])

    def min_bounds(self) -> tuple[float, float]:
        """Bounds of the bucket that holds the smallest observation; NaN when empty."""
        if not self.counts.size:
            return math.nan, math.nan
        return float(self.lower[0]), float(self.upper[0])

    def max_bounds(self) -> tuple[float, float]:
        """Bounds of the bucket that holds the largest observation; NaN when empty."""
        if not self.counts.size:
            return math.nan, math.nan
        return float(self.lower[-1]), float(self.upper[-1])

    def bucket_width_at(self, value: float) -> float:
        """Width of the bucket that holds a value, or of the nearest one; NaN when empty.

        This is the resolution that a quantile near the value can have at best.
        """
        if not self.counts.size:
            return math.nan
        distance = np.maximum(self.lower - value, value - self.upper)
        index = int(np.argmin(distance))
        return float(self.upper[index] - self.lower[index])

    def mean(self, cap_percentile: float | None = None) -> float:
        """Mean of the observations, exact unless capped; NaN when empty.

        Args:
            cap_percentile: count observations above this percentile (0 to 100) as if they were
                equal to it, so that a single outlier cannot move the mean. Each observation
                then counts as the middle of its bucket: the sum is of no use, since it contains the
                outlier to its last digit and the bucket only roughly.
        """
        if not self.count:
            return math.nan
        if cap_percentile is None:
            return self.sum / self.count
        capped = np.minimum(self._middles(), self._cap(cap_percentile))
        return float(capped @ self.counts / self.counts.sum())

    def sd(self, cap_percentile: float | None = None) -> float:
        """Sample standard deviation with each observation in its bucket's middle.

        The error made is about half the widest bucket's width at most, and far less where many
        buckets are filled; the result is 0 when all observations share a bucket and NaN when empty.

        Args:
            cap_percentile: as for `mean`.
        """
        observed = float(self.counts.sum())
        if not observed:
            return math.nan
        if observed <= 1:
            return 0.0
        middle = self._middles()
        if cap_percentile is not None:
            middle = np.minimum(middle, self._cap(cap_percentile))
        mean = middle @ self.counts / observed
        return math.sqrt(float(((middle - mean) ** 2) @ self.counts) / (observed - 1))

    def cv(self, cap_percentile: float | None = None) -> float:
        """Coefficient of variation, sd / mean; NaN when empty or when the mean is zero.

        Args:
            cap_percentile: as for `mean`.
        """
        mean = self.mean(cap_percentile)
        return self.sd(cap_percentile) / mean if mean else math.nan

    def fraction_above(self, value: float) -> float:
        """Share of observations above a value, as PromQL's `histogram_fraction` gives it.

        NaN when empty.
        """
        return fraction_above(self.counts, self.lower, self.upper, value)

    def _cap(self, percentile: float) -> float:
        return self.quantile(percentile / 100)

    def _middles(self) -> Floats:
        return interpolate(np.full(self.counts.size, 0.5), *_finite(self.lower, self.upper))


def _bounds_of(buckets: SparseBuckets, schema: int, zero_threshold: float) -> tuple[Floats, Floats]:
    """Bounds of buckets nearer to zero and further away, by magnitude."""
    if not len(buckets):
        return np.empty(0), np.empty(0)
    inner = np.maximum(upper_bounds(buckets.keys - 1, schema), zero_threshold)
    return inner, upper_bounds(buckets.keys, schema)


def _partition(histograms: Sequence[FloatHistogram]) -> Partition:
    return Partition.of([(h.lower, h.upper) for h in histograms])


def _finite(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Bounds in which an overflow bucket is as narrow as its finite end."""
    return np.where(np.isinf(low), high, low), np.where(np.isinf(high), low, high)


def _sum(values: Iterable[float]) -> float:
    """Order-independent sum; infinities and NaN propagate as in plain addition."""
    terms = list(values)
    if all(math.isfinite(term) for term in terms):
        return math.fsum(terms)
    return sum(terms)
