"""A server that exceeds a limit loses its connection, and is counted under a kind of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.frames import Frame, Opcode

from latency_sweep.contract.metrics import ErrorKind, ReconnectReason
from latency_sweep.probe.net import transport
from latency_sweep.probe.net.errors import ConnectFailed
from latency_sweep.probe.net.limits import (
    MAX_CONTROL_FRAMES_PER_SEC,
    MAX_INTERIM_RESPONSES,
    MAX_UNUSABLE_FRAMES_PER_SEC,
    FrameRateLimit,
    LimitExceededError,
)
from latency_sweep.probe.net.transport import Transport
from tests.probe.net.test_websocket import (
    Client,
    raw_server,
    refused_upgrade,
    scripted_server,
    upgrading,
)

if TYPE_CHECKING:
    from latency_sweep.contract.timeline import Run
    from latency_sweep.probe.measurement.recorder import ConnectionReceiver, Recorder
    from latency_sweep.probe.net.errors import Closed
    from latency_sweep.probe.net.websocket import Record


def frame(payload: bytes, opcode: Opcode, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin=fin).serialize(mask=False)


async def end_of_flood(begin: bytes, flood: bytes, record: Record | None = None) -> Closed:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        with contextlib.suppress(OSError):
            while True:
                writer.write(flood)
                await writer.drain()

    async with scripted_server(script) as port:
        connection = await Client().connect(port, record=record)
        async with asyncio.timeout(20):
            return await connection.closed


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG])
@pytest.mark.parametrize("payload", [b"", b"p" * 125], ids=["empty", "full"])
async def test_a_flood_of_control_frames_ends_the_connection(
    opcode: Opcode, payload: bytes
) -> None:
    closed = await end_of_flood(b"", frame(payload, opcode) * 1000)
    assert closed.reason is ReconnectReason.LIMIT_EXCEEDED
    assert closed.kind is ErrorKind.CONTROL_FRAMES


@pytest.mark.parametrize("payload", [b"", b"a"], ids=["empty", "one byte"])
async def test_a_flood_of_continuation_frames_ends_the_connection(payload: bytes) -> None:
    begin = frame(b"a", Opcode.TEXT, fin=False)
    closed = await end_of_flood(begin, frame(payload, Opcode.CONT, fin=False) * 1000)
    assert closed.reason is ReconnectReason.LIMIT_EXCEEDED
    assert closed.kind is ErrorKind.CONTINUATION_FRAMES


async def test_a_flood_of_fragmented_messages_ends_the_connection() -> None:
    message = frame(b"", Opcode.TEXT, fin=False) + frame(b"", Opcode.CONT)
    closed = await end_of_flood(b"", message * 500)
    assert closed.kind is ErrorKind.CONTINUATION_FRAMES


UNUSABLE = {
    "empty": frame(b"", Opcode.TEXT),
    "one byte": frame(b"x", Opcode.TEXT),
    "empty binary": frame(b"", Opcode.BINARY),
    "no JSON": frame(b"x" * 100, Opcode.TEXT),
    "no UTF-8": frame(b"\xff" * 10, Opcode.TEXT),
    "unknown stream": frame(b'{"stream":"x@trade","data":{}}', Opcode.TEXT),
    "unsolicited answer": frame(b'{"result":null,"id":1}', Opcode.TEXT),
    "announcement": frame(b'{"e":"serverShutdown"}', Opcode.TEXT),
}


@pytest.mark.parametrize("message", list(UNUSABLE.values()), ids=list(UNUSABLE))
async def test_a_flood_of_messages_of_no_use_ends_the_connection(
    message: bytes, connection: ConnectionReceiver
) -> None:
    closed = await end_of_flood(b"", message * 1000, connection.record)
    assert closed.reason is ReconnectReason.LIMIT_EXCEEDED
    assert closed.kind is ErrorKind.UNUSABLE_FRAMES


def test_what_came_before_a_message_too_many_is_recorded(
    connection: ConnectionReceiver, recorder: Recorder, frames: Any, run: Run
) -> None:
    recorder.begin_run(run)
    now = run.measure_start_ns
    with pytest.raises(LimitExceededError, match="in a second"):
        connection.record(
            [frames.trade(1, now), *[b""] * 3 * MAX_UNUSABLE_FRAMES_PER_SEC], False, now, now
        )
    assert recorder.states[0].messages == 1
    assert recorder.lines[0].first_arrivals == 1


def test_one_read_may_bring_as_many_of_no_use_as_the_limit_and_not_one_more(
    connection: ConnectionReceiver, recorder: Recorder, frames: Any, run: Run
) -> None:
    recorder.begin_run(run)
    now = run.measure_start_ns
    unusable = [b""] * MAX_UNUSABLE_FRAMES_PER_SEC
    connection.record([*unusable, frames.trade(1, now)], False, now, now)
    assert recorder.states[0].messages == 1
    with pytest.raises(LimitExceededError, match="in a second"):
        connection.record([frames.trade(2, now), b"", frames.trade(3, now)], False, now, now)
    assert recorder.states[0].messages == 2


def test_one_message_in_five_of_no_use_is_no_flood(
    connection: ConnectionReceiver, frames: Any, run: Run
) -> None:
    now = run.measure_start_ns
    for number in range(MAX_UNUSABLE_FRAMES_PER_SEC):
        connection.record([*[frames.trade(number, now)] * 4, b""], False, now, now)


async def test_a_server_that_reads_nothing_loses_its_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a read transport
        with contextlib.suppress(OSError):
            for _ in range(2000):
                writer.write(frame(b"p" * 125, Opcode.PING) * (MAX_CONTROL_FRAMES_PER_SEC // 4))
                await writer.drain()
                await asyncio.sleep(0.001)
        writer.transport.resume_reading()  # type: ignore[attr-defined] # as above
        with contextlib.suppress(OSError):
            await reader.read()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "MAX_UNSENT_BYTES", 4096)
        patch.setattr(FrameRateLimit, "count", lambda _: None)
        async with scripted_server(script) as port:
            connection = await Client().connect(port)
            sock = connection._transport._sock
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            async with asyncio.timeout(30):
                closed = await connection.closed
    assert closed.reason is ReconnectReason.LIMIT_EXCEEDED
    assert closed.kind is ErrorKind.UNSENT_BYTES


EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


@pytest.mark.parametrize("count", [1, MAX_INTERIM_RESPONSES])
async def test_informational_answers_before_the_acceptance_are_skipped(count: int) -> None:
    data = EARLY_HINTS * count
    for cut in range(1, len(EARLY_HINTS) + 1):
        client = Client()
        async with upgrading(client) as (connection, acceptance):
            answer = data + acceptance.serialize() + frame(b"first", Opcode.TEXT)
            connection.bytes_received(answer[:cut], 1, 2, 0)
            connection.bytes_received(answer[cut:], 3, 4, 0)
        assert client.messages == [b"first"], cut


@pytest.mark.parametrize(
    "answer",
    [EARLY_HINTS * 1000, b"HTTP/1.1 100 Continue\r\nX: " + b"x" * 10**6],
    ids=["many", "endless"],
)
async def test_too_many_informational_answers_fail_the_attempt(answer: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with contextlib.suppress(OSError):
            await reader.read()

    async with raw_server(script) as port:
        with pytest.raises(ConnectFailed, match="informational") as caught:
            await Client().connect(port)
    assert caught.value.kind is ErrorKind.INTERIM_RESPONSES


@pytest.mark.parametrize(
    ("seconds", "kind"),
    [("259200", ErrorKind.UPGRADE_REJECTED), ("99999999999", ErrorKind.RETRY_AFTER)],
)
async def test_a_wait_longer_than_the_longest_ban_is_counted_as_such(
    seconds: str, kind: ErrorKind
) -> None:
    failure = await refused_upgrade(503, seconds)
    assert failure.kind is kind
    assert failure.retry_after_sec == 259200


class Clock:
    """In place of the module's time."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("latency_sweep.probe.net.limits.time", clock)
    return clock


