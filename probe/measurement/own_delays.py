"""Delays of the probe's own runtime: event loop delay and garbage collection pauses."""

from __future__ import annotations

import gc
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.probe.measurement.loop_timer import loop_timer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latency_sweep.nativehist.instrument import NativeHistogramMetric

# Often enough for a p99 of five minutes, and no load: each sample costs some microseconds.
INTERVAL_NS: Final = 100_000_000


@contextmanager
def watched(
    loop_delay: NativeHistogramMetric,
    gc_pause: NativeHistogramMetric,
    *,
    interval_ns: int = INTERVAL_NS,
) -> Iterator[None]:
    """Observe both from inside the running loop until the context ends.

    Args:
        loop_delay: receives the loop's delay, ten times a second.
        gc_pause: receives the duration of each collection, by `generation`.
        interval_ns: between two samples of the loop's delay.

    Raises:
        OSError: the kernel gives no timer.
    """
    delay = loop_delay.labels()
    # A collection may begin anywhere, even within `observe`: its callback only takes notes.
    pauses: deque[tuple[int, int]] = deque()
    began_ns = 0

    def note(phase: str, info: dict[str, Any]) -> None:
        nonlocal began_ns
        if phase == "start":
            began_ns = time.perf_counter_ns()
        elif began_ns:
            pauses.append((info["generation"], time.perf_counter_ns() - began_ns))

    def observe(late_ns: int) -> None:
        delay.observe(late_ns / NS_PER_SEC)
        while pauses:
            generation, pause_ns = pauses.popleft()
            gc_pause.labels(generation).observe(pause_ns / NS_PER_SEC)

    gc.callbacks.append(note)
    try:
        with loop_timer(interval_ns, observe):
            yield
    finally:
        gc.callbacks.remove(note)
