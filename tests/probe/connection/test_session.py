"""A session keeps its feed connected, run after run, however connections end."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from latency_sweep.contract.metrics import Phase, ReconnectReason
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.probe.connection import supervisor
from tests.probe.scripted_exchange import (
    Exchange,
    end_by_announcement,
    end_by_reset,
    reconnects,
    running,
    serving,
    until,
)
from tests.probe.timelines import ONE_RUN

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from prometheus_client import CollectorRegistry
    from websockets.asyncio.server import ServerConnection

    from latency_sweep.probe.measurement.instruments import Instruments


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with serving(Exchange()) as exchange:
        yield exchange


async def end_by_close_frame(connection: ServerConnection) -> None:
    await connection.close(1001)


async def end_by_garbage(connection: ServerConnection) -> None:
    connection.transport.write(b"\xff\xff\xff\xff")


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
    async with running(exchange, instruments) as session:
        await until(lambda: session.connectivity.connected)
        with suppress(ConnectionClosed):
            await end(exchange.connections[0])
        await until(lambda: bool(reconnects(registry, reason)))
    assert reconnects(registry, reason) == 1


async def test_a_channel_that_never_speaks_is_reported(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unknown symbol is acknowledged and silent: nobody else would say so."""
    monkeypatch.setattr(supervisor, "FIRST_MESSAGE_TIMEOUT_SEC", 0.0)
    monkeypatch.setattr(supervisor, "_TICK_SEC", 0.01)
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
        await until(lambda: bool(reconnects(registry, ReconnectReason.SCHEDULE)))
    assert first.close_code == 1000


@pytest.mark.parametrize(
    "reason", [ReconnectReason.SCHEDULE, ReconnectReason.ROLLOVER, ReconnectReason.SERVER_SHUTDOWN]
)
async def test_a_planned_replacement_is_open_before_the_old_connection_is_closed(
    reason: ReconnectReason,
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
) -> None:
    async with running(exchange, instruments) as session:
        first = await exchange.connection(0)
        await until(lambda: session.connectivity.connected)
        session._supervisors[0].replace(reason)
        await exchange.connection(1)
        assert first.state is State.OPEN
        await first.wait_closed()
        assert session.connectivity.disconnected_sec == 0
    assert reconnects(registry, reason) == 1


async def test_a_connection_is_replaced_before_the_exchanges_limit_of_age(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "ROLLOVER_SEC", 0.05)
    monkeypatch.setattr(supervisor, "_TICK_SEC", 0.01)
    async with running(exchange, instruments):
        await exchange.connection(1)
        while not reconnects(registry, ReconnectReason.ROLLOVER):
            await asyncio.sleep(0)


async def test_parallel_connections_live_side_by_side(
    exchange: Exchange, instruments: Instruments
) -> None:
    async with running(exchange, instruments, lines=3) as session:
        await exchange.connection(2)
        while len(session.connectivity.remote_addresses) < 3:
            await asyncio.sleep(0)
        await exchange.connections[0].close(1001)
        await exchange.connection(3)
        assert session.connectivity.connected
        assert session.connectivity.disconnected_sec == 0


async def test_a_refusing_endpoint_is_tried_again_until_it_answers(
    instruments: Instruments, registry: CollectorRegistry, refusing: socket.socket
) -> None:
    exchange = Exchange()
    exchange.port = refusing.getsockname()[1]
    labels = {"market": "spot", "kind": "connect_failed"}
    async with running(exchange, instruments) as session:
        while (registry.get_sample_value("feed_errors_total", labels) or 0) < 3:
            await asyncio.sleep(0)
        async with serving(exchange, refusing):
            await exchange.connection(0)
            while not session.connectivity.connected:
                await asyncio.sleep(0)
            session.stop()


async def test_time_without_a_connection_is_measured(
    exchange: Exchange, instruments: Instruments
) -> None:
    async with running(exchange, instruments) as session:
        connection = await exchange.connection(0)
        assert session.connectivity.disconnected_sec == 0
        await connection.close(1001)
        await exchange.connection(1)
        assert session.connectivity.disconnected_sec > 0


async def test_who_joins_after_the_measurement_began_waits_for_the_next_run(
    exchange: Exchange, instruments: Instruments
) -> None:
    async with running(exchange, instruments, ONE_RUN) as session:
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
        while not session.connectivity.connected:
            await asyncio.sleep(0)
        assert not session.ready
        monkeypatch.setattr(session, "_warm_from_ns", time.time_ns())
        assert session.ready


async def test_time_without_connection_counts_no_more_once_it_was_told_to_stop(
    exchange: Exchange, instruments: Instruments
) -> None:
    async with running(exchange, instruments) as session:
        await exchange.connection(0)
        await until(lambda: session.connectivity.connected)
        session.stop()
        assert session.stopping
        await until(lambda: not session.connectivity.connected)
        assert session.connectivity.disconnected_sec == 0


async def test_not_ready_once_it_was_told_to_stop(
    exchange: Exchange, instruments: Instruments
) -> None:
    async with running(exchange, instruments) as session:
        await exchange.connection(0)
        await until(lambda: session.connectivity.connected)
        session._warm_from_ns = 0
        was_ready = session.ready
        session.stop()
        assert (was_ready, session.ready) == (True, False)
