"""The kernel's own account of the clock, which knows whatever daemon steers it."""

from __future__ import annotations

import ctypes
import os
from typing import Final

from latency_sweep.probe.clock.reading import ClockError, ClockReading

NAME: Final = "kernel"
_TIME_ERROR: Final = 5  # the clock is not synchronised
_STA_UNSYNC: Final = 0x0040
_STA_NANO: Final = 0x2000


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


def read() -> ClockReading:
    """Ask adjtimex(2), which needs no privilege to read.

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
        raise ClockError(f"adjtimex: {os.strerror(code)}; choose another clock source.")
    unit = 1e-9 if state.status & _STA_NANO else 1e-6
    # The kernel's offset is what remains to be added to the local clock.
    offset = 0.0 - float(state.offset) * unit
    return ClockReading(
        offset_sec=offset,
        error_bound_sec=abs(offset) + float(state.maxerror) * 1e-6,
        synchronized=result != _TIME_ERROR and not state.status & _STA_UNSYNC,
        source=NAME,
    )
