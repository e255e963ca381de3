"""A server that a test scripts, and a session that is connected to it."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from websockets.asyncio.server import serve

from latency_sweep.probe.connection.backoff import Backoff
from latency_sweep.probe.connection.session import Session
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.measurement.recorder import Recorder
from tests.probe.timelines import ONE_RUN

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from prometheus_client import CollectorRegistry
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from latency_sweep.contract.metrics import ReconnectReason
    from latency_sweep.contract.timeline import Timeline
    from latency_sweep.probe.measurement.instruments import Instruments

# A busy machine takes its time.
WITHIN_SEC: Final = 45.0


class Exchange:
    """A server whose behaviour a test scripts connection by connection.

    Attributes:
        connections: those upgraded, in their order.
        requests: upgrades asked for.
        answering: cleared, upgrades wait for their answer.
        refusing: whether upgrades are answered with 429.
        retry_after: then the header of that name, if not empty.
        port: where it listens.
    """

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.arrived = asyncio.Condition()
        self.requests = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.refusing = False
        self.retry_after = ""
        self.port = 0

    async def answer(self, connection: ServerConnection, _: Request) -> Response | None:
        self.requests += 1
        await self.answering.wait()
        if not self.refusing:
            return None
        response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "too many")
        if self.retry_after:
            response.headers["Retry-After"] = self.retry_after
        return response

    async def handle(self, connection: ServerConnection) -> None:
        async with self.arrived:
            self.connections.append(connection)
            self.arrived.notify_all()
        await connection.wait_closed()

    async def connection(self, number: int) -> ServerConnection:
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.connections) > number)
        return self.connections[number]


@asynccontextmanager
async def serving(exchange: Exchange, sock: socket.socket | None = None) -> AsyncIterator[Exchange]:
    where = {"sock": sock} if sock is not None else {"host": "127.0.0.1", "port": 0}
    async with serve(
        exchange.handle, **where, process_request=exchange.answer, compression=None
    ) as server:
        exchange.port = next(iter(server.sockets)).getsockname()[1]
        yield exchange


def quick_pauses() -> Backoff:
    return Backoff(base_sec=0.001, cap_sec=0.01)


@asynccontextmanager
async def running(
    exchange: Exchange,
    instruments: Instruments,
    timeline: Timeline = ONE_RUN,
    *,
    lines: int = 1,
    backoff: Callable[[], Backoff] = quick_pauses,
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
        backoff=backoff,
    )
    task = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        session.stop()
        await task


def reconnects(registry: CollectorRegistry, reason: ReconnectReason) -> float:
    labels = {"market": "spot", "reason": reason.value}
    return registry.get_sample_value("feed_reconnects_total", labels) or 0.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it; fail if it never comes true.

    The limit of time of each test is raised in whichever task runs, and may get lost there.
    """
    async with asyncio.timeout(WITHIN_SEC):
        while not condition():
            await asyncio.sleep(0.001)


async def end_by_reset(connection: ServerConnection) -> None:
    connection.transport.abort()


async def end_by_announcement(connection: ServerConnection) -> None:
    data = {"e": "serverShutdown", "E": 1}
    await connection.send(json.dumps({"stream": "!serverShutdown", "data": data}))


async def trade(number: int, *connections: ServerConnection) -> None:
    """Send the trade with this id on these connections."""
    now_us = time.time_ns() // 1000
    data = {"e": "trade", "E": now_us, "s": "BTCUSDT", "t": number, "T": now_us}
    text = json.dumps({"stream": "btcusdt@trade", "data": data}, separators=(",", ":"))
    for connection in connections:
        await connection.send(text)
