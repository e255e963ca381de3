"""While a connection is being replaced, and when opening one fails again and again."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.protocol import State

from latency_sweep.contract.metrics import ConnectStep, ReconnectReason
from latency_sweep.probe.connection import supervisor
from latency_sweep.probe.connection.backoff import Backoff
from latency_sweep.probe.connection.supervisor import ConnectionSupervisor
from latency_sweep.probe.net import websocket
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
    from collections.abc import AsyncIterator, Awaitable, Callable

    from prometheus_client import CollectorRegistry
    from websockets.asyncio.server import ServerConnection

    from latency_sweep.probe.connection.session import Session
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.net.websocket import WebSocketConnection

AN_HOUR = "3600"


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with serving(Exchange()) as exchange:
        yield exchange


class Pauses:
    """Pauses between attempts: those of more than a minute last until the test ends them."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.over = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        self.asked.append(seconds)
        if seconds > 60:
            await self.over.wait()


@pytest.fixture
async def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    pauses = Pauses()
    monkeypatch.setattr(ConnectionSupervisor, "_pause", lambda _, seconds: pauses.wait(seconds))
    return pauses


class Ceilings(random.Random):
    """Notes the longest that each pause could have been, and makes it none."""

    def __init__(self) -> None:
        super().__init__(0)
        self.asked: list[float] = []

    def uniform(self, _: float, b: float) -> float:
        self.asked.append(b)
        return 0.0

    def backoff(self) -> Backoff:
        return Backoff(base_sec=1.0, cap_sec=1024.0, rng=self)


class Clock:
    """In place of `supervisor`'s time: a test lets it jump, as while the program stands still."""

    def __init__(self) -> None:
        self.ahead_sec = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_sec


