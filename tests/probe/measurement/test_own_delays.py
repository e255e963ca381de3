"""Delays that are the probe's own doing show in its metrics."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

import pytest

from latency_sweep.nativehist.instrument import NativeHistogramMetric
from latency_sweep.probe.measurement import own_delays

if TYPE_CHECKING:
    from latency_sweep.nativehist.snapshot import HistogramSnapshot

MS = 1_000_000


@pytest.fixture
def loop_delay() -> NativeHistogramMetric:
    return NativeHistogramMetric("loop_seconds", "x", registry=None)


@pytest.fixture
def gc_pause() -> NativeHistogramMetric:
    return NativeHistogramMetric("gc_seconds", "x", ["generation"], registry=None)


def snapshot(metric: NativeHistogramMetric, *labels: object) -> HistogramSnapshot:
    return metric.labels(*labels).snapshot()


async def observed(metric: NativeHistogramMetric, count: int, *labels: object) -> None:
    while snapshot(metric, *labels).count < count:
        await asyncio.sleep(0.001)


async def test_a_blocked_loop_is_seen_to_be_late(
    loop_delay: NativeHistogramMetric, gc_pause: NativeHistogramMetric
) -> None:
    with own_delays.watched(loop_delay, gc_pause, interval_ns=5 * MS):
        before = snapshot(loop_delay).count
        time.sleep(0.05)  # noqa: ASYNC251 - blocking is the fault
        await observed(loop_delay, before + 1)
    assert snapshot(loop_delay).maximum > 0.04


async def test_each_collection_is_a_pause_of_its_generation(
    loop_delay: NativeHistogramMetric, gc_pause: NativeHistogramMetric
) -> None:
    with own_delays.watched(loop_delay, gc_pause, interval_ns=MS):
        before = snapshot(gc_pause, 1).count
        gc.collect(1)
        await observed(gc_pause, before + 1, 1)
    assert snapshot(gc_pause, 1).minimum > 0


async def test_nothing_is_watched_afterwards(
    loop_delay: NativeHistogramMetric, gc_pause: NativeHistogramMetric
) -> None:
    callbacks = list(gc.callbacks)
    with own_delays.watched(loop_delay, gc_pause):
        assert len(gc.callbacks) == len(callbacks) + 1
    assert gc.callbacks == callbacks
