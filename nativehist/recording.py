"""A native histogram that costs little to observe and nothing to capture.

`NativeHistogram.observe` only appends to an array. The array is folded into the histogram's state
batch by batch with numpy, which costs a fraction of finding the bucket of one value at a time. The
state is immutable (`HistogramSnapshot`), so a scrape takes a reference and a copy of the few
pending values, and whatever is slow happens later, in any thread.
"""

from __future__ import annotations

import math
import time
from array import array
from dataclasses import dataclass, replace
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from latency_sweep.nativehist.buckets import (
    MAX_SCHEMA,
    MIN_SCHEMA,
    NO_BUCKETS,
    Buckets,
    key_of,
    upper_bound,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# A power of two is a bucket's bound in every schema; this one is client_golang's default.
DEFAULT_ZERO_THRESHOLD: Final = 2.0**-128
# Larger batches cost less per value and stall the caller for longer: about 0.1 ms at this size.
_BATCH: Final = 2048


def log_bounds(minimum: float, maximum: float, count: int) -> tuple[float, ...]:
    """`count` classic bucket bounds, evenly spaced on a log scale, both ends exact.

    The bounds between them are rounded to six significant digits, to be readable as `le` labels.

    Raises:
        ValueError: the ends are not positive, finite and ascending, or there are fewer than two
            bounds, or so many that rounding makes them equal.
    """
    if not 0 < minimum < maximum < math.inf or count < 2:  # noqa: PLR2004 - the two ends
        raise ValueError(
            f"bounds must be 0 < minimum < maximum and at least 2, "
            f"not {count} from {minimum:g} to {maximum:g}"
        )
    inner = np.geomspace(minimum, maximum, count)[1:-1].tolist()
    bounds = (minimum, *(float(f"{bound:.6g}") for bound in inner), maximum)
    if any(low >= high for low, high in pairwise(bounds)):
        raise ValueError(f"{count} bounds from {minimum:g} to {maximum:g} are too close together")
    return bounds


@dataclass(frozen=True, slots=True)
class Moments:
    """Extremes, mean and spread of the finite observations, exact rather than from buckets.

    Attributes:
        count: finite observations.
        mean: their mean, 0 if there are none.
        squares: sum of squared deviations from the mean.
        minimum: smallest, infinity if there are none.
        maximum: largest, minus infinity if there are none.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    @property
    def sd(self) -> float:
        """Sample standard deviation (over `count - 1`); 0 below two observations."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0

    def __add__(self, other: Moments) -> Moments:
        """Moments of both together.

        Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
        variances", 1979: the batched form of Welford's algorithm.
        """
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * (other.count / count),
            self.squares + other.squares + apart * apart * (self.count * other.count / count),
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )


