"""What a native histogram holds at one moment, with integer counts, as it is exposed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from latency_sweep.nativehist.bounds import DEFAULT_ZERO_THRESHOLD, MAX_SCHEMA
from latency_sweep.nativehist.float_histogram import FloatHistogram
from latency_sweep.nativehist.moments import NO_MOMENTS, Moments
from latency_sweep.nativehist.sparse_buckets import NO_BUCKETS, SparseBuckets


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
    positive: SparseBuckets = NO_BUCKETS
    negative: SparseBuckets = NO_BUCKETS
    classic_bounds: tuple[float, ...] = ()
    classic_counts: tuple[int, ...] = ()
    moments: Moments = NO_MOMENTS

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

    def to_float(self) -> FloatHistogram:
        """The histogram to calculate with, as a query of the server would return it."""
        return FloatHistogram.of_buckets(
            schema=self.schema,
            zero_threshold=self.zero_threshold,
            count=self.count,
            total=self.sum,
            zero_count=self.zero_count,
            positive=self.positive,
            negative=self.negative,
        )
