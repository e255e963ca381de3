"""The local clock against UTC: the table of its sources.

Reading a source may block for as long as a daemon takes to answer: call it off the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.probe.clock import chrony, clockbound, kernel, shared
from latency_sweep.probe.clock.reading import ClockError, ClockReading, UnknownBoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["AUTO", "SOURCES", "ClockError", "ClockReading", "read_best"]

AUTO: Final = "auto"
# Best first. ClockBound knows of disruptions and of the hardware clock's error, chrony of the
# latter alone, the kernel only what the daemon tells it.
_PREFERENCE: Final[tuple[Callable[[], ClockReading], ...]] = (
    clockbound.read,
    chrony.read,
    kernel.read,
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
    clockbound.NAME: clockbound.read,
    chrony.NAME: chrony.read,
    kernel.NAME: kernel.read,
    shared.NAME: shared.read,
}