@dataclass(frozen=True, slots=True)
class HistogramSnapshot:
    """A native histogram at one moment, immutable. `count` is buckets + zero bucket + NaNs.

    Attributes:
        schema: resolution, -4 to 8; a bucket is `2**(2**-schema)` wide.
        zero_threshold: values of at most this magnitude are in the zero bucket.
        created: Unix time of the start or of the last reset, seconds.
        count: observations, NaN included.
        sum: their sum.
        zero_count: observations in the zero bucket.
        positive: buckets above zero.
        negative: buckets below zero, by magnitude.
        classic_bounds: inclusive upper bounds of the classic buckets, without infinity.
        classic_counts: observations up to each of these bounds.
        moments: extremes, mean and spread of the finite observations.
    """

    schema: int = MAX_SCHEMA
    zero_threshold: float = DEFAULT_ZERO_THRESHOLD
    created: float = 0.0
    count: int = 0
    sum: float = 0.0
    zero_count: int = 0
    positive: Buckets = NO_BUCKETS
    negative: Buckets = NO_BUCKETS
    classic_bounds: tuple[float, ...] = ()
    classic_counts: tuple[int, ...] = ()
    moments: Moments = Moments()

    @property
    def bucket_count(self) -> int:
        """Populated buckets, the zero bucket not counted."""
        return len(self.positive) + len(self.negative)

    @property
    def minimum(self) -> float:
        """Smallest finite observation, NaN if there is none."""
        return self.moments.minimum if self.moments.count else math.nan

    @property
    def maximum(self) -> float:
        """Largest finite observation, NaN if there is none."""
        return self.moments.maximum if self.moments.count else math.nan

    @property
    def mean(self) -> float:
        """Mean of the finite observations, NaN if there is none."""
        return self.moments.mean if self.moments.count else math.nan

    @property
    def sd(self) -> float:
        """Sample standard deviation of the finite observations, 0 below two."""
        return self.moments.sd

    def quantile(self, q: float) -> float:
        """Estimate of the q-quantile exactly as PromQL's `histogram_quantile` gives it.

        Exponential interpolation inside a bucket, linear in the zero bucket (`promql/quantile.go`).
        NaN for an empty histogram and where NaN observations hold the rank, infinite for a `q`
        outside 0 to 1. (With infinities of both signs PromQL's own answer has no meaning.)
        """
        zero = [self.zero_count] if self.zero_count else []
        counts = np.concatenate((self.negative.counts[::-1], zero, self.positive.counts))
        if math.isnan(q) or not counts.size:
            return math.nan
        if not 0 <= q <= 1:
            return math.copysign(math.inf, q)
        # NaN observations are in the count and in no bucket; only from below are ranks then right.
        from_below = math.isnan(self.sum) or q < 0.5  # noqa: PLR2004 - the nearer end
        rank = (q if from_below else 1 - q) * self.count
        seen = np.cumsum(counts if from_below else counts[::-1])
        step = min(int(seen.searchsorted(rank)), counts.size - 1)
        at = step if from_below else counts.size - 1 - step
        beyond = float(seen[step]) - rank
        if beyond < 0:  # the rank is held by a NaN observation
            return math.nan
        lower, upper = self._range_at(at)
        share = beyond / float(counts[at])
        return _interpolated(lower, upper, 1 - share if from_below else share)

    def _range_at(self, at: int) -> tuple[float, float]:
        """Lower and upper bound of a bucket by its place among all populated, ascending."""
        below, above = len(self.negative), len(self.positive)
        if at < below:
            return self._range_of(int(self.negative.keys[below - 1 - at]), -1)
        if at >= below + (self.zero_count > 0):
            return self._range_of(int(self.positive.keys[at - below - (self.zero_count > 0)]), 1)
        # With observations on one side only, those called zero are taken to be on that side too.
        lower = 0.0 if above and not below else -self.zero_threshold
        upper = 0.0 if below and not above else self.zero_threshold
        return lower, upper

    def _range_of(self, key: int, sign: int) -> tuple[float, float]:
        """Lower and upper bound of a bucket; the zero bucket may cover its inner part."""
        outer = upper_bound(key, self.schema)
        inner = max(upper_bound(key - 1, self.schema), self.zero_threshold)
        return (inner, outer) if sign > 0 else (-outer, -inner)


def _interpolated(lower: float, upper: float, share: float) -> float:
    """The value that a share of a bucket's observations lie at or below."""
    if lower <= 0 <= upper:
        return lower + (upper - lower) * share
    if math.isinf(lower + upper):
        return lower + upper
    low, high = math.log2(abs(lower)), math.log2(abs(upper))
    return math.copysign(2.0 ** (low + (high - low) * share), lower)


def lower_schema(snapshot: HistogramSnapshot, steps: int = 1) -> HistogramSnapshot:
    """The same observations with buckets `2**steps` times wider on the log scale.

    Raises:
        ValueError: the schema would fall below -4.
    """
    if not 0 <= steps <= snapshot.schema - MIN_SCHEMA:
        raise ValueError(f"schema {snapshot.schema} cannot be lowered by {steps}: -4 is the lowest")
    return replace(
        snapshot,
        schema=snapshot.schema - steps,
        positive=snapshot.positive.lowered(steps),
        negative=snapshot.negative.lowered(steps),
    )


