"""The number of series stays what it is, however often the connection is lost."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from websockets.asyncio.server import ServerConnection, serve
from websockets.protocol import State

from latency_sweep.contract import experiment
from latency_sweep.probe.connection.backoff import Backoff
from latency_sweep.probe.connection.session import Session
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.measurement.instruments import Instruments
from latency_sweep.probe.measurement.recorder import Recorder
from latency_sweep.probe.serving.state_collector import StateCollector
from tests.probe.timelines import ONE_RUN

if TYPE_CHECKING:
    from collections.abc import Callable

RECONNECTS = 100
TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"1","q":"1",'
    '"T":%d,"m":true,"M":true}}'
)


class Exchange:
    """Sends one trade on each connection and ends it in turns by close, reset and garbage."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._ids = itertools.count(1, 7)  # gaps: something is missing each time
        self.ended = 0
        self.stays: asyncio.Event = asyncio.Event()

    async def handle(self, connection: ServerConnection) -> None:
        before = self._read()
        now_us = time.time_ns() // 1000
        await connection.send(TRADE % (now_us, next(self._ids), now_us))
        # A client that has hung up meanwhile reads it no more.
        while self._read() == before and connection.state is State.OPEN:
            await asyncio.sleep(0)
        if self.ended == RECONNECTS:
            self.stays.set()
            await connection.wait_closed()
            return
        self.ended += 1
        match self.ended % 3:
            case 0:
                await connection.close(1001)
            case 1:
                connection.transport.abort()
            case _:
                connection.transport.write(b"\xff\xff\xff\xff")
                await connection.wait_closed()


def series(registry: CollectorRegistry) -> set[tuple[str, ...]]:
    """Name and labels of everything that is exposed."""
    return {
        (sample.name, *itertools.chain(*sorted(sample.labels.items())))
        for family in registry.collect()
        for sample in family.samples
    }


@pytest.mark.parametrize("lines", [1, 2])
async def test_a_hundred_reconnects_add_no_series(lines: int) -> None:
    registry = CollectorRegistry()
    instruments = Instruments(registry, experiment.load().histogram, "spot")
    known: list[set[tuple[str, ...]]] = []

    def received() -> float:
        return sum(line.first_arrivals + line.redundant for line in recorder.lines)

    exchange = Exchange(received)
    async with serve(exchange.handle, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        feed = BinanceSpot(f"ws://127.0.0.1:{port}", ["BTCUSDT"], ["trade", "depth@100ms"])
        recorder = Recorder("spot", feed.channels, instruments, lines=lines)
        session = Session(
            [feed],
            ONE_RUN,
            recorder,
            instruments,
            tls=ssl.create_default_context(),
            addresses=[None] * lines,
            backoff=lambda: Backoff(base_sec=1e-4, cap_sec=1e-3),
        )
        registry.register(StateCollector("spot", recorder, session))
        task = asyncio.create_task(session.run())
        try:
            while not received():
                await asyncio.sleep(0)
            known.append(series(registry))
            await exchange.stays.wait()
            known.append(series(registry))
        finally:
            session.stop()
            await task
    before, after = ({one for one in found if one[0] != "feed_connection_info"} for found in known)
    assert exchange.ended == RECONNECTS
    assert before == after