@pytest.mark.parametrize("rate", [1, 5, 9])
def test_a_rate_up_to_the_limit_is_never_exceeded(rate: int, clock: Clock) -> None:
    limit = FrameRateLimit(10, ErrorKind.CONTROL_FRAMES, "frames")
    for _ in range(rate * 100):
        limit.count()
        clock.now += 1 / rate


@pytest.mark.parametrize("rate", [25, 100, 10**6])
def test_a_higher_rate_is_exceeded_within_two_seconds(rate: int, clock: Clock) -> None:
    limit = FrameRateLimit(10, ErrorKind.CONTROL_FRAMES, "frames")
    began = clock.now

    def flood() -> None:
        while True:
            limit.count()
            clock.now += 1 / rate

    with pytest.raises(LimitExceededError, match="more than 10 frames in a second"):
        flood()
    assert clock.now - began < 2


async def test_a_turn_of_the_reader_ends_in_time_though_frames_are_tiny(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However slow a message: the read that takes too long is the last one of its turn."""
    turns: list[float] = []
    read = Transport._read

    def timed(self: Transport) -> bool:
        began = time.monotonic()
        found = read(self)
        turns.append(time.monotonic() - began)
        return found

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"", Opcode.TEXT) * 2**18)
        await writer.drain()

    received = 0

    def record(payloads: list[bytes], *_: object) -> None:
        nonlocal received
        received += len(payloads)
        time.sleep(2e-6 * len(payloads))

    monkeypatch.setattr(Transport, "_read", timed)
    client = Client()
    monkeypatch.setattr(client, "record", record)
    async with scripted_server(script) as port:
        connection = await client.connect(port)
        await connection.closed
    assert received == 2**18
    assert len(turns) > 20
    assert sorted(turns)[len(turns) // 2] < 0.05
