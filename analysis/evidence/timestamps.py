"""What late receive timestamps leave of a quantile: between which values the true one lies.

A message whose timestamp may be late by B has a true latency between its reading Y less B, and Y.
Only the two distributions are known, not which bound belongs to which reading, so a quantile of the
true latencies has to hold for every way to pair them up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Halvings of an interval: from a day down to less than a nanosecond.
_HALVINGS: Final = 50


@dataclass(frozen=True, slots=True)
class TimestampErrors:
    """How late the receive timestamps of a latency histogram's messages can be.

    Attributes:
        bounds: upper bound of the lateness of each inexact message, seconds.
        exact: number of messages whose timestamp is exact.
    """

    bounds: FloatHistogram
    exact: int

    @classmethod
    def merge(cls, parts: Iterable[TimestampErrors | None]) -> TimestampErrors | None:
        """Of all messages together; None if any part is not known, or there is none."""
        known: list[TimestampErrors] = []
        for part in parts:
            if part is None:
                return None
            known.append(part)
        if not known:
            return None
        bounds = FloatHistogram.merge(*(part.bounds for part in known))
        return cls(bounds, sum(part.exact for part in known))


@dataclass(frozen=True, slots=True)
class Readings:
    """Latencies as they were read, and how late their timestamps can be; None is "not known"."""

    latency: FloatHistogram
    errors: TimestampErrors | None


def least_quantile(parts: Sequence[Readings], q: float) -> float | None:
    """The smallest value, in seconds, that a quantile of the true latencies can have.

    For every d, a true latency is at most x only if its reading is at most x + d or its bound
    exceeds d. So the number of true latencies up to x is at most the number of readings up to
    x + d plus the number of bounds above d, and the quantile q of the true latencies is at least
    the quantile q - f of the readings less d, where f is the share of bounds above d. The best d
    is taken, and of several parts each has its own. No sharper bound follows from the two
    distributions (Makarov, Theory of Probability and its Applications 26, 1981; Williamson and
    Downs, International Journal of Approximate Reasoning 4, 1990).

    Readings count as the lower end of their bucket and bounds as the upper end of theirs; a message
    of which nothing is known counts as late without limit.

    Args:
        parts: what to pool, one instance or run each.
        q: the quantile, above 0 and up to 1.

    Returns:
        None if the bounds of a part are not known; minus infinity if so many are unlimited that
        the quantile is not bounded; NaN without a reading.
    """
    known = [_Pairing.of(part.latency, part.errors) for part in parts if part.errors is not None]
    if len(known) < len(parts) or not parts:
        return None
    return _least(known, q)


def lateness(parts: Sequence[Readings], q: float) -> float | None:
    """The largest part of a quantile of the readings, in seconds, that late timestamps can explain.

    What the width of a bucket leaves open is not part of it.

    Args:
        parts: as for `least_quantile`.
        q: the quantile.

    Returns:
        None if the bounds of a part are not known, infinity if they bound nothing; NaN without a
        reading.
    """
    least = least_quantile(parts, q)
    if least is None:
        return None
    read = _least([_Pairing.exact(part.latency) for part in parts], q)
    return math.nan if math.isnan(read) else max(0.0, read - least)


@dataclass(frozen=True, slots=True)
class _Pairing:
    """Readings in buckets, and for each allowance how many messages may be later than that.

    Attributes:
        lower: lower bounds of the buckets of readings, shape (buckets,).
        cumulative: readings up to each bucket, preceded by 0, shape (buckets + 1,).
        allowances: shape (n,), ascending from 0.
        later: messages that may be later than each, shape (n,).
    """

    lower: Floats
    cumulative: Floats
    allowances: Floats
    later: Floats

    @classmethod
    def exact(cls, latency: FloatHistogram) -> _Pairing:
        """Readings that are true."""
        return cls(latency.lower, _from_zero(latency.counts), np.zeros(1), np.zeros(1))

    @classmethod
    def of(cls, latency: FloatHistogram, errors: TimestampErrors) -> _Pairing:
        bounds = errors.bounds
        unknown = max(0.0, float(latency.counts.sum()) - errors.exact - bounds.count)
        # NaN bounds nothing; it is counted, but in no bucket.
        later = bounds.count - _from_zero(bounds.counts) + unknown
        allowances = np.concatenate([np.zeros(1), np.maximum(bounds.upper, 0.0)])
        finite = np.isfinite(allowances)
        return cls(latency.lower, _from_zero(latency.counts), allowances[finite], later[finite])

    @property
    def count(self) -> float:
        return float(self.cumulative[-1])

    def most_up_to(self, x: float) -> float:
        """How many true latencies can be x or less."""
        index = np.searchsorted(self.lower, x + self.allowances, side="right")
        return float(np.min(self.cumulative[index] + self.later))

    def least_of_rank(self, rank: float) -> float:
        """The smallest value that the true latency of a rank can have."""
        ranks = rank - self.later
        possible = ranks > 0
        if not possible.any():
            return -math.inf
        index = np.searchsorted(self.cumulative, ranks[possible], side="left") - 1
        return float(np.max(self.lower[index] - self.allowances[possible]))


def _least(parts: Sequence[_Pairing], q: float) -> float:
    total = sum(part.count for part in parts)
    if not total:
        return math.nan
    # Of whole counts, the rank that `FloatHistogram.quantile` looks for.
    rank = math.ceil(q * total - 1e-6)
    if len(parts) == 1:
        return parts[0].least_of_rank(rank)
    filled = [part for part in parts if part.count]
    low = min(float(part.lower[0] - part.allowances[-1]) for part in filled) - 1.0
    if sum(part.most_up_to(low) for part in filled) >= rank:
        return -math.inf
    high = max(float(part.lower[-1]) for part in filled)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if sum(part.most_up_to(middle) for part in filled) < rank:
            low = middle
        else:
            high = middle
    return low


def _from_zero(counts: Floats) -> Floats:
    return np.concatenate([np.zeros(1), np.cumsum(counts)])
