"""Quantiles and fractions of bucketed observations, by Prometheus' rule (`promql/quantile.go`).

Ranks are located in their bucket and interpolated there: exponentially, but linearly in a bucket
that contains zero. A zero bucket beside buckets of one sign only holds values of that sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from latency_sweep.nativehist.bounds import Floats

    Flags = np.bool_ | NDArray[np.bool_]

# From the median up Prometheus counts ranks from the highest bucket downwards.
_FROM_ABOVE: Final = 0.5


def histogram_quantiles(
    counts: Floats,
    lower: Floats,
    upper: Floats,
    qs: Sequence[float],
    *,
    nan_count: float | None = None,
) -> Floats:
    """Quantiles of each row of counts, as PromQL's `histogram_quantile` gives them.

    Args:
        counts: observations, shape (rows, buckets), not negative.
        lower: lower bounds of sorted, disjoint buckets, shape (buckets,).
        upper: their upper bounds.
        qs: the quantiles, 0 to 1.
        nan_count: observations of NaN of each row, which are in no bucket; None if the sum of the
            observations is a number, as Prometheus counts ranks from below wherever it is not.

    Returns:
        Shape (rows, len(qs)); NaN for rows without observations and where NaN holds the rank.

    Raises:
        ValueError: one of the qs is not between 0 and 1.
    """
    for q in qs:
        if not 0 <= q <= 1:
            raise ValueError(f"A quantile lies between 0 and 1, not at {q}.")
    result = np.full((counts.shape[0], len(qs)), np.nan)
    cumulative = np.cumsum(counts, axis=1)
    filled = np.flatnonzero(cumulative[:, -1] > 0) if lower.size else np.empty(0, dtype=np.intp)
    if not filled.size:
        return result
    if filled.size < counts.shape[0]:
        counts, cumulative = counts[filled], cumulative[filled]
    total = cumulative[:, -1]
    occupied = counts > 0
    from_below = [nan_count is not None or q < _FROM_ABOVE for q in qs]
    # Observations from a bucket upwards, the bucket included.
    above = cumulative if all(from_below) else total[:, np.newaxis] - cumulative + counts
    rows = np.arange(filled.size)
    index = np.empty((filled.size, len(qs)), dtype=np.intp)
    fraction = np.empty(index.shape)
    for at, q in enumerate(qs):
        if from_below[at]:
            rank = q * (total + (nan_count or 0))
            found = np.argmax(occupied & (cumulative >= rank[:, np.newaxis]), axis=1)
            size = counts[rows, found]
            inside = (rank - (cumulative[rows, found] - size)) / size
            if nan_count:
                inside[rank > total] = np.nan
        else:
            rank = (1 - q) * total
            hit = occupied & (above >= rank[:, np.newaxis])
            found = hit.shape[1] - 1 - np.argmax(hit[:, ::-1], axis=1)
            inside = (above[rows, found] - rank) / counts[rows, found]
        index[:, at], fraction[:, at] = found, inside
    low, high = lower[index], upper[index]
    if ((low < 0) & (high > 0)).any():
        has_negative = (occupied & (upper <= 0)).any(axis=1, keepdims=True)
        has_positive = (occupied & (lower >= 0)).any(axis=1, keepdims=True)
        low, high = _of_one_sign(low, high, has_negative, has_positive)
    result[filled] = interpolate(np.clip(fraction, 0.0, 1.0), low, high)
    return result


def fraction_above(counts: Floats, lower: Floats, upper: Floats, value: float) -> float:
    """Share of the observations above a value, as PromQL's `histogram_fraction` gives it.

    Args:
        counts: observations, shape (buckets,), not negative.
        lower: lower bounds of sorted, disjoint buckets, shape (buckets,).
        upper: their upper bounds.
        value: may be infinite.

    Returns:
        0 to 1; NaN without observations.
    """
    observed = float(counts.sum())
    if not observed:
        return float("nan")
    has_negative, has_positive = (upper <= 0).any(), (lower >= 0).any()
    low, high = _of_one_sign(lower, upper, has_negative, has_positive)
    below = _position(np.full(low.size, value), low, high)
    return float(((1 - below) @ counts) / observed)


def interpolate(fraction: Floats, low: Floats, high: Floats) -> Floats:
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


def _of_one_sign(
    low: Floats, high: Floats, has_negative: Flags, has_positive: Flags
) -> tuple[Floats, Floats]:
    """Bounds where a zero bucket beside buckets of one sign only holds values of that sign."""
    straddling = (low < 0) & (high > 0)
    return (
        np.where(straddling & ~has_negative & has_positive, 0.0, low),
        np.where(straddling & has_negative & ~has_positive, 0.0, high),
    )


def _position(value: Floats, low: Floats, high: Floats) -> Floats:
    """The inverse of `interpolate`: how far through its bucket a value lies, 0 to 1."""
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
