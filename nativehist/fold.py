"""Observing values: they are folded into the state batch by batch, and buckets are limited.

Finding the buckets of a sorted batch with numpy costs a fraction of finding them one at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.nativehist.bounds import (
    MIN_SCHEMA,
    bucket_keys,
    reduce_resolution,
    upper_bounds,
)
from latency_sweep.nativehist.moments import Moments
from latency_sweep.nativehist.snapshot import HistogramSnapshot
from latency_sweep.nativehist.sparse_buckets import SparseBuckets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.nativehist.bounds import Floats
    from latency_sweep.nativehist.settings import HistogramSettings


def fold(
    state: HistogramSnapshot, values: Floats, settings: HistogramSettings, now: float
) -> HistogramSnapshot:
    """The state after observing `values` in their order.

    The number of buckets is limited as in client_golang (`limitBuckets`), after each observation:
    reset if that is allowed by now, else widen the zero bucket, else double the bucket width. A
    histogram that gave up resolution is reset as soon as that is allowed; where the Go client sets
    a timer, this happens when the next values are folded.

    Args:
        state: started by `settings.empty`, and whatever `fold` made of it since.
        values: what was observed, shape (n,); infinities and NaN are values like others.
        settings: of the histogram.
        now: Unix time, seconds.
    """
    if settings.may_reset(state, now) and settings.is_coarser(state):
        state = settings.empty(now)
    if not values.size:
        return state
    with np.errstate(all="ignore"):  # of infinities and NaN
        folded = _fold_batch(state, values)
        # Without a step of the limiter buckets only become more: if the end is in bounds, all was.
        if not settings.max_buckets or folded.bucket_count <= settings.max_buckets:
            return folded
        return _fold_one_by_one(state, values, settings, now)


def _fold_batch(state: HistogramSnapshot, values: Floats) -> HistogramSnapshot:
    """Observe values with no limit on the buckets. Sorting first makes the rest cheap."""
    values = np.sort(values)  # NaN last
    negative_end, infinite = values.searchsorted((-state.zero_threshold, math.inf))
    finite, positive_start, numbers = values.searchsorted(
        (-math.inf, state.zero_threshold, math.inf), side="right"
    )
    negative = SparseBuckets.of_magnitudes(-values[:negative_end][::-1], state.schema)
    positive = SparseBuckets.of_magnitudes(values[positive_start:numbers], state.schema)
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
        moments=state.moments + Moments.of(values[finite:infinite]),
    )


def _added(one: tuple[int, ...], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _fold_one_by_one(
    state: HistogramSnapshot, values: Floats, settings: HistogramSettings, now: float
) -> HistogramSnapshot:
    """Observe values one after another, limiting the buckets after each."""
    base, start = state, 0  # what was before the values since the last reset, and their first
    keys = bucket_keys(np.abs(values), settings.schema).tolist()
    limited = _LimitedBuckets(base, settings)
    for at, (value, key) in enumerate(zip(values.tolist(), keys, strict=True)):
        if math.isnan(value):
            continue
        limited.observe(value, key)
        if limited.bucket_count <= settings.max_buckets:
            continue
        if settings.may_reset(base, now):
            base, start = settings.empty(now), at
            limited = _LimitedBuckets(base, settings)
            limited.observe(value, key)
        elif not limited.widen_zero_bucket():
            limited.double_bucket_width()
    totals = _fold_batch(base, values[start:])
    return HistogramSnapshot(
        schema=limited.schema,
        zero_threshold=limited.zero_threshold,
        created=totals.created,
        count=totals.count,
        sum=totals.sum,
        zero_count=limited.zero_count,
        positive=SparseBuckets.of(limited.positive),
        negative=SparseBuckets.of(limited.negative),
        classic_bounds=totals.classic_bounds,
        classic_counts=totals.classic_counts,
        moments=totals.moments,
    )


class _LimitedBuckets:
    """The buckets as client_golang keeps them, one observation at a time."""

    def __init__(self, state: HistogramSnapshot, settings: HistogramSettings) -> None:
        self._settings = settings
        self.schema = state.schema
        self.zero_threshold = state.zero_threshold
        self.zero_count = state.zero_count
        self.positive = state.positive.as_dict()
        self.negative = state.negative.as_dict()

    @property
    def bucket_count(self) -> int:
        return len(self.positive) + len(self.negative)

    def observe(self, value: float, key: int) -> None:
        """Count one value that is not NaN; `key` is of the schema of the settings."""
        if abs(value) <= self.zero_threshold:
            self.zero_count += 1
            return
        buckets = self.positive if value > 0 else self.negative
        key = reduce_resolution(key, self._settings.schema - self.schema)
        buckets[key] = buckets.get(key, 0) + 1

    def widen_zero_bucket(self) -> bool:
        """Move the buckets nearest to zero into the zero bucket, if it may become that wide."""
        nearest = min(key for buckets in (self.positive, self.negative) for key in buckets)
        threshold = float(upper_bounds(np.array([nearest]), self.schema)[0])
        if threshold > self._settings.max_zero_threshold:
            return False
        self.zero_threshold = threshold
        self.zero_count += self.positive.pop(nearest, 0) + self.negative.pop(nearest, 0)
        return True

    def double_bucket_width(self) -> None:
        """Join pairs of neighbouring buckets, unless this is the lowest resolution already."""
        if self.schema > MIN_SCHEMA:
            self.schema -= 1
            self.positive = SparseBuckets.of(self.positive).reduce_resolution(1).as_dict()
            self.negative = SparseBuckets.of(self.negative).reduce_resolution(1).as_dict()
