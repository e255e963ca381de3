"""The event loop's delay, measured with a kernel timer."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TFD_NONBLOCK: Final = os.O_NONBLOCK
_TFD_CLOEXEC: Final = os.O_CLOEXEC
_TFD_TIMER_ABSTIME: Final = 1
_NS: Final = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


@contextmanager
def loop_timer(interval_ns: int, on_late: Callable[[int], None]) -> Iterator[None]:
    """Measure how late the running loop handles a kernel timer, until the context ends.

    The timer is a file descriptor (timerfd_create(2)), so its wake-up takes the same path as a
    message's; the loop's own timers are cut to milliseconds.

    Args:
        interval_ns: between two expirations.
        on_late: called for each of them, the missed ones too, with nanoseconds.

    Raises:
        OSError: the kernel gives no timer.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    loop = asyncio.get_running_loop()
    due_ns = time.monotonic_ns() + interval_ns

    def tick() -> None:
        nonlocal due_ns
        expired = int.from_bytes(os.read(descriptor, 8), "little")
        now_ns = time.monotonic_ns()
        for _ in range(expired):
            on_late(now_ns - due_ns)
            due_ns += interval_ns

    try:
        spec = _TimerSpec(_Timespec(*divmod(interval_ns, _NS)), _Timespec(*divmod(due_ns, _NS)))
        libc.timerfd_settime(descriptor, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None)
        loop.add_reader(descriptor, tick)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)
