"""Seeing that the local clock was set while it was being used."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

THRESHOLD_SEC: Final = 50e-6
_ATTEMPTS: Final = 5


def read_pair(
    realtime_ns: Callable[[], int] = time.time_ns,
    boottime_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
) -> tuple[int, int]:
    """CLOCK_REALTIME minus CLOCK_BOOTTIME, and how surely.

    Returns:
        The difference, and the width of the window in which both were read; nanoseconds. Of a few
        attempts the narrowest counts, so that being preempted in between is no step.
    """
    best: tuple[int, int] | None = None
    for _ in range(_ATTEMPTS):
        before = boottime_ns()
        now = realtime_ns()
        after = boottime_ns()
        if best is None or after - before < best[1]:
            best = (now - (before + after) // 2, after - before)
    assert best is not None
    return best


class StepDetector:
    """Compares CLOCK_REALTIME with CLOCK_BOOTTIME from one call to the next.

    Both run at the same steered rate, so their difference changes when the clock is set (or a
    leap second is stepped) and at no other time. CLOCK_MONOTONIC_RAW would also change with every
    correction of the rate, and could not tell 500 ppm of steering for a second from a step of half
    a millisecond; a slewed clock shows in the offset instead.
    """

    def __init__(
        self,
        *,
        threshold_sec: float = THRESHOLD_SEC,
        read: Callable[[], tuple[int, int]] = read_pair,
    ) -> None:
        self._threshold_ns = threshold_sec * 1e9
        self._read = read
        self._last_ns, self._last_width_ns = read()

    def check(self) -> float | None:
        """How far the clock was set since the last call, or None if it was not.

        Returns:
            Seconds, positive when it was set forward.
        """
        difference_ns, width_ns = self._read()
        step_ns = difference_ns - self._last_ns
        doubt_ns = width_ns + self._last_width_ns
        self._last_ns, self._last_width_ns = difference_ns, width_ns
        return step_ns * 1e-9 if abs(step_ns) > self._threshold_ns + doubt_ns else None