def merge(one: HistogramSnapshot, other: HistogramSnapshot) -> HistogramSnapshot:
    """Observations of both: commutative and associative (up to rounding of sum and moments).

    The lower schema wins. The wider zero bucket wins, widened to the end of the bucket it ends in
    whether or not that one is populated; the order of merging then cannot matter.

    Raises:
        ValueError: both have classic buckets, with different bounds.
    """
    if one.classic_bounds != other.classic_bounds:
        raise ValueError("histograms with different classic bounds cannot be merged")
    schema = min(one.schema, other.schema)
    threshold = max(one.zero_threshold, other.zero_threshold)
    if threshold > 0:
        last_zero_key = key_of(threshold, schema)
        threshold = upper_bound(last_zero_key, schema)
    parts = [lower_schema(part, part.schema - schema) for part in (one, other)]
    zero_count, positive, negative = 0, NO_BUCKETS, NO_BUCKETS
    for part in parts:
        zero_count += part.zero_count
        part_positive, part_negative = part.positive, part.negative
        if threshold > 0:
            covered_above, part_positive = part_positive.split(last_zero_key)
            covered_below, part_negative = part_negative.split(last_zero_key)
            zero_count += covered_above + covered_below
        positive += part_positive
        negative += part_negative
    return HistogramSnapshot(
        schema=schema,
        zero_threshold=threshold,
        created=min(one.created, other.created),
        count=one.count + other.count,
        sum=one.sum + other.sum,
        zero_count=zero_count,
        positive=positive,
        negative=negative,
        classic_bounds=one.classic_bounds,
        classic_counts=_added(one.classic_counts, other.classic_counts),
        moments=one.moments + other.moments,
    )


