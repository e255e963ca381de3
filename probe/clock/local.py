"""The local clock against UTC: the table of its sources.

Reading a source may block for as long as a daemon takes to answer: call it off the event loop.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from latency_sweep.probe.clock import chrony, clockbound, kernel, shared
from latency_sweep.probe.clock.reading import ClockError, ClockReading, UnknownBoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["AUTO", "SOURCES", "ClockError", "ClockReading", "read_best"]

AUTO: Final = "auto"


def read_clockbound() -> ClockReading:
    """ClockBound's bound, unless chronyd follows a reference clock whose error is unknown.

    ClockBound 2 calculates it from chronyd's report, and knows of a reference clock's own error
    only what it was started with.

    Raises:
        UnknownBoundError: no bound would be true.
        ClockError: it cannot be read.
    """
    reading = clockbound.read()
    _ask_chronyd()
    return reading


def read_kernel() -> ClockReading:
    """The kernel's bound, which is chronyd's without the error of a reference clock.

    Where chronyd answers, its own bound is the least.

    Raises:
        UnknownBoundError: chronyd follows a reference clock whose error is unknown.
        ClockError: it cannot be read.
    """
    reading = kernel.read()
    chronyds = _ask_chronyd()
    if chronyds is None or chronyds.error_bound_sec <= reading.error_bound_sec:
        return reading
    return replace(reading, error_bound_sec=chronyds.error_bound_sec)


def _ask_chronyd() -> ClockReading | None:
    """Its reading, or None where it does not answer."""
    try:
        return chrony.read()
    except UnknownBoundError:
        raise
    except ClockError:
        return None


# Best first. ClockBound knows of disruptions and of the hardware clock's error, chrony of the
# latter alone, the kernel only what the daemon tells it.
_PREFERENCE: Final[tuple[Callable[[], ClockReading], ...]] = (
    read_clockbound,
    chrony.read,
    read_kernel,
)


def read_best(candidates: Sequence[Callable[[], ClockReading]] = _PREFERENCE) -> ClockReading:
    """The first candidate that is synchronised, else the first that can be read.

    Raises:
        UnknownBoundError: what the clock follows does not say how wrong it is; those further down
            would understate the bound.
        ClockError: none can be read.
    """
    fallback: ClockReading | None = None
    refusals: list[str] = []
    for read in candidates:
        try:
            reading = read()
        except UnknownBoundError:
            raise
        except ClockError as error:
            refusals.append(str(error))
            continue
        if reading.synchronized:
            return reading
        fallback = fallback or reading
    if fallback is None:
        raise ClockError(" ".join(refusals))
    return fallback


SOURCES: Final[dict[str, Callable[[], ClockReading]]] = {
    AUTO: read_best,
    clockbound.NAME: read_clockbound,
    chrony.NAME: chrony.read,
    kernel.NAME: read_kernel,
    shared.NAME: shared.read,
}
