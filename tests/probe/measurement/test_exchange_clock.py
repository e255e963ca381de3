"""What is exposed of the exchange's clock is always what is known of it at that moment."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from latency_sweep.contract import experiment
from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.clock.exchange import SAMPLES, ExchangeClockEstimator
from latency_sweep.probe.measurement.exchange_clock import ExchangeClockMonitor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prometheus_client import CollectorRegistry

    from latency_sweep.probe.measurement.instruments import Instruments

BAN_SEC = 3600
BOUND = "feed_exchange_clock_error_bound_seconds"
OFFSET = "feed_exchange_clock_offset_seconds"


class Endpoint:
    """A time endpoint that bans from then on whom it has banned once, until it forgives."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self.banning = False

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.banning:
            return web.Response(status=418, headers={"Retry-After": str(BAN_SEC)})
        return web.json_response({"serverTime": time.time_ns() // 1000})


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    application = web.Application()
    application.router.add_get("/time", endpoint.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/time"
    yield endpoint
    await runner.cleanup()


class Observer:
    """A watch at work.

    Attributes:
        watch: it.
        now_sec: its monotonic clock.
        errors: what it reported.
        kinds: and as what.
    """

    def __init__(self, registry: CollectorRegistry, instruments: Instruments, url: str) -> None:
        data = experiment.load().market_data.model_copy(update={"time_endpoint": url})
        self.now_sec = 0.0
        self.errors: list[str] = []
        self.kinds: list[ErrorKind] = []
        self.watch = ExchangeClockMonitor(
            data,
            instruments,
            self._note,
            interval_sec=0.001,
            tls=ssl.create_default_context(),
            monotonic=lambda: self.now_sec,
        )
        self._registry = registry

    def _note(self, kind: ErrorKind, detail: str, _: BaseException | None) -> None:
        self.errors.append(detail)
        self.kinds.append(kind)

    def shown(self, name: str) -> float | None:
        return self._registry.get_sample_value(name, {"market": "spot"})

    async def until_known(self) -> float:
        while (bound := self.shown(BOUND)) is None:
            await asyncio.sleep(0)
        return bound

    async def until_banned(self, endpoint: Endpoint) -> None:
        endpoint.banning = True
        while not self.errors:
            await asyncio.sleep(0)


@asynccontextmanager
async def watching(
    registry: CollectorRegistry, instruments: Instruments, url: str
) -> AsyncIterator[Observer]:
    observer = Observer(registry, instruments, url)
    task = asyncio.create_task(observer.watch.run())
    try:
        yield observer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_is_known_is_shown_to_be_known_less_well_during_a_ban(
    endpoint: Endpoint, registry: CollectorRegistry, instruments: Instruments
) -> None:
    async with watching(registry, instruments, endpoint.url) as observer:
        await observer.until_known()
        await observer.until_banned(endpoint)
        asked = endpoint.asked
        for _ in range(3):
            bound = await observer.until_known()
            while (await observer.until_known()) <= bound:
                await asyncio.sleep(0)
        assert endpoint.asked == asked
        assert len(observer.errors) == 1


async def test_nothing_is_shown_of_a_clock_that_was_set_during_a_ban(
    endpoint: Endpoint, registry: CollectorRegistry, instruments: Instruments
) -> None:
    async with watching(registry, instruments, endpoint.url) as observer:
        await observer.until_known()
        await observer.until_banned(endpoint)
        observer.watch.clock_was_set()
        assert (observer.shown(OFFSET), observer.shown(BOUND)) == (None, None)


async def test_the_endpoint_is_asked_again_when_the_ban_is_over(
    endpoint: Endpoint, registry: CollectorRegistry, instruments: Instruments
) -> None:
    async with watching(registry, instruments, endpoint.url) as observer:
        await observer.until_known()
        await observer.until_banned(endpoint)
        observer.watch.clock_was_set()
        endpoint.banning = False
        observer.now_sec += BAN_SEC
        await observer.until_known()


async def test_a_clock_that_was_set_is_asked_for_at_once(
    endpoint: Endpoint, registry: CollectorRegistry, instruments: Instruments
) -> None:
    async with watching(registry, instruments, endpoint.url) as observer:
        observer.watch._interval_sec = 1e9
        await observer.until_known()
        assert endpoint.asked == SAMPLES
        observer.watch.clock_was_set()
        await observer.until_known()
        assert endpoint.asked == 2 * SAMPLES


@pytest.mark.parametrize("at", ["update", "known"])
async def test_what_is_raised_is_counted_and_the_endpoint_is_asked_again(
    at: str,
    endpoint: Endpoint,
    registry: CollectorRegistry,
    instruments: Instruments,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, faults = getattr(ExchangeClockEstimator, at), [ValueError("unexpected")]

    def failing_once(*arguments: Any, **options: Any) -> Any:
        if faults:
            raise faults.pop()
        return original(*arguments, **options)

    monkeypatch.setattr(ExchangeClockEstimator, at, failing_once)
    async with watching(registry, instruments, endpoint.url) as observer:
        await observer.until_known()
        assert observer.kinds == [ErrorKind.INTERNAL]


async def test_without_an_endpoint_there_is_nothing_to_watch(instruments: Instruments) -> None:
    data = experiment.load().market_data.model_copy(update={"time_endpoint": None})
    tls = ssl.create_default_context()
    watch = ExchangeClockMonitor(data, instruments, print, interval_sec=1.0, tls=tls)
    await watch.run()