def _added(one: tuple[int, ...], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True, slots=True)
class HistogramSettings:
    """What a histogram starts from and how it keeps its number of buckets in bounds.

    Attributes:
        schema: initial resolution, -4 to 8.
        zero_threshold: initial half-width of the zero bucket.
        classic_bounds: bounds of the classic buckets, without infinity.
        max_buckets: populated buckets allowed, 0 for any number.
        max_zero_threshold: how far the zero bucket may be widened for that.
        min_reset_sec: how long after its start the histogram may be reset for that; 0 for never.
    """

    schema: int = MAX_SCHEMA
    zero_threshold: float = DEFAULT_ZERO_THRESHOLD
    classic_bounds: tuple[float, ...] = ()
    max_buckets: int = 0
    max_zero_threshold: float = 0.0
    min_reset_sec: float = 0.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value is out of range; the message names it.
        """
        if not MIN_SCHEMA <= self.schema <= MAX_SCHEMA:
            raise ValueError(f"schema must be -4 to 8, not {self.schema}")
        for name in ("zero_threshold", "max_buckets", "max_zero_threshold", "min_reset_sec"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be finite and not negative, not {value}")
        bounds = (-math.inf, *self.classic_bounds, math.inf)
        if not all(low < high for low, high in pairwise(bounds)):
            raise ValueError("classic_bounds must be finite and ascending")

    def empty(self, created: float) -> HistogramSnapshot:
        """A histogram without observations."""
        return HistogramSnapshot(
            schema=self.schema,
            zero_threshold=self.zero_threshold,
            created=created,
            classic_bounds=self.classic_bounds,
            classic_counts=(0,) * len(self.classic_bounds),
        )

    def may_reset(self, state: HistogramSnapshot, now: float) -> bool:
        """Whether enough time has passed since the last reset."""
        return 0 < self.min_reset_sec <= now - state.created

    def is_coarser(self, state: HistogramSnapshot) -> bool:
        """Whether resolution has been given up since the last reset."""
        return (state.schema, state.zero_threshold) != (self.schema, self.zero_threshold)


def fold(
    state: HistogramSnapshot, values: NDArray[np.float64], settings: HistogramSettings, now: float
) -> HistogramSnapshot:
    """The state after observing `values` in their order.

    The number of buckets is kept in bounds as client_golang does, after each observation: reset if
    that is allowed by now, else widen the zero bucket, else halve the resolution. A histogram that
    gave up resolution is reset as soon as that is allowed; where the Go client sets a timer, this
    happens when the next values are folded. (`limitBuckets` there.)
    """
    if settings.may_reset(state, now) and settings.is_coarser(state):
        state = settings.empty(now)
    if not values.size:
        return state
    with np.errstate(all="ignore"):  # infinities and NaN are values like others
        folded = _fold_batch(state, values)
        # Without a step of the limiter buckets only become more: if the end is in bounds, all was.
        if not settings.max_buckets or folded.bucket_count <= settings.max_buckets:
            return folded
        return _fold_one_by_one(state, values, settings, now)


def _fold_batch(state: HistogramSnapshot, values: NDArray[np.float64]) -> HistogramSnapshot:
    """Observe values with no limit on the buckets. Sorting first makes the rest cheap."""
    values = np.sort(values)  # NaN last
    negative_end, infinite = values.searchsorted((-state.zero_threshold, math.inf))
    finite, positive_start, numbers = values.searchsorted(
        (-math.inf, state.zero_threshold, math.inf), side="right"
    )
    negative = Buckets.of_magnitudes(-values[:negative_end][::-1], state.schema)
    positive = Buckets.of_magnitudes(values[positive_start:numbers], state.schema)
    classic = values.searchsorted(state.classic_bounds, side="right")
    return HistogramSnapshot(
        schema=state.schema,
        zero_threshold=state.zero_threshold,
        created=state.created,
        count=state.count + values.size,
        sum=state.sum + float(np.add.reduce(values)),
        zero_count=state.zero_count + int(positive_start - negative_end),
        positive=state.positive + positive,
        negative=state.negative + negative,
        classic_bounds=state.classic_bounds,
        classic_counts=_added(state.classic_counts, classic.tolist()),
        moments=state.moments + _moments_of(values[finite:infinite]),
    )


def _moments_of(values: NDArray[np.float64]) -> Moments:
    """Moments of ascending finite values."""
    if not values.size:
        return Moments()
    mean = np.add.reduce(values) / values.size
    apart = values - mean
    return Moments(
        values.size, float(mean), float(apart.dot(apart)), float(values[0]), float(values[-1])
    )


def _fold_one_by_one(
    state: HistogramSnapshot, values: NDArray[np.float64], settings: HistogramSettings, now: float
) -> HistogramSnapshot:
    """Observe values one after another, limiting the buckets after each."""
    base, start = state, 0  # what was before the values since the last reset, and their first
    sparse = _SparseCounts(state)
    for at, value in enumerate(values.tolist()):
        if math.isnan(value):
            continue
        sparse.observe(value)
        if sparse.bucket_count <= settings.max_buckets:
            continue
        if settings.may_reset(base, now):
            base, start = settings.empty(now), at
            sparse = _SparseCounts(base)
            sparse.observe(value)
        elif not sparse.widen_zero_bucket(settings.max_zero_threshold):
            sparse.halve_resolution()
    totals = _fold_batch(base, values[start:])
    return replace(
        totals,
        schema=sparse.schema,
        zero_threshold=sparse.zero_threshold,
        zero_count=sparse.zero_count,
        positive=Buckets.of(sparse.positive),
        negative=Buckets.of(sparse.negative),
    )


class _SparseCounts:
    """The sparse buckets as client_golang keeps them, one observation at a time."""

    def __init__(self, state: HistogramSnapshot) -> None:
        self.schema = state.schema
        self.zero_threshold = state.zero_threshold
        self.zero_count = state.zero_count
        self.positive = state.positive.as_dict()
        self.negative = state.negative.as_dict()

    @property
    def bucket_count(self) -> int:
        return len(self.positive) + len(self.negative)

    def observe(self, value: float) -> None:
        """Count one value that is not NaN."""
        if abs(value) <= self.zero_threshold:
            self.zero_count += 1
            return
        buckets = self.positive if value > 0 else self.negative
        key = key_of(value, self.schema)
        buckets[key] = buckets.get(key, 0) + 1

    def widen_zero_bucket(self, maximum: float) -> bool:
        """Move the buckets nearest to zero into the zero bucket if `maximum` allows it."""
        nearest = min(key for buckets in (self.positive, self.negative) for key in buckets)
        threshold = upper_bound(nearest, self.schema)
        if threshold > maximum:
            return False
        self.zero_threshold = threshold
        self.zero_count += self.positive.pop(nearest, 0) + self.negative.pop(nearest, 0)
        return True

    def halve_resolution(self) -> None:
        """Join pairs of neighbouring buckets, unless this is the lowest resolution already."""
        if self.schema > MIN_SCHEMA:
            self.schema -= 1
            self.positive = Buckets.of(self.positive).lowered(1).as_dict()
            self.negative = Buckets.of(self.negative).lowered(1).as_dict()


class Capture(NamedTuple):
    """A histogram as it was at one moment; cheap to take, resolved later in any thread.

    Attributes:
        state: the state, observations still pending left out.
        pending: these observations.
        settings: those of the histogram.
        now: Unix time of the capture, seconds.
    """

    state: HistogramSnapshot
    pending: array[float]
    settings: HistogramSettings
    now: float

    def resolve(self) -> HistogramSnapshot:
        """The snapshot: a pure function, and the slow part."""
        return fold(self.state, np.frombuffer(self.pending), self.settings, self.now)


class NativeHistogram:
    """A histogram with exponential buckets, and classic ones beside them if bounds are given.

    Any thread may observe while any other captures: nothing is lost or counted twice.

    Attributes:
        append: observes one value and does nothing else, for callers that observe much and call
            `settle` now and then. Raises TypeError if the value is no number.
        extend: the same for values in their order.
    """

    __slots__ = ("_clock", "_lock", "_pending", "_settings", "_state", "append", "extend")

    def __init__(
        self,
        settings: HistogramSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start without observations; `clock` gives Unix time in seconds."""
        self._settings = settings or HistogramSettings()
        self._clock = clock
        self._state = self._settings.empty(clock())
        self._pending = array("d")
        self.append: Final = self._pending.append
        self.extend: Final = self._pending.extend
        self._lock = Lock()

    def observe(self, value: float) -> None:
        """Count one value, of any sign, infinite or NaN (in count and sum only).

        Raises:
            TypeError: the value is no number.
        """
        self.append(value)
        self.settle()

    def settle(self) -> bool:
        """Fold what is pending if it has become much; returns whether it did, and took time."""
        # A fold under way elsewhere is not waited for: the next call will see to the rest.
        if len(self._pending) < _BATCH or not self._lock.acquire(blocking=False):
            return False
        try:
            self._fold_pending()
        finally:
            self._lock.release()
        return True

    def capture(self) -> Capture:
        """This moment's state, to be resolved later: about a microsecond whatever the size."""
        with self._lock:
            if self._settings.min_reset_sec:
                # A reset has to happen here and not in the capture alone.
                self._fold_pending()
            return Capture(self._state, self._pending[:], self._settings, self._clock())

    def snapshot(self) -> HistogramSnapshot:
        """Everything observed so far."""
        with self._lock:
            self._fold_pending()
            return self._state

    def _fold_pending(self) -> None:
        """Fold what is pending; the lock is held. Appending goes on: copy and delete are atomic."""
        batch = self._pending[:]
        self._state = fold(self._state, np.frombuffer(batch), self._settings, self._clock())
        del self._pending[: len(batch)]
