"""Many histograms on one set of buckets, for statistics over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from latency_sweep.nativehist.partition import Partition
from latency_sweep.nativehist.quantile import histogram_quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from latency_sweep.nativehist.bounds import Floats
    from latency_sweep.nativehist.float_histogram import FloatHistogram


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
    def of(cls, histograms: Sequence[FloatHistogram]) -> Self:
        """Align histograms on the finest partition that all of them respect."""
        partition = Partition.of([(h.lower, h.upper) for h in histograms])
        size = partition.lower.size
        rows = np.repeat(np.arange(len(histograms)), [h.counts.size for h in histograms])
        counts = np.concatenate([np.empty(0), *(h.counts for h in histograms)])
        flat = np.bincount(
            rows * size + partition.group, weights=counts, minlength=len(histograms) * size
        )
        return cls(
            partition.lower,
            partition.upper,
            flat.astype(np.float64, copy=False).reshape(len(histograms), size),
        )

    def row_quantiles(self, q: float) -> Floats:
        """The q-quantile of each histogram, shape (histograms,); NaN where one is empty."""
        return histogram_quantiles(self.counts, self.lower, self.upper, [q])[:, 0]

    def quantiles(self, weights: ArrayLike, qs: Sequence[float]) -> Floats:
        """Quantiles of weighted sums of the histograms, as a bootstrap needs them.

        Observations of NaN, which are in no bucket, take no part.

        Args:
            weights: how often each histogram is drawn, shape (resamples, histograms).
            qs: the quantiles, 0 to 1.

        Returns:
            Shape (resamples, len(qs)).
        """
        pooled = np.atleast_2d(np.asarray(weights, dtype=np.float64)) @ self.counts
        return histogram_quantiles(pooled, self.lower, self.upper, qs)
