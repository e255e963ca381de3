"""The finest partition that several histograms respect: the core of merging and subtracting.

Buckets of a coarser schema are unions of buckets of a finer one, so buckets that overlap become one
and counts stay exact. Because it is about bounds alone, buckets of any origin can be combined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from latency_sweep.nativehist.bounds import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """The finest partition that the buckets of a number of histograms respect.

    Attributes:
        lower: lower bounds of the partition's buckets.
        upper: their upper bounds.
        group: for each bucket of the concatenated histograms, its index in the partition.
    """

    lower: Floats
    upper: Floats
    group: NDArray[np.intp]

    def totals(self, counts: Floats) -> Floats:
        """Sums of the concatenated histograms' counts by bucket of the partition."""
        sums = np.bincount(self.group, weights=counts, minlength=self.lower.size)
        return sums.astype(np.float64, copy=False)

    @classmethod
    def of(cls, buckets: Sequence[tuple[Floats, Floats]]) -> Self:
        """The partition of some histograms, from the lower and upper bounds of their buckets."""
        lower = np.concatenate([np.empty(0), *(lower for lower, _ in buckets)])
        upper = np.concatenate([np.empty(0), *(upper for _, upper in buckets)])
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
