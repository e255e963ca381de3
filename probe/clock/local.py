"""The local clock against UTC, from a named source.

`kernel` asks adjtimex(2), which needs no privilege and knows the state whatever daemon steers the
clock. `shared` is for a stack on one machine, where exchange and probe read the same clock.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_TIME_ERROR: Final = 5  # the clock is not synchronised
_STA_UNSYNC: Final = 0x0040
_STA_NANO: Final = 0x2000
SHARED_ERROR_BOUND_SEC: Final = 1e-5  # reading one clock from two cores


class ClockError(Exception):
    """The source cannot be read."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """State of the local clock.

    Attributes:
        offset_sec: local clock minus UTC, as far as the source knows.
        error_bound_sec: bound on the absolute error, |offset| included.
        synchronized: whether the source says that the clock follows UTC.
    """

    offset_sec: float
    error_bound_sec: float
    synchronized: bool


class _Timeval(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", _Timeval),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("_reserved", ctypes.c_int * 11),
    )


def read_kernel() -> ClockReading:
    """Ask adjtimex(2).

    The bound is |offset| + maxerror: the kernel grows maxerror by its tolerance from the root
    distance that the time daemon last set (RFC 5905, section 11.2.4, and appendix A).

    Raises:
        ClockError: the system call failed.
    """
    state = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.adjtimex(ctypes.byref(state)))
    if result < 0:
        code = ctypes.get_errno()
        raise ClockError(f"adjtimex: {os.strerror(code)}")
    unit = 1e-9 if state.status & _STA_NANO else 1e-6
    # The kernel's offset is what remains to be added to the local clock.
    offset = -float(state.offset) * unit
    return ClockReading(
        offset_sec=offset,
        error_bound_sec=abs(offset) + float(state.maxerror) * 1e-6,
        synchronized=result != _TIME_ERROR and not state.status & _STA_UNSYNC,
    )


def read_shared() -> ClockReading:
    """The reading where exchange and probe share one clock."""
    return ClockReading(0.0, SHARED_ERROR_BOUND_SEC, synchronized=True)


SOURCES: Final[dict[str, Callable[[], ClockReading]]] = {
    "kernel": read_kernel,
    "shared": read_shared,
}
