"""What a native histogram starts from, and its limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from latency_sweep.nativehist.bounds import DEFAULT_ZERO_THRESHOLD, MAX_SCHEMA, MIN_SCHEMA
from latency_sweep.nativehist.snapshot import HistogramSnapshot


@dataclass(frozen=True, slots=True)
class HistogramSettings:
    """Resolution of a histogram and limits on its number of buckets (`HistogramOpts` in Go).

    Attributes:
        schema: initial resolution, -4 to 8.
        zero_threshold: initial half-width of the zero bucket.
        classic_bounds: bounds of the classic buckets, without infinity.
        max_buckets: populated buckets allowed, 0 for any number.
        max_zero_threshold: how far the zero bucket may be widened to stay below that.
        min_reset_sec: how long after its start the histogram may be reset to stay below that;
            0 for never.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    schema: int = MAX_SCHEMA
    zero_threshold: float = DEFAULT_ZERO_THRESHOLD
    classic_bounds: tuple[float, ...] = ()
    max_buckets: int = 0
    max_zero_threshold: float = 0.0
    min_reset_sec: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
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
        """A histogram without observations that starts at `created`, Unix seconds."""
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
