"""Streams that the URL does not name are subscribed to by message, and the answers checked."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import ServerConnection, serve

from latency_sweep.probe.connection import subscribing
from latency_sweep.probe.connection.session import Session
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.measurement.recorder import Recorder
from tests.probe.scripted_exchange import quick_pauses, until
from tests.probe.timelines import ONE_RUN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from prometheus_client import CollectorRegistry

    from latency_sweep.probe.connection.backoff import Backoff
    from latency_sweep.probe.measurement.instruments import Instruments

SYMBOLS = [f"TOKEN{number}USDT" for number in range(1000)]
ACKNOWLEDGE = '{{"result":null,"id":{}}}'
REFUSE = '{{"code":2,"msg":"Invalid request: too many","id":{}}}'
HANG_UP = ""
NOTHING = None


class Subscribed:
    """A server that answers subscriptions by a script, and with acknowledgements after its end."""

    def __init__(self, *script: str | None) -> None:
        self.script = deque(script)
        self.connections = 0
        self.times: list[float] = []
        self.streams: list[str] = []
        self.port = 0

    async def handle(self, connection: ServerConnection) -> None:
        self.connections += 1
        self.streams = []
        async for message in connection:
            self.times.append(time.monotonic())
            request = json.loads(message)
            answer = self.script.popleft() if self.script else ACKNOWLEDGE
            if answer is HANG_UP:
                return
            if answer is NOTHING:
                continue
            await connection.send(answer.format(request["id"]))
            self.streams += request["params"]


@asynccontextmanager
async def running(
    server: Subscribed,
    instruments: Instruments,
    backoff: Callable[[], Backoff] = quick_pauses,
) -> AsyncIterator[Session]:
    async with serve(server.handle, "127.0.0.1", 0, compression=None) as listener:
        server.port = next(iter(listener.sockets)).getsockname()[1]
        feed = BinanceSpot(f"ws://127.0.0.1:{server.port}", SYMBOLS, ["trade"])
        recorder = Recorder("spot", feed.channels, instruments)
        tls = ssl.create_default_context()
        session = Session([feed], ONE_RUN, recorder, instruments, tls=tls, backoff=backoff)
        task = asyncio.create_task(session.run())
        try:
            yield session
        finally:
            session.stop()
            await task


def failures(registry: CollectorRegistry) -> float:
    labels = {"market": "spot", "kind": "subscribe_failed"}
    return registry.get_sample_value("feed_errors_total", labels) or 0.0


async def test_all_streams_are_subscribed_to_within_the_limit_of_messages(
    instruments: Instruments, registry: CollectorRegistry
) -> None:
    server = Subscribed()
    async with running(server, instruments) as session:
        await until(lambda: session.connectivity.connected)
        assert server.streams[-1] == "token999usdt@trade"
        gaps = [
            after - before for before, after in zip(server.times, server.times[1:], strict=False)
        ]
        assert len(server.times) >= 3
        # A message arrives later than it was sent, by as much as the machine is busy.
        assert min(gaps) > subscribing.INTERVAL_SEC / 2
    assert failures(registry) == 0
    assert server.connections == 1


@pytest.mark.parametrize("answer", [REFUSE, HANG_UP, NOTHING, '{{"error":"{}"}}'])
async def test_what_is_no_acknowledgement_is_an_error_and_a_new_connection(
    answer: str | None,
    instruments: Instruments,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscribing, "ANSWER_TIMEOUT_SEC", 0.5)
    monkeypatch.setattr(subscribing, "INTERVAL_SEC", 0.01)
    server = Subscribed(ACKNOWLEDGE, answer)
    async with running(server, instruments) as session:
        await until(lambda: session.connectivity.connected)
        assert failures(registry) == 1
        assert server.connections == 2
        assert server.streams[-1] == "token999usdt@trade"


async def test_stopping_does_not_wait_for_answers(instruments: Instruments) -> None:
    server = Subscribed(NOTHING)
    async with running(server, instruments):
        await until(lambda: bool(server.times))
        began = time.monotonic()
    assert time.monotonic() - began < subscribing.ANSWER_TIMEOUT_SEC / 2