def call_when_opened(
    on_opened: Callable[[int, WebSocketConnection], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Call with each connection, numbered from one, before the supervisor has it."""
    numbers = itertools.count(1)

    async def connect(*args: Any, **options: Any) -> WebSocketConnection:
        connection = await websocket.connect(*args, **options)
        on_opened(next(numbers), connection)
        return connection

    monkeypatch.setattr(supervisor, "connect", connect)


async def heard_all(connection: ServerConnection) -> None:
    """What was sent before has been taken in once a ping is answered."""
    await (await connection.ping())


async def replace_in_vain(exchange: Exchange, session: Session, pauses: Pauses) -> ServerConnection:
    """Connect, and let a scheduled replacement be refused for an hour; the first connection."""
    first = await exchange.connection(0)
    await until(lambda: session.connectivity.connected)
    exchange.refusing, exchange.retry_after = True, AN_HOUR
    session._supervisors[0].replace(ReconnectReason.SCHEDULE)
    await until(lambda: 3600.0 in pauses.asked)
    return first


async def test_a_connection_cut_while_its_replacement_is_refused_is_lost_at_once(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry, pauses: Pauses
) -> None:
    async with running(exchange, instruments) as session:
        first = await replace_in_vain(exchange, session, pauses)
        assert session.connectivity.connected
        await end_by_reset(first)
        await until(lambda: not session.connectivity.connected)
        assert session.connectivity.disconnected_sec > 0
        exchange.refusing = False
        pauses.over.set()
        await until(lambda: session.connectivity.connected)
    assert reconnects(registry, ReconnectReason.CONNECTION_LOST) == 1
    assert reconnects(registry, ReconnectReason.SCHEDULE) == 0


async def test_a_connection_that_falls_silent_while_its_replacement_is_refused_is_lost(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    pauses: Pauses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_TICK_SEC", 0.01)
    async with running(exchange, instruments) as session:
        first = await replace_in_vain(exchange, session, pauses)
        first.transport.pause_reading()
        with monkeypatch.context() as patch:
            patch.setattr(supervisor, "PING_INTERVAL_SEC", 0.02)
            opened = session._supervisors[0]._current
            assert opened is not None
            opened.next_ping = 0.0
            await until(lambda: not session.connectivity.connected)
        first.transport.resume_reading()
        exchange.refusing = False
        pauses.over.set()
        await until(lambda: session.connectivity.connected)
    assert reconnects(registry, ReconnectReason.STALLED) == 1
    assert reconnects(registry, ReconnectReason.SCHEDULE) == 0


async def test_a_connection_is_kept_when_the_program_itself_stood_still(
    exchange: Exchange, instruments: Instruments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came meanwhile waits in its socket; dropping it would lose all of that."""
    clock, looked_after = Clock(), asyncio.Event()

    def ping(connection: websocket.WebSocketConnection) -> None:
        connection.last_read = clock.monotonic()  # what waited has been read by now
        looked_after.set()

    monkeypatch.setattr(supervisor, "time", clock)
    monkeypatch.setattr(supervisor, "_TICK_SEC", 0.01)
    monkeypatch.setattr(websocket.WebSocketConnection, "ping", ping)
    async with running(exchange, instruments) as session:
        await looked_after.wait()
        looked_after.clear()
        clock.ahead_sec = 100.0
        await looked_after.wait()
        assert session.connectivity.connected
        assert session._supervisors[0]._opening is None
        assert len(exchange.connections) == 1


async def test_a_connection_is_pinged_while_its_replacement_is_refused(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    pauses: Pauses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_TICK_SEC", 0.01)
    monkeypatch.setattr(supervisor, "PING_INTERVAL_SEC", 0.0)

    def answered() -> float:
        return registry.get_sample_value("feed_rtt_seconds_count", {"market": "spot"}) or 0.0

    async with running(exchange, instruments) as session:
        await replace_in_vain(exchange, session, pauses)
        before = answered()
        await until(lambda: answered() > before + 1)


async def test_messages_around_the_loss_of_both_connections_are_no_neighbours(
    exchange: Exchange, instruments: Instruments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replacement may be lost before the connection it replaced has closed."""
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT_SEC", 3600.0)
    async with running(exchange, instruments) as session:
        first = await exchange.connection(0)
        await until(lambda: session.connectivity.connected)
        first.transport.pause_reading()  # it does not see yet that it is replaced
        session._supervisors[0].replace(ReconnectReason.SCHEDULE)
        second = await exchange.connection(1)
        state = session._recorder.states[0]
        state.previous_latency_ns = 1
        exchange.refusing = True
        await end_by_reset(second)
        await until(lambda: exchange.requests > 2)
        assert session.connectivity.connected
        first.transport.resume_reading()
        await until(lambda: not session.connectivity.connected)
        assert state.previous_latency_ns is None


async def test_a_replacement_asked_for_twice_is_one(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry
) -> None:
    async with running(exchange, instruments) as session:
        first = await exchange.connection(0)
        await until(lambda: session.connectivity.connected)
        exchange.answering.clear()
        for why in (ReconnectReason.ROLLOVER, ReconnectReason.SCHEDULE):
            session._supervisors[0].replace(why)
            await until(lambda: exchange.requests > 1)
        exchange.answering.set()
        await first.wait_closed()
        await end_by_reset(await exchange.connection(1))
        await until(lambda: reconnects(registry, ReconnectReason.CONNECTION_LOST) > 0)
    assert reconnects(registry, ReconnectReason.ROLLOVER) == 1
    assert reconnects(registry, ReconnectReason.SCHEDULE) == 0
    assert len(exchange.connections) == 3


async def test_an_end_is_noticed_when_it_comes_not_at_the_next_tick(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_TICK_SEC", 3600.0)
    async with running(exchange, instruments) as session:
        await until(lambda: session.connectivity.connected)
        await end_by_reset(exchange.connections[0])
        await until(lambda: reconnects(registry, ReconnectReason.CONNECTION_LOST) > 0)


async def test_a_connection_that_ended_before_it_was_taken_over_is_replaced(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def on_opened(number: int, connection: WebSocketConnection) -> None:
        if number == 1:
            connection.abort(ReconnectReason.PROTOCOL_ERROR, "at once")

    monkeypatch.setattr(supervisor, "_TICK_SEC", 3600.0)
    call_when_opened(on_opened, monkeypatch)
    async with running(exchange, instruments):
        await until(lambda: reconnects(registry, ReconnectReason.PROTOCOL_ERROR) > 0)


async def test_a_replacement_that_ends_at_once_replaces_nothing(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[int] = []

    def on_opened(number: int, connection: WebSocketConnection) -> None:
        opened.append(number)
        if number == 2:
            connection.abort(ReconnectReason.CONNECTION_LOST, "at once")
        if number == 3:
            assert exchange.connections[0].state is State.OPEN

    call_when_opened(on_opened, monkeypatch)
    async with running(exchange, instruments) as session:
        await until(lambda: session.connectivity.connected)
        session._supervisors[0].replace(ReconnectReason.SCHEDULE)
        await until(lambda: reconnects(registry, ReconnectReason.SCHEDULE) > 0)
        assert session.connectivity.disconnected_sec == 0
    assert opened == [1, 2, 3]
    assert reconnects(registry, ReconnectReason.CONNECTION_LOST) == 0
    labels = {"market": "spot", "kind": "upgrade_rejected"}
    assert registry.get_sample_value("feed_errors_total", labels) == 1


async def test_failed_attempts_are_no_connections_to_the_recorder(
    exchange: Exchange, instruments: Instruments
) -> None:
    exchange.refusing = True
    async with running(exchange, instruments) as session:
        await until(lambda: exchange.requests > 2)
        exchange.refusing = False
        await until(lambda: session.connectivity.connected)
        assert session._recorder._open.total() == 1
        exchange.answering.clear()
        session._supervisors[0].replace(ReconnectReason.SCHEDULE)
        before = exchange.requests
        await until(lambda: exchange.requests > before)
    exchange.answering.set()
    assert session._recorder._open.total() == 0


async def test_it_stops_while_a_replacement_is_paused_for_long(
    exchange: Exchange, instruments: Instruments, pauses: Pauses
) -> None:
    async with running(exchange, instruments) as session:
        first = await replace_in_vain(exchange, session, pauses)
    assert first.close_code == 1000


async def test_it_stops_while_a_server_does_not_answer(
    exchange: Exchange, instruments: Instruments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latency_sweep.probe.net.websocket.CONNECT_TIMEOUT_SEC", 3600.0)
    exchange.answering.clear()
    async with running(exchange, instruments) as session:
        await until(lambda: exchange.requests > 0)
    exchange.answering.set()
    assert not session.connectivity.connected


async def test_what_the_server_asks_to_wait_is_waited(
    exchange: Exchange, instruments: Instruments, pauses: Pauses
) -> None:
    exchange.refusing, exchange.retry_after = True, AN_HOUR
    async with running(exchange, instruments):
        await until(lambda: len(pauses.asked) > 1)
        assert pauses.asked == [0.0, 3600.0]
        assert exchange.requests == 1


async def test_a_shutdown_announced_again_and_again_is_one_replacement(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry
) -> None:
    async with running(exchange, instruments):
        first = await exchange.connection(0)
        exchange.answering.clear()
        await end_by_announcement(first)
        await until(lambda: exchange.requests > 1)
        await end_by_announcement(first)
        await heard_all(first)
        first.transport.pause_reading()  # it does not see yet that it is replaced
        exchange.answering.set()
        await until(lambda: reconnects(registry, ReconnectReason.SERVER_SHUTDOWN) > 0)
        await end_by_announcement(first)
        first.transport.resume_reading()
        await first.wait_closed()
        await end_by_reset(await exchange.connection(1))
        await until(lambda: reconnects(registry, ReconnectReason.CONNECTION_LOST) > 0)
    assert reconnects(registry, ReconnectReason.SERVER_SHUTDOWN) == 1
    assert len(exchange.connections) == 3


async def test_a_shutdown_announced_to_a_connection_being_replaced_replaces_no_other(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry
) -> None:
    async with running(exchange, instruments) as session:
        first = await exchange.connection(0)
        await until(lambda: session.connectivity.connected)
        exchange.answering.clear()
        session._supervisors[0].replace(ReconnectReason.SCHEDULE)
        await until(lambda: exchange.requests > 1)
        await end_by_announcement(first)
        await heard_all(first)
        exchange.answering.set()
        await first.wait_closed()
        await end_by_reset(await exchange.connection(1))
        await until(lambda: reconnects(registry, ReconnectReason.CONNECTION_LOST) > 0)
    assert reconnects(registry, ReconnectReason.SCHEDULE) == 1
    assert reconnects(registry, ReconnectReason.SERVER_SHUTDOWN) == 0
    assert len(exchange.connections) == 3


@pytest.mark.parametrize("being_replaced", [False, True])
async def test_a_close_that_was_announced_counts_as_the_shutdown(
    being_replaced: bool,  # noqa: FBT001 - pytest passes it by name
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
) -> None:
    async with running(exchange, instruments) as session:
        first = await exchange.connection(0)
        await until(lambda: session.connectivity.connected)
        exchange.refusing = True
        if being_replaced:
            session._supervisors[0].replace(ReconnectReason.SCHEDULE)
        await end_by_announcement(first)
        await until(lambda: exchange.requests > 2)
        await first.close(1001)
        await until(lambda: not session.connectivity.connected)
        exchange.refusing = False
        await until(lambda: session.connectivity.connected)
    assert reconnects(registry, ReconnectReason.SERVER_SHUTDOWN) == 1
    for other in (ReconnectReason.SERVER_CLOSE, ReconnectReason.SCHEDULE):
        assert reconnects(registry, other) == 0


async def test_pauses_begin_anew_after_a_connection_that_lasted(
    exchange: Exchange, instruments: Instruments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GOOD_CONNECTION_SEC", 0.0)
    ceilings = Ceilings()
    exchange.refusing = True
    async with running(exchange, instruments, backoff=ceilings.backoff) as session:
        await until(lambda: len(ceilings.asked) > 3)
        exchange.refusing = False
        await until(lambda: session.connectivity.connected)
        assert ceilings.asked[:3] == [1.0, 2.0, 4.0]
        ceilings.asked.clear()
        exchange.refusing = True
        await end_by_reset(exchange.connections[0])
        await until(lambda: len(ceilings.asked) > 1)
    assert ceilings.asked[:2] == [1.0, 2.0]


@pytest.mark.parametrize("end", [end_by_reset, end_by_announcement])
async def test_a_connection_that_did_not_last_is_followed_by_a_pause(
    end: Callable[[ServerConnection], Awaitable[None]],
    exchange: Exchange,
    instruments: Instruments,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "GOOD_CONNECTION_SEC", 3600.0)
    ceilings = Ceilings()
    async with running(exchange, instruments, backoff=ceilings.backoff):
        for number in range(3):
            await end(await exchange.connection(number))
        await exchange.connection(3)
    assert ceilings.asked == [1.0, 2.0, 4.0]


async def test_a_new_run_does_not_wait_for_its_connection(
    exchange: Exchange, instruments: Instruments, registry: CollectorRegistry
) -> None:
    ceilings = Ceilings()
    async with running(exchange, instruments, backoff=ceilings.backoff) as session:
        await until(lambda: session.connectivity.connected)
        session._supervisors[0].replace(ReconnectReason.SCHEDULE)
        await until(lambda: reconnects(registry, ReconnectReason.SCHEDULE) > 0)
    assert ceilings.asked == []


async def test_a_reset_right_after_connecting_is_tried_again(
    instruments: Instruments, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    resets = 3
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def on_step(_: ConnectionSupervisor, step: ConnectStep, __: float) -> None:
            nonlocal resets
            if step is ConnectStep.TCP and resets:
                resets -= 1
                peer, _address = listener.accept()
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()

        monkeypatch.setattr(ConnectionSupervisor, "_observe_step", on_step)
        exchange = Exchange()
        exchange.port = listener.getsockname()[1]
        async with running(exchange, instruments) as session:
            await until(lambda: resets == 0)
            async with serving(exchange, sock=listener):
                await until(lambda: session.connectivity.connected)
                session.stop()
    labels = {"market": "spot", "kind": "upgrade_rejected"}
    assert registry.get_sample_value("feed_errors_total", labels) == 3


async def test_lines_of_the_log_tell_what_a_connection_does_and_which_it_is(
    exchange: Exchange, instruments: Instruments, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "latency_sweep")
    async with running(exchange, instruments) as session:
        await exchange.connection(0)
        await until(lambda: session.connectivity.connected)
        run = ONE_RUN.run_at(time.time_ns())
        session._begin(run)
        session._supervisors[0].replace(ReconnectReason.ROLLOVER)
        await exchange.connection(1)
        await until(lambda: "connection closed" in caplog.messages)
    log = {record.message: getattr(record, "context", {}) for record in caplog.records}
    assert log["connecting"]["host"] == f"127.0.0.1:{exchange.port}"
    assert log["resolved"]["addresses"] == ["127.0.0.1"]
    assert log["upgrade answered"]["status"] == 101
    assert log["replacing the connection"]["reason"] == "rollover"
    assert log["connected"]["replaces"] == log["connected"]["remote"] == "127.0.0.1"
    assert log["close frame sent"]["code"] == 1000
    assert log["close frame received"]["close"].startswith("1000")
    steps = [r.context for r in caplog.records if r.message == "connect step"]  # type: ignore[attr-defined]
    assert [step["step"] for step in steps] == ["dns", "tcp", "upgrade"] * 2
    for message in ("resolved", "connect step", "connected", "close frame sent"):
        assert log[message]["connection"] == "0"
        assert log[message]["stream"] == "trade,bookTicker"
        assert log[message]["run"] == log["run begins"]["run"] == run.label
