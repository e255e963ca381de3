"""Whatever reading the local clock raises is counted, and the clock is read again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.clock import local
from latency_sweep.probe.clock.reading import ClockReading
from latency_sweep.probe.clock.steps import StepDetector
from latency_sweep.probe.measurement import local_clock
from latency_sweep.probe.measurement.local_clock import LocalClockMonitor
from tests.probe.scripted_exchange import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from latency_sweep.probe.measurement.instruments import Instruments


def reading() -> ClockReading:
    return ClockReading(offset_sec=0.0, error_bound_sec=1e-6, synchronized=True, source="shared")


def failing_once(function: Callable[..., object]) -> Callable[..., object]:
    faults = [ValueError("no exception that anybody expects")]

    def call(*arguments: object) -> object:
        if faults:
            raise faults.pop()
        return function(*arguments)

    return call


@pytest.mark.parametrize("at", ["read", "check", "show", "tell"])
async def test_what_is_raised_is_counted_and_the_clock_is_read_again(
    at: str,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors: list[ErrorKind] = []
    told = asyncio.Event()
    on_step: Callable[..., object] = told.set
    monkeypatch.setattr(local_clock, "INTERVAL_SEC", 0.001)
    monkeypatch.setattr(StepDetector, "check", lambda _: 1.0)
    monkeypatch.setitem(local.SOURCES, "shared", reading)
    if at == "read":
        monkeypatch.setitem(local.SOURCES, "shared", failing_once(reading))
    elif at == "check":
        monkeypatch.setattr(StepDetector, "check", failing_once(lambda _: 1.0))
    elif at == "show":
        monkeypatch.setattr(LocalClockMonitor, "_show", failing_once(LocalClockMonitor._show))
    else:
        on_step = failing_once(told.set)

    def step() -> None:
        on_step()

    monitor = LocalClockMonitor("shared", instruments, step, lambda kind, *_: errors.append(kind))
    labels = {"source": "shared"}
    task = asyncio.create_task(monitor.run())
    await told.wait()
    await until(lambda: registry.get_sample_value("feed_clock_synchronized", labels) == 1)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert errors == [ErrorKind.INTERNAL]
