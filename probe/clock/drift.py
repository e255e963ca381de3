"""How fast two clocks drift apart, from answers that say only what one of them showed.

The middle of a request is off the server's reading by half the difference between its two paths'
delays. The difference between the quickest paths stays the same from one request to the next, so
it moves the offset and not the rate; a request that took longer than the quickest is off by at most
half of what it took longer (Veitch, Ridoux and Korada, "Robust synchronization of absolute and
difference clocks over networks", 2009). Every pair of requests then bounds the slope of a line
through all of them.

A route whose two paths change against each other while their sum stays the same would be taken for
drift until the window has passed over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from latency_sweep.contract.clocks import EXCHANGE_HOSTS_SEC
from latency_sweep.contract.timeline import NS_PER_SEC

WINDOW_NS: Final = 3600 * 1_000_000_000
MAX_POINTS: Final = 128
# One of the exchange's hosts answers; as much is cut from a time told in milliseconds.
HOST_TOLERANCE_NS: Final = round(EXCHANGE_HOSTS_SEC * NS_PER_SEC)
# Positions of all pairs; those of the first n points are the first n * (n - 1) / 2.
_LATER, _EARLIER = np.tril_indices(MAX_POINTS, -1)


@dataclass(frozen=True, slots=True)
class Drift:
    """Rate of one clock against another, minus one.

    Attributes:
        ratio: 5e-5 gains 50 µs in a second.
        error_bound: bound on its error; large while the points are close together.
    """

    ratio: float
    error_bound: float

    @property
    def proven(self) -> float:
        """The smallest rate, without its sign, that the answers allow."""
        return max(0.0, abs(self.ratio) - self.error_bound)


class _Point(NamedTuple):
    at_ns: int
    offset_ns: float
    round_trip_ns: int


class DriftEstimator:
    """Keeps the answers of the last hour."""

    def __init__(self) -> None:
        self._points: list[_Point] = []
        self._fitted = False
        self._drift: Drift | None = None

    def add(self, at_ns: int, offset_ns: float, round_trip_ns: int) -> None:
        """Take an answer.

        Args:
            at_ns: when it came, by the local clock.
            offset_ns: other clock minus local clock, at the middle of the request.
            round_trip_ns: how long it took.
        """
        kept = [p for p in self._points if at_ns - WINDOW_NS <= p.at_ns < at_ns]
        self._points = [*kept, _Point(at_ns, offset_ns, round_trip_ns)][-MAX_POINTS:]
        self._fitted = False

    def forget(self) -> None:
        """Start afresh, because a clock was set."""
        self._points.clear()
        self._fitted = False

    def estimate(self) -> Drift | None:
        """The drift, or None where there are fewer than two answers, or no line fits them.

        In the latter case a clock was set, and all but the last answer are forgotten. The
        result is kept until there is another answer; a fit takes some tenths of a millisecond.
        """
        if not self._fitted:
            self._drift = self._fit()
            self._fitted = True
        return self._drift

    def _fit(self) -> Drift | None:
        count = len(self._points)
        if count < 2:  # noqa: PLR2004 - a slope needs two
            return None
        at_ns = np.array([point.at_ns for point in self._points])
        offset_ns = np.array([point.offset_ns for point in self._points])
        round_trip_ns = np.array([point.round_trip_ns for point in self._points])
        pairs = count * (count - 1) // 2
        later, earlier = _LATER[:pairs], _EARLIER[:pairs]
        slower_ns = round_trip_ns[earlier] + round_trip_ns[later] - 2 * round_trip_ns.min()
        doubt = 2 * HOST_TOLERANCE_NS + slower_ns / 2
        moved, took = offset_ns[later] - offset_ns[earlier], at_ns[later] - at_ns[earlier]
        low = float(((moved - doubt) / took).max())
        high = float(((moved + doubt) / took).min())
        if low > high:
            del self._points[:-1]
            return None
        return Drift((low + high) / 2, (high - low) / 2)
