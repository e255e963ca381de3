"""Exact extremes, mean and spread, kept beside the buckets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from latency_sweep.nativehist.bounds import Floats


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

    @classmethod
    def of(cls, values: Floats) -> Moments:
        """Moments of ascending finite values."""
        if not values.size:
            return NO_MOMENTS
        mean = np.add.reduce(values) / values.size
        apart = values - mean
        return cls(
            values.size, float(mean), float(apart.dot(apart)), float(values[0]), float(values[-1])
        )

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


NO_MOMENTS: Final = Moments()
