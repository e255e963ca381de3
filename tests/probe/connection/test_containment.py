"""Whatever one connection raises ends that connection, is counted, and nothing else ends."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from websockets.client import ClientProtocol

import latency_sweep.probe
from latency_sweep.contract.metrics import ErrorKind, ReconnectReason
from latency_sweep.contract.timeline import Timeline
from latency_sweep.probe.clock.steps import StepDetector
from latency_sweep.probe.connection import session as session_module
from latency_sweep.probe.connection import supervisor
from latency_sweep.probe.connection.session import Session
from latency_sweep.probe.connection.supervisor import ConnectionSupervisor
from latency_sweep.probe.measurement.recorder import ConnectionReceiver, Recorder
from latency_sweep.probe.net import websocket
from latency_sweep.probe.net.framing import FrameSplitter
from latency_sweep.probe.net.transport import Transport
from latency_sweep.probe.net.websocket import WebSocketConnection
from tests.probe.scripted_exchange import Exchange, reconnects, running, serving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from prometheus_client import CollectorRegistry
    from websockets.asyncio.server import ServerConnection

    from latency_sweep.probe.measurement.instruments import Instruments


class Fault(Exception):  # noqa: N818 - injected
    """No exception that anybody expects."""


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with serving(Exchange()) as exchange:
        yield exchange


# A run is over after a fifth of a second.
SHORT_RUNS: Final = Timeline(60_000_000, 100_000_000, 40_000_000)


class Injection:
    """Lets one method of a class raise, once, when it is called next."""

    def __init__(self, owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.armed = False
        original = getattr(owner, name)

        def patched(*args: Any, **options: Any) -> Any:
            if self.armed:
                self.armed = False
                raise Fault(name)
            return original(*args, **options)

        monkeypatch.setattr(owner, name, patched)


async def message(connection: ServerConnection) -> None:
    await connection.send("{}")


async def fragments(connection: ServerConnection) -> None:
    await connection.send(["{", "}"])


async def ping(connection: ServerConnection) -> None:
    await connection.ping()


# The method that raises, and what the server does so that it is called.
RECEIVING: Final = [
    (Transport, "_read", message),
    (Transport, "_deliver", message),
    (FrameSplitter, "split", message),
    (ConnectionReceiver, "record", message),
    (WebSocketConnection, "bytes_received", message),
    (WebSocketConnection, "_receive_frame", fragments),
    (WebSocketConnection, "_on_frame", ping),
    (ClientProtocol, "receive_data", ping),
    (ClientProtocol, "send_frame", ping),
    (WebSocketConnection, "_flush", ping),
    (Transport, "write", ping),
    (Transport, "_send", ping),
]


async def ended_by_fault(
    session: Session, exchange: Exchange, registry: CollectorRegistry, before: int
) -> None:
    """One connection ended, it was counted, another was opened, and the other line went on."""
    await until(lambda: reconnects(registry, ReconnectReason.INTERNAL_ERROR) == 1)
    await until(lambda: len(exchange.connections) == before + 1)
    await until(lambda: session.connectivity.connected)
    labels = {"market": "spot", "kind": ErrorKind.INTERNAL.value}
    assert registry.get_sample_value("feed_errors_total", labels) == 1
    assert sum(c.state.name == "OPEN" for c in exchange.connections) == before


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [r.exc_info for r in caplog.records if r.exc_info and r.message == "feed error"]


@pytest.mark.parametrize(
    ("owner", "name", "act"), [pytest.param(*each, id=each[1]) for each in RECEIVING]
)
async def test_what_is_raised_while_receiving_ends_that_connection_only(
    owner: type,
    name: str,
    act: Callable[[ServerConnection], Awaitable[None]],
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    injection = Injection(owner, name, monkeypatch)
    async with running(exchange, instruments, lines=2) as session:
        first, _ = [await exchange.connection(number) for number in range(2)]
        await until(lambda: len(session.connectivity.remote_addresses) == 2)
        injection.armed = True
        await act(first)
        await ended_by_fault(session, exchange, registry, 2)
    ((kind, _error, trace),) = tracebacks(caplog)
    assert kind is Fault
    assert trace is not None


# What the supervisor calls, each in a task or when a timer fires.
SUPERVISING: Final = [
    (ConnectionSupervisor, "_watch"),
    (Transport, "look"),
    (WebSocketConnection, "ping"),
    (ClientProtocol, "send_ping"),
    (Transport, "write"),
    (WebSocketConnection, "unanswered_sec"),
    (ConnectionReceiver, "channels_without_message"),
]


@pytest.mark.parametrize(("owner", "name"), [pytest.param(*e, id=e[1]) for e in SUPERVISING])
async def test_what_is_raised_while_supervising_ends_that_connection_only(
    owner: type,
    name: str,
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_TICK_SEC", 0.01)
    injection = Injection(owner, name, monkeypatch)
    async with running(exchange, instruments, lines=2) as session:
        for number in range(2):
            await exchange.connection(number)
        await until(lambda: len(session.connectivity.remote_addresses) == 2)
        monkeypatch.setattr(supervisor, "PING_INTERVAL_SEC", 100.0)
        monkeypatch.setattr(supervisor, "FIRST_MESSAGE_TIMEOUT_SEC", 0.0)
        injection.armed = True
        opened = session._supervisors[0]._current
        assert opened is not None
        opened.next_ping = 0.0
        await ended_by_fault(session, exchange, registry, 2)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(WebSocketConnection, "close"), (ClientProtocol, "send_close"), (Transport, "write")],
)
async def test_what_is_raised_while_closing_is_counted(
    owner: type,
    name: str,
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    injection = Injection(owner, name, monkeypatch)
    labels = {"market": "spot", "kind": ErrorKind.INTERNAL.value}
    async with running(exchange, instruments) as session:
        first = await exchange.connection(0)
        await until(lambda: session.connectivity.connected)
        await (await first.ping())
        injection.armed = True
        session.stop()
    assert registry.get_sample_value("feed_errors_total", labels) == 1


async def test_what_is_raised_when_the_close_times_out_is_counted(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT_SEC", 0.01)
    injection = Injection(WebSocketConnection, "stream_ended", monkeypatch)
    labels = {"market": "spot", "kind": ErrorKind.INTERNAL.value}
    async with running(exchange, instruments) as session:
        first = await exchange.connection(0)
        await until(lambda: session.connectivity.connected)
        first.transport.pause_reading()
        injection.armed = True
        session.stop()
    assert registry.get_sample_value("feed_errors_total", labels) == 1


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (ConnectionSupervisor, "_attempt"),
        (ConnectionSupervisor, "_observe_step"),
        (ConnectionSupervisor, "_take"),
        (WebSocketConnection, "upgrade"),
        (WebSocketConnection, "_receive_response"),
        (Transport, "start"),
    ],
)
async def test_what_is_raised_while_connecting_fails_that_attempt_only(
    owner: type,
    name: str,
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    injection = Injection(owner, name, monkeypatch)
    injection.armed = True
    async with running(exchange, instruments) as session:
        await until(lambda: session.connectivity.connected)
    labels = {"market": "spot", "kind": ErrorKind.INTERNAL.value}
    assert registry.get_sample_value("feed_errors_total", labels) == 1


async def test_what_is_raised_by_the_writer_ends_that_connection_only(
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    injection = Injection(Transport, "_send_unsent", monkeypatch)
    async with running(exchange, instruments, lines=2) as session:
        for number in range(2):
            await exchange.connection(number)
        await until(lambda: len(session.connectivity.remote_addresses) == 2)
        opened = session._supervisors[0]._current
        assert opened is not None
        transport = opened.connection._transport
        injection.armed = True
        transport._loop.add_writer(transport._sock.fileno(), transport._on_writable)
        await ended_by_fault(session, exchange, registry, 2)


@pytest.mark.parametrize("entry", ["_poll", "_check"])
async def test_what_is_raised_while_polling_ends_that_connection_only(
    entry: str,
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    injection = Injection(Transport, "_read", monkeypatch)
    async with running(exchange, instruments, lines=2) as session:
        for number in range(2):
            await exchange.connection(number)
        await until(lambda: len(session.connectivity.remote_addresses) == 2)
        opened = session._supervisors[0]._current
        assert opened is not None
        injection.armed = True
        transport = opened.connection._transport
        transport._asked_ns = 0
        transport._loop.call_soon(getattr(transport, entry))
        await ended_by_fault(session, exchange, registry, 2)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Timeline, "run_at"),
        (StepDetector, "check"),
        (Session, "_begin"),
        (Recorder, "begin_run"),
        (Recorder, "_histograms_of"),
        (Recorder, "report_unlogged_errors"),
        (ConnectionSupervisor, "replace"),
    ],
)
async def test_what_is_raised_while_following_the_timeline_is_tried_again(
    owner: type,
    name: str,
    exchange: Exchange,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "_TICK_SEC", 0.01)
    injection = Injection(owner, name, monkeypatch)
    injection.armed = True
    labels = {"market": "spot", "kind": ErrorKind.INTERNAL.value}

    def shown() -> set[str]:
        families = instruments.per_run["feed_latency_seconds"].collect()
        return {series.labels["run"] for family in families for series in family.series}

    async with running(exchange, instruments, SHORT_RUNS) as session:
        await until(lambda: registry.get_sample_value("feed_errors_total", labels) == 1)
        failed_in = time.time_ns()
        await until(lambda: session.connectivity.connected)
        states = session._recorder.states
        await until(
            lambda: (
                (run := session._recorder.run) is not None
                and run.end_ns > failed_in
                and run.label in shown()
                and all(state.histograms is not None for state in states)
            )
        )
    assert registry.get_sample_value("feed_errors_total", labels) == 1


# Each call from the event loop into the code of connections, by what registers it; every one of
# them contains what it raises, or cannot raise.
ENTRIES: Final = {
    ("add_reader", "self._on_readable"),
    ("add_writer", "self._on_writable"),
    ("call_soon", "self._poll"),
    ("call_soon", "self.look"),
    ("call_later", "self._check"),
    ("call_later", "self._close_timed_out"),
    ("call_soon_threadsafe", "tell"),  # sets a result that nobody has set
    ("add_done_callback", "self._notice"),  # sets an event
    ("add_done_callback", "_look_at"),  # reads an exception
    ("create_task", "_attempt(info, receiving)"),  # `race` raises what it raises
    ("create_task", "self._open(pause_sec)"),
    ("create_task", "self._retire(old)"),
    ("create_task", "self._retire(fresh)"),
    ("create_task", "supervisor.run()"),
}
_REGISTERS: Final = {
    "add_reader": 1,
    "add_writer": 1,
    "call_soon": 0,
    "call_later": 1,
    "call_at": 1,
    "call_soon_threadsafe": 0,
    "add_done_callback": 0,
    "create_task": 0,
    "ensure_future": 0,
    "run_in_executor": 1,
}


def test_every_call_from_the_event_loop_is_known_here() -> None:
    found = set()
    root = Path(latency_sweep.probe.__file__).parent
    for folder in ("net", "connection"):
        for path in sorted((root / folder).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    at = _REGISTERS.get(node.func.attr)
                    if at is not None:
                        found.add((node.func.attr, ast.unparse(node.args[at])))
    assert found == ENTRIES
