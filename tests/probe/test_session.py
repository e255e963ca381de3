"""A session keeps its feed connected, run after run, however connections end."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from probe import keeper
from probe.contract.metrics import Phase, ReconnectReason
from probe.contract.timeline import NS_PER_SEC, Timeline
from probe.feeds.binance_spot import BinanceSpot
from probe.net.backoff import Backoff
from probe.recorder import Recorder
from probe.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from prometheus_client import CollectorRegistry

    from probe.instruments import Instruments

HOUR = Timeline(NS_PER_SEC, 3600 * NS_PER_SEC, NS_PER_SEC)


class Exchange:
    """A server whose behaviour a test scripts connection by connection."""

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.arrived = asyncio.Condition()
        self.port = 0

    async def handle(self, connection: ServerConnection) -> None:
        async with self.arrived:
            self.connections.append(connection)
            self.arrived.notify_all()
        await connection.wait_closed()

    async def connection(self, number: int) -> ServerConnection:
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.connections) > number)
        return self.connections[number]


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    exchange = Exchange()
    async with serve(exchange.handle, "127.0.0.1", 0, compression=None) as server:
        exchange.port = next(iter(server.sockets)).getsockname()[1]
        yield exchange


@asynccontextmanager
async def running(
    exchange: Exchange, instruments: Instruments, timeline: Timeline = HOUR, *, lines: int = 1
) -> AsyncIterator[Session]:
    feed = BinanceSpot(f"ws://127.0.0.1:{exchange.port}", ["BTCUSDT"], ["trade", "bookTicker"])
    recorder = Recorder("spot", feed.channels, instruments, lines=lines)
    session = Session(
        [feed],
        timeline,
        recorder,
        instruments,
        tls=ssl.create_default_context(),
        addresses=[None] * lines,
        backoff=lambda: Backoff(base_sec=0.001, cap_sec=0.01),
    )
    task = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        session.stop()
        await task


def reconnects(registry: CollectorRegistry, reason: ReconnectReason) -> float | None:
    labels = {"market": "spot", "reason": reason.value}
    return registry.get_sample_value("feed_reconnects_total", labels)


async def end_by_close_frame(connection: ServerConnection) -> None:
    await connection.close(1001)


async def end_by_reset(connection: ServerConnection) -> None:
    connection.transport.abort()


async def end_by_garbage(connection: ServerConnection) -> None:
    connection.transport.write(b"\xff\xff\xff\xff")


async def end_by_announcement(connection: ServerConnection) -> None:
    data = {"e": "serverShutdown", "E": 1}
    await connection.send(json.dumps({"stream": "!serverShutdown", "data": data}))


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (end_by_close_frame, ReconnectReason.SERVER_CLOSE),
        (end_by_reset, ReconnectReason.CONNECTION_LOST),
        (end_by_garbage, ReconnectReason.PROTOCOL_ERROR),
        (end_by_announcement, ReconnectReason.SERVER_SHUTDOWN),
    ],
)
async def test_however_a_connection_ends_it_is_replaced(
    end: Callable[[ServerConnection], Any],
    reason: ReconnectReason,
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
) -> None:
    async with running(exchange, instruments):
        with suppress(ConnectionClosed):
            await end(await exchange.connection(0))
        await exchange.connection(1)
    assert reconnects(registry, reason) == 1


async def test_silence_without_a_close_is_noticed(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "SILENCE_TIMEOUT_SEC", 0.05)
    monkeypatch.setattr(keeper, "PING_INTERVAL_SEC", 3600.0)
    monkeypatch.setattr(keeper, "_TICK_SEC", 0.01)
    async with running(exchange, instruments):
        first = await exchange.connection(0)
        first.transport.pause_reading()
        await exchange.connection(1)
        first.transport.resume_reading()
    assert (reconnects(registry, ReconnectReason.SILENCE) or 0) >= 1


async def test_a_channel_that_never_speaks_is_reported(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unknown symbol is acknowledged and silent: nobody else would say so."""
    monkeypatch.setattr(keeper, "FIRST_MESSAGE_TIMEOUT_SEC", 0.0)
    monkeypatch.setattr(keeper, "_TICK_SEC", 0.01)
    labels = {"market": "spot", "kind": "no_first_message"}
    async with running(exchange, instruments):
        await exchange.connection(0)
        while not registry.get_sample_value("feed_errors_total", labels):
            await asyncio.sleep(0)
    assert registry.get_sample_value("feed_errors_total", labels) == 2


