"""The clock of a stack on one machine, where exchange and probe read the same one."""

from __future__ import annotations

from typing import Final

from latency_sweep.probe.clock.reading import ClockReading

NAME: Final = "shared"
ERROR_BOUND_SEC: Final = 1e-5  # reading one clock from two cores


def read() -> ClockReading:
    """No offset, and a bound for reading one clock from two cores."""
    return ClockReading(0.0, ERROR_BOUND_SEC, synchronized=True, source=NAME)
