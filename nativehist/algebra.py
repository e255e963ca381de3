"""Algebra of Prometheus' native histograms: merge, subtract, and read quantiles and moments.

A bucket of schema n spans a factor of 2^(2^-n); its bounds are powers of that factor, so buckets
of a coarser schema are unions of buckets of a finer one. Histograms of different resolutions are
therefore combined on the finest partition that both respect: buckets that overlap become one.
Counts stay exact under every operation; only the position inside a bucket is ever interpolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Flags = np.bool_ | NDArray[np.bool_]
    Indices = NDArray[np.intp]

# The Prometheus client libraries' default width of the zero bucket.
ZERO_THRESHOLD: Final = 2.0**-128
MAX_SCHEMA: Final = 8
MIN_SCHEMA: Final = -4

# From the median up Prometheus counts ranks from the highest bucket downwards.
_FROM_ABOVE: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """An immutable histogram of float observations in sorted, disjoint, non-empty buckets.

    Observations of NaN are part of `count` and `sum` only and take no part in quantiles.

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
        samples = np.asarray(values, dtype=np.float64).ravel()
        if np.isnan(samples).any():
            raise ValueError("A histogram cannot be made of samples that contain NaN.")
        magnitude = np.abs(samples)
        zeros = np.count_nonzero(magnitude <= ZERO_THRESHOLD)
        negative = magnitude[samples < -ZERO_THRESHOLD]
        positive = magnitude[samples > ZERO_THRESHOLD]
        negative_keys, negative_counts = np.unique(
            bucket_keys(negative, schema), return_counts=True
        )
        positive_keys, positive_counts = np.unique(
            bucket_keys(positive, schema), return_counts=True
        )
        zero = np.full(int(zeros > 0), ZERO_THRESHOLD)
        return cls(
            float(samples.size),
            _sum(samples.tolist()),
            np.concatenate(
                [
                    -bucket_bounds(negative_keys, schema)[::-1],
                    -zero,
                    bucket_bounds(positive_keys - 1, schema),
                ]
            ),
            np.concatenate(
                [
                    -bucket_bounds(negative_keys - 1, schema)[::-1],
                    zero,
                    bucket_bounds(positive_keys, schema),
                ]
            ),
            np.concatenate(
                [negative_counts[::-1], np.full(zero.size, zeros), positive_counts],
                dtype=np.float64,
            ),
        )

    @classmethod
    def from_api(cls, document: Any) -> Self:
        """Read the JSON that Prometheus' HTTP API gives for a histogram sample.

        Args:
            document: `{"count": "3", "sum": "0.1", "buckets": [[0, "0.01", "0.02", "3"]]}`; an
                empty histogram has no `buckets`.

        Raises:
            ValueError: the document has another form.
        """
        try:
            count, total = float(document["count"]), float(document["sum"])
            rows = document.get("buckets") or []
            table = np.array([row[1:4] for row in rows], dtype=np.float64).reshape(-1, 3)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError("Not a native histogram as Prometheus' API writes one.") from error
        table = table[table[:, 2] != 0]
        return cls(count, total, table[:, 0], table[:, 1], table[:, 2])

    @classmethod
    def merge(cls, *histograms: Histogram) -> Self:
        """Pool histograms: counts and sums add up; associative and commutative."""
        if not histograms:
            return cls.empty()
        layout = _Layout.of(histograms)
        buckets = np.concatenate([h.counts for h in histograms])
        return cls(
            math.fsum(h.count for h in histograms),
            _sum(h.sum for h in histograms),
            layout.lower,
            layout.upper,
            layout.totals(buckets),
        )

    def __add__(self, other: Histogram) -> Histogram:
        """Pool two histograms."""
        return Histogram.merge(self, other)

    def __sub__(self, earlier: Histogram) -> Histogram:
        """What was observed between two snapshots of one cumulative histogram.

        Raises:
            ValueError: the other one is not an earlier snapshot: some bucket would go below zero.
        """
        layout = _Layout.of((self, earlier))
        signed = np.concatenate([self.counts, -earlier.counts])
        counts = layout.totals(signed)
        count = self.count - earlier.count
        if count < 0 or np.any(counts < 0):
            raise ValueError(
                "The difference of two histograms has a negative bucket: the second is not an "
                "earlier snapshot of the first, or the counter was reset between them."
            )
        kept = counts > 0
        total = self.sum - earlier.sum if count else 0.0
        return Histogram(count, total, layout.lower[kept], layout.upper[kept], counts[kept])

    def __eq__(self, other: object) -> bool:
        """Whether count, sum, bounds and counts are the same, bit for bit (NaN equals NaN)."""
        if not isinstance(other, Histogram):
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
        return f"<Histogram count={self.count:g} sum={self.sum:g} buckets={self.counts.size}>"

    def quantile(self, q: float) -> float:
        """The q-quantile by Prometheus' rule; see `quantile_of_counts`. NaN when empty."""
        return float(quantile_of_counts(self.counts[np.newaxis], self.lower, self.upper, q)[0])

    def quantiles(self, qs: Sequence[float]) -> Floats:
        """Several quantiles, shape (len(qs),)."""
        return np.array([self.quantile(q) for q in qs])

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
                then stands in its bucket's middle: the sum is of no use, since it contains the
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
        """Share of observations above a value, by the rule of Prometheus' `histogram_fraction`.

        Interpolated inside the value's bucket; NaN when empty.
        """
        observed = float(self.counts.sum())
        if not observed:
            return math.nan
        has_negative, has_positive = (self.upper <= 0).any(), (self.lower >= 0).any()
        low, high = _of_one_sign(self.lower, self.upper, has_negative, has_positive)
        below = _position(np.full(low.size, value), low, high)
        return float(((1 - below) @ self.counts) / observed)

    def _cap(self, percentile: float) -> float:
        return self.quantile(percentile / 100)

    def _middles(self) -> Floats:
        return _interpolate(np.full(self.counts.size, 0.5), *_finite(self.lower, self.upper))


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Many histograms on one common set of buckets, for fast resampling.

    Attributes:
        lower: lower bounds, shape (buckets,).
        upper: upper bounds, shape (buckets,).
        counts: observations, shape (histograms, buckets); zeros included.
    """

    lower: Floats
    upper: Floats
    counts: Floats

    @classmethod
    def of(cls, histograms: Sequence[Histogram]) -> Self:
        """Align histograms on the finest partition that all of them respect."""
        layout = _Layout.of(histograms)
        size = layout.lower.size
        rows = np.repeat(np.arange(len(histograms)), [h.counts.size for h in histograms])
        counts = np.concatenate([np.empty(0), *(h.counts for h in histograms)])
        flat = np.bincount(
            rows * size + layout.group, weights=counts, minlength=len(histograms) * size
        )
        return cls(
            layout.lower,
            layout.upper,
            flat.astype(np.float64, copy=False).reshape(len(histograms), size),
        )

    def quantiles(self, weights: ArrayLike, qs: Sequence[float]) -> Floats:
        """Quantiles of weighted sums of the histograms, as a bootstrap needs them.

        Args:
            weights: how often each histogram is drawn, shape (resamples, histograms).
            qs: the quantiles, 0 to 1.

        Returns:
            Shape (resamples, len(qs)).
        """
        pooled = np.atleast_2d(np.asarray(weights, dtype=np.float64)) @ self.counts
        columns = [quantile_of_counts(pooled, self.lower, self.upper, q) for q in qs]
        return np.stack(columns, axis=1)


def quantile_of_counts(counts: Floats, lower: Floats, upper: Floats, q: float) -> Floats:
    """The q-quantile of each row of counts, by the rule of Prometheus' `histogram_quantile`.

    The rank q·n is located in its bucket and interpolated exponentially there, linearly in a
    bucket that contains zero; from the median up, ranks are counted from above.

    Args:
        counts: shape (rows, buckets), not negative.
        lower: lower bounds of sorted, disjoint buckets, shape (buckets,).
        upper: their upper bounds.
        q: 0 to 1.

    Returns:
        Shape (rows,); NaN for rows without observations.

    Raises:
        ValueError: q is not between 0 and 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"A quantile lies between 0 and 1, not at {q}.")
    result = np.full(counts.shape[0], np.nan)
    cumulative = np.cumsum(counts, axis=1)
    filled = np.flatnonzero(cumulative[:, -1] > 0) if lower.size else np.empty(0, dtype=np.intp)
    if not filled.size:
        return result
    counts, cumulative = counts[filled], cumulative[filled]
    total = cumulative[:, -1:]
    occupied = counts > 0
    if q < _FROM_ABOVE:
        rank = q * total
        index = np.argmax(occupied & (cumulative >= rank), axis=1)
    else:
        # Observations from a bucket upwards, the bucket included.
        above = total - cumulative + counts
        rank = (1 - q) * total
        hit = occupied & (above >= rank)
        index = hit.shape[1] - 1 - np.argmax(hit[:, ::-1], axis=1)
    rows = np.arange(filled.size)
    size = counts[rows, index]
    if q < _FROM_ABOVE:
        fraction = (rank[:, 0] - (cumulative[rows, index] - size)) / size
    else:
        fraction = (above[rows, index] - rank[:, 0]) / size
    low, high = lower[index], upper[index]
    if ((low < 0) & (high > 0)).any():
        has_negative = (occupied & (upper <= 0)).any(axis=1)
        has_positive = (occupied & (lower >= 0)).any(axis=1)
        low, high = _of_one_sign(low, high, has_negative, has_positive)
    result[filled] = _interpolate(np.clip(fraction, 0.0, 1.0), low, high)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """The finest partition that a number of histograms respect.

    Attributes:
        lower: lower bounds of the partition's buckets.
        upper: their upper bounds.
        group: for each bucket of the concatenated histograms, its index in the partition.
    """

    lower: Floats
    upper: Floats
    group: Indices

    def totals(self, counts: Floats) -> Floats:
        """Sums of the concatenated histograms' counts by bucket of the partition."""
        sums = np.bincount(self.group, weights=counts, minlength=self.lower.size)
        return sums.astype(np.float64, copy=False)

    @classmethod
    def of(cls, histograms: Sequence[Histogram]) -> Self:
        lower = np.concatenate([np.empty(0), *(h.lower for h in histograms)])
        upper = np.concatenate([np.empty(0), *(h.upper for h in histograms)])
        group = np.empty(lower.size, dtype=np.intp)
        if not lower.size:
            return cls(lower, upper, group)
        order = np.lexsort((upper, lower))
        low, high = lower[order], upper[order]
        reach = np.maximum.accumulate(high)
        starts = np.empty(low.size, dtype=bool)
        starts[0] = True
        # Touching buckets stay apart; the second condition joins equal buckets of no width.
        starts[1:] = (low[1:] >= reach[:-1]) & ((low[1:] != low[:-1]) | (high[1:] != high[:-1]))
        first = np.flatnonzero(starts)
        group[order] = np.cumsum(starts) - 1
        return cls(low[first], reach[np.append(first[1:], low.size) - 1], group)


