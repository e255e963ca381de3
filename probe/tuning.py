"""Options that lower the reader's delay, each at a cost; timestamps are right without them.

They lower the probe's own delay (`feed_receive_delay_seconds`), and with it how often messages
share a timestamp.
"""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU_DMA_LATENCY: Final = Path("/dev/cpu_dma_latency")
_MAX_NICENESS: Final = 19
_MIN_NICENESS: Final = -20


class TuningError(Exception):
    """An option cannot be applied; the message names it and what it needs."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """The options chosen; None or False changes nothing.

    Attributes:
        cpu: the core to run on, alone if others are kept off it.
        niceness: -20 to 19; lower runs sooner.
        realtime_priority: 1 to 99, SCHED_FIFO: runs before everything that is not real-time.
        low_latency_idle: keeps the cores out of deep sleep, through /dev/cpu_dma_latency; halves
            the wake-up delay at low rates and costs power.
    """

    cpu: int | None = None
    niceness: int | None = None
    realtime_priority: int | None = None
    low_latency_idle: bool = False


@contextmanager
def applied(tuning: Tuning, *, cpu_dma_latency: Path = CPU_DMA_LATENCY) -> Iterator[None]:
    """Apply the options to this process, and hold what has to be held.

    Args:
        tuning: what is asked for.
        cpu_dma_latency: the kernel's device; another one in tests.

    Raises:
        TuningError: an option cannot be had.
    """
    with ExitStack() as held:
        if tuning.cpu is not None:
            _pin(tuning.cpu)
        if tuning.niceness is not None:
            _renice(tuning.niceness)
        if tuning.realtime_priority is not None:
            _run_in_real_time(tuning.realtime_priority)
        if tuning.low_latency_idle:
            _stay_awake(held, cpu_dma_latency)
        yield


def background_executor(tuning: Tuning) -> ThreadPoolExecutor:
    """Threads for what must not delay the reader, such as encoding a scrape.

    A thread inherits its creator's real-time priority, and on one core the reader could not
    preempt its equal. Just below it the thread still comes before all that is not real-time: it
    holds the interpreter's lock at times, and the reader then waits for it.
    """
    priority = tuning.realtime_priority or _own_realtime_priority()
    if not priority:
        return ThreadPoolExecutor(thread_name_prefix="background")
    return ThreadPoolExecutor(
        thread_name_prefix="background", initializer=_run_below, initargs=(priority,)
    )


def _own_realtime_priority() -> int:
    """What this process was started with, as by its systemd unit; 0 if it is not real-time."""
    policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    real_time = policy in (os.SCHED_FIFO, os.SCHED_RR)
    return os.sched_getparam(0).sched_priority if real_time else 0


def _run_below(priority: int) -> None:
    """Set this thread's priority; 0 stands for the calling thread (sched(7))."""
    lowest = os.sched_get_priority_min(os.SCHED_FIFO)
    with suppress(PermissionError):  # a sandbox that forbids it: a thread like the reader, at worst
        if priority > lowest:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority - 1))
        else:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _pin(cpu: int) -> None:
    allowed = os.sched_getaffinity(0)
    if cpu not in allowed:
        names = ", ".join(map(str, sorted(allowed)))
        raise TuningError(f"--cpu {cpu}: this process may run on {names}.")
    os.sched_setaffinity(0, {cpu})


def _renice(niceness: int) -> None:
    if not _MIN_NICENESS <= niceness <= _MAX_NICENESS:
        raise TuningError(f"--niceness {niceness}: use {_MIN_NICENESS} to {_MAX_NICENESS}.")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    except PermissionError:
        raise TuningError(
            f"--niceness {niceness}: needs CAP_SYS_NICE or a higher RLIMIT_NICE."
        ) from None


def _run_in_real_time(priority: int) -> None:
    lowest = os.sched_get_priority_min(os.SCHED_FIFO)
    highest = os.sched_get_priority_max(os.SCHED_FIFO)
    if not lowest <= priority <= highest:
        raise TuningError(f"--realtime-priority {priority}: use {lowest} to {highest}.")
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        raise TuningError(
            f"--realtime-priority {priority}: needs CAP_SYS_NICE or a higher RLIMIT_RTPRIO."
        ) from None


def _stay_awake(held: ExitStack, device: Path) -> None:
    try:
        file = held.enter_context(device.open("wb", buffering=0))
        file.write(struct.pack("i", 0))  # microseconds of wake-up latency that are tolerated
    except OSError as error:
        raise TuningError(f"--low-latency-idle: {device}: {error.strerror}.") from error