async def test_a_new_run_has_a_fresh_connection(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry
) -> None:
    seconds = Timeline(NS_PER_SEC // 10, NS_PER_SEC // 10, NS_PER_SEC // 10)
    async with running(exchange, instruments, seconds):
        first = await exchange.connection(0)
        await exchange.connection(1)
        await first.wait_closed()
    assert first.close_code == 1000
    assert (reconnects(registry, ReconnectReason.SCHEDULE) or 0) >= 1


@pytest.mark.parametrize(
    "reason", [ReconnectReason.SCHEDULE, ReconnectReason.ROLLOVER, ReconnectReason.SERVER_SHUTDOWN]
)
async def test_a_planned_replacement_is_open_before_the_old_connection_is_closed(
    reason: ReconnectReason, exchange: Exchange, instruments: Instruments
) -> None:
    async with running(exchange, instruments) as session:
        first = await exchange.connection(0)
        session._keepers[0].replace(reason)
        await exchange.connection(1)
        assert first.state is State.OPEN
        await first.wait_closed()
        assert session.life.disconnected_sec == 0


async def test_a_connection_is_replaced_before_the_exchanges_limit_of_age(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "ROLLOVER_SEC", 0.05)
    monkeypatch.setattr(keeper, "_TICK_SEC", 0.01)
    async with running(exchange, instruments):
        await exchange.connection(1)
        while not reconnects(registry, ReconnectReason.ROLLOVER):
            await asyncio.sleep(0)


async def test_parallel_connections_live_side_by_side(
    exchange: Exchange, instruments: Instruments
) -> None:
    async with running(exchange, instruments, lines=3) as session:
        await exchange.connection(2)
        while len(session.life.remote_addresses) < 3:
            await asyncio.sleep(0)
        await exchange.connections[0].close(1001)
        await exchange.connection(3)
        assert session.life.connected
        assert session.life.disconnected_sec == 0


async def test_a_refusing_endpoint_is_tried_again_until_it_answers(
    instruments: Instruments, registry: CollectorRegistry, unused_tcp_port: int
) -> None:
    exchange = Exchange()
    exchange.port = unused_tcp_port
    labels = {"market": "spot", "kind": "connect_failed"}
    async with running(exchange, instruments) as session:
        while (registry.get_sample_value("feed_errors_total", labels) or 0) < 3:
            await asyncio.sleep(0)
        async with serve(exchange.handle, "127.0.0.1", unused_tcp_port, compression=None):
            await exchange.connection(0)
            while not session.life.connected:
                await asyncio.sleep(0)
            session.stop()


async def test_time_without_a_connection_is_measured(
    exchange: Exchange, instruments: Instruments
) -> None:
    async with running(exchange, instruments) as session:
        connection = await exchange.connection(0)
        assert session.life.disconnected_sec == 0
        await connection.close(1001)
        await exchange.connection(1)
        assert session.life.disconnected_sec > 0


async def test_who_joins_after_the_measurement_began_waits_for_the_next_run(
    exchange: Exchange, instruments: Instruments
) -> None:
    joined_late = Timeline(1, 3600 * NS_PER_SEC, 1)
    async with running(exchange, instruments, joined_late) as session:
        await exchange.connection(0)
        now = time.time_ns()
        run, phase = session.phase_at(now)
        assert phase is Phase.WAIT
        assert run.measure_start_ns > now
        assert not session.ready


async def test_ready_once_warmed_up_and_connected(
    exchange: Exchange, instruments: Instruments, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_warmup = Timeline(3600 * 24 * 365 * 100 * NS_PER_SEC, NS_PER_SEC, NS_PER_SEC)
    async with running(exchange, instruments, long_warmup) as session:
        await exchange.connection(0)
        while not session.life.connected:
            await asyncio.sleep(0)
        assert not session.ready
        monkeypatch.setattr(session, "_warm_from_ns", time.time_ns())
        assert session.ready


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_time_without_connection_counts_no_more_once_it_was_told_to_stop(
    exchange: Exchange, instruments: Instruments
) -> None:
    async with running(exchange, instruments) as session:
        await exchange.connection(0)
        await until(lambda: session.life.connected)
        session.stop()
        assert session.stopping
        await until(lambda: not session.life.connected)
        assert session.life.disconnected_sec == 0


async def test_not_ready_once_it_was_told_to_stop(
    exchange: Exchange, instruments: Instruments
) -> None:
    async with running(exchange, instruments) as session:
        await exchange.connection(0)
        await until(lambda: session.life.connected)
        session._warm_from_ns = 0
        was_ready = session.ready
        session.stop()
        assert (was_ready, session.ready) == (True, False)
