"""Check of how late the event loop is told that something happened."""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import time
from typing import TYPE_CHECKING, Final

from probe.doctor.result import Result, Status, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME: Final = "event loop delay"
_WARN_P99_SEC: Final = 1e-3
_FAIL_P99_SEC: Final = 10e-3
_INTERVAL_NS: Final = 2_000_000
_TFD_NONBLOCK: Final = os.O_NONBLOCK
_TFD_CLOEXEC: Final = os.O_CLOEXEC
_TFD_TIMER_ABSTIME: Final = 1
_NS: Final = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


async def measure_lateness(duration_sec: float) -> list[int]:
    """How late the running loop handles a kernel timer that fires every 2 ms, nanoseconds.

    The timer is a file descriptor (timerfd_create(2)), so a wake-up takes the way of a message;
    the loop's own timers are cut to milliseconds.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    due_ns = time.monotonic_ns() + _INTERVAL_NS
    end_ns = due_ns + int(duration_sec * _NS)
    late: list[int] = []

    def tick() -> None:
        nonlocal due_ns
        expired = int.from_bytes(os.read(descriptor, 8), "little")
        now_ns = time.monotonic_ns()
        for _ in range(expired):
            late.append(now_ns - due_ns)
            due_ns += _INTERVAL_NS
        if due_ns > end_ns:
            done.set()

    try:
        spec = _TimerSpec(_Timespec(0, _INTERVAL_NS), _Timespec(*divmod(due_ns, _NS)))
        libc.timerfd_settime(descriptor, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None)
        loop.add_reader(descriptor, tick)
        try:
            await done.wait()
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)
    return late


def check_lateness(late_ns: Sequence[int]) -> Result:
    """Whether the loop is told soon enough, by the p99 of its lateness."""
    ordered = sorted(late_ns)
    p50, p99 = (ordered[math.ceil(share * len(ordered)) - 1] * 1e-9 for share in (0.5, 0.99))
    found = f"p50 {duration(p50)}, p99 {duration(p99)}, max {duration(ordered[-1] * 1e-9)}"
    expected = f"p99 ≤ {duration(_WARN_P99_SEC)}"
    if p99 <= _WARN_P99_SEC:
        return Result(_NAME, Status.PASS, found, expected)
    return Result(
        _NAME,
        Status.FAIL if p99 > _FAIL_P99_SEC else Status.WARN,
        found,
        expected,
        "Stop what else runs here, pin the probe to its own core, or use a larger instance; the "
        "kernel's stamps keep latencies right, but messages share stamps when they are read late.",
    )
