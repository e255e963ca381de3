"""What every source of the local clock's error answers."""

from __future__ import annotations

from dataclasses import dataclass


class ClockError(Exception):
    """The source cannot be read; the message is one sentence that says which, why and what to do.

    UnknownBoundError: it can be read, but the error of its own reference is unknown.
    """


class UnknownBoundError(ClockError):
    """The clock follows a reference whose own error is not known: no bound would be true."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """State of the local clock.

    Attributes:
        offset_sec: local clock minus UTC, as far as the source knows.
        error_bound_sec: bound on the absolute error, |offset| included.
        synchronized: whether the source says that the clock follows UTC.
        source: who said so; value of the `source` label.
    """

    offset_sec: float
    error_bound_sec: float
    synchronized: bool
    source: str