def _of_one_sign(
    low: Floats, high: Floats, has_negative: Flags, has_positive: Flags
) -> tuple[Floats, Floats]:
    """Bounds where a zero bucket beside buckets of one sign only holds values of that sign."""
    straddling = (low < 0) & (high > 0)
    return (
        np.where(straddling & ~has_negative & has_positive, 0.0, low),
        np.where(straddling & has_negative & ~has_positive, 0.0, high),
    )


def _interpolate(fraction: Floats, low: Floats, high: Floats) -> Floats:
    """The value at a fraction of the way through a bucket: geometric, linear around zero."""
    linear = (low <= 0) & (high >= 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        geometric = np.sign(low) * np.exp2(
            np.log2(np.abs(low)) * (1 - fraction) + np.log2(np.abs(high)) * fraction
        )
        result = np.where(linear, low + (high - low) * fraction, geometric)
    # Rounding must not carry a value out of its bucket; infinite bounds give NaN at the ends.
    result = np.where(fraction == 0, low, np.where(fraction == 1, high, result))
    return np.clip(result, low, high)


def _position(value: Floats, low: Floats, high: Floats) -> Floats:
    """The inverse of `_interpolate`: how far through its bucket a value lies, 0 to 1."""
    linear = (low <= 0) & (high >= 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inside = np.where(
            linear,
            (value - low) / (high - low),
            np.log2(value / low) / np.log2(high / low),
        )
    return np.where(
        value <= low,
        np.where(high > value, 0.0, 1.0),
        np.where(value >= high, 1.0, np.clip(inside, 0.0, 1.0)),
    )


def _finite(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Bounds in which an overflow bucket is as narrow as its finite end."""
    return np.where(np.isinf(low), high, low), np.where(np.isinf(high), low, high)


def _sum(values: Iterable[float]) -> float:
    """Order-independent sum; infinities and NaN propagate as in plain addition."""
    terms = list(values)
    if all(math.isfinite(term) for term in terms):
        return math.fsum(terms)
    return sum(terms)


@cache
def _fractions(schema: int) -> Floats:
    """Bucket bounds in [0.5, 1) for a schema of 0 to 8: the table of the Prometheus server.

    The table is not the correctly rounded one; this generator reproduces it bit for bit.
    """
    table = [0.5]
    for resolution in range(1, schema + 1):
        factor = math.nextafter(math.sqrt(2), 0) if resolution == 1 else 2.0 ** (2.0**-resolution)
        table = [bound for x in table for bound in (x, x * factor)]
    fractions = np.array(table)
    fractions.setflags(write=False)
    return fractions


def bucket_keys(magnitude: Floats, schema: int) -> Indices:
    """Indices of the buckets that positive values fall into.

    Infinity has the index after that of the largest float.

    Args:
        magnitude: the values, greater than zero.
        schema: resolution, -4 to 8.
    """
    infinite = np.isinf(magnitude)
    finite = np.where(infinite, np.finfo(np.float64).max, magnitude)
    fraction, exponent = np.frexp(finite)
    exponent = exponent.astype(np.intp)
    if schema > 0:
        table = _fractions(schema)
        keys = np.searchsorted(table, fraction, side="left") + (exponent - 1) * table.size
    else:
        power = exponent - (fraction == 0.5)  # noqa: PLR2004 - an exact power of two
        keys = (power + (1 << -schema) - 1) >> -schema
    return np.asarray(keys + infinite, dtype=np.intp)


def bucket_bounds(keys: Indices, schema: int) -> Floats:
    """Upper bounds of the positive buckets with these indices; the inverse of `bucket_keys`."""
    if schema >= 0:
        table = _fractions(schema)
        fraction, exponent = table[keys & (table.size - 1)], (keys >> schema) + 1
    else:
        fraction, exponent = np.full(keys.shape, 0.5), (keys << -schema) + 1
    with np.errstate(over="ignore"):
        bounds = np.ldexp(fraction, exponent)
    largest = (fraction == 0.5) & (exponent == 1025)  # noqa: PLR2004 - 2^1024 is not a float
    return np.where(largest, np.finfo(np.float64).max, bounds)
