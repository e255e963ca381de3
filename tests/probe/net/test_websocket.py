"""A connection delivers every message with a kernel timestamp, and names how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from latency_sweep.contract.metrics import ConnectStep, ErrorKind, ReconnectReason
from latency_sweep.probe.net.errors import ConnectFailed
from latency_sweep.probe.net.timestamped_socket import keep_timestamping_on
from latency_sweep.probe.net.websocket import WebSocketConnection, connect

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterator

    from latency_sweep.probe.net.transport import Transport
    from latency_sweep.probe.net.websocket import Record


@pytest.fixture(scope="module", autouse=True)
def _timestamping() -> Iterator[None]:
    """Kernel timestamps from the first packet on."""
    with keep_timestamping_on():
        yield


@dataclass
class Client:
    """Collects what a connection reports."""

    messages: list[bytes] = field(default_factory=list)
    timestamps: list[tuple[int, int]] = field(default_factory=list)
    errors_ns: list[int] = field(default_factory=list)
    binary: list[bool] = field(default_factory=list)
    steps: list[ConnectStep] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    rtts: asyncio.Queue[float] = field(default_factory=asyncio.Queue)

    def record(
        self,
        payloads: list[bytes],
        binary: bool,  # noqa: FBT001 - as the hot path calls it
        timestamp_ns: int,
        read_ns: int,
        error_ns: int,
    ) -> None:
        self.messages += payloads
        self.errors_ns += [error_ns] * len(payloads)
        self.heard.set()
        self.binary += [binary] * len(payloads)
        self.timestamps += [(timestamp_ns, read_ns)] * len(payloads)

    async def connect(
        self, port: int, *, timeout_sec: float = 60.0, record: Record | None = None
    ) -> WebSocketConnection:
        return await connect(
            f"ws://127.0.0.1:{port}/stream",
            headers={"X-Test": "yes"},
            tls=None,
            record=record or self.record,
            on_rtt=self.rtts.put_nowait,
            on_step=lambda step, _: self.steps.append(step),
            timeout_sec=timeout_sec,
        )


@asynccontextmanager
async def websocket_server(
    handler: Callable[[ServerConnection], Awaitable[None]],
    reject: Response | None = None,
) -> AsyncIterator[int]:
    def process_request(_: ServerConnection, __: Request) -> Response | None:
        return reject

    async with serve(
        handler, "127.0.0.1", 0, process_request=process_request, compression=None
    ) as server:
        yield next(iter(server.sockets)).getsockname()[1]


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(script: Script) -> AsyncIterator[int]:
    """A TCP server that does what the script says, and leaves nothing open."""
    tasks: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            await script(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*tasks)


@asynccontextmanager
async def scripted_server(script: Script) -> AsyncIterator[int]:
    """A server that upgrades properly and then sends whatever bytes the script says."""

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        writer.write(b"".join(protocol.data_to_send()))
        await script(reader, writer)

    async with raw_server(upgrade) as port:
        yield port


def text(payload: bytes, *, fin: bool = True, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, payload, fin=fin).serialize(mask=False)


class Wire:
    """In a transport's place: keeps what is written, so that a test decides what each read gets."""

    remote_address = "127.0.0.1"
    reads_without_timestamp = 0

    def __init__(self) -> None:
        self.written = b""

    def start(self, _: WebSocketConnection) -> None: ...

    def look(self) -> None: ...

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None: ...


@asynccontextmanager
async def upgrading(client: Client) -> AsyncIterator[tuple[WebSocketConnection, Response]]:
    """A connection that has asked for its upgrade, and the answer that would accept it."""
    wire = Wire()
    connection = WebSocketConnection(
        cast("Transport", wire),
        ClientProtocol(parse_uri("ws://exchange.test/")),
        client.record,
        client.rtts.put_nowait,
    )
    upgrade = asyncio.create_task(connection.upgrade({}, timeout_sec=60.0))
    while not wire.written:
        await asyncio.sleep(0)
    protocol = ServerProtocol()
    protocol.receive_data(wire.written)
    (request,) = protocol.events_received()
    assert isinstance(request, Request)
    yield connection, protocol.accept(request)
    connection.abort(ReconnectReason.SCHEDULE, "enough")
    await asyncio.gather(upgrade, return_exceptions=True)


async def test_messages_that_follow_an_acceptance_arrive_however_it_is_cut() -> None:
    frames = text(b"first") + text(b"second")
    client = Client()
    async with upgrading(client) as (_, acceptance):
        size = len(acceptance.serialize())
    for cut in range(1, size + len(frames)):
        client = Client()
        async with upgrading(client) as (connection, acceptance):
            data = acceptance.serialize() + frames
            connection.bytes_received(data[:cut], 1, 2, 0)
            connection.bytes_received(data[cut:], 3, 4, 0)
        assert client.messages == [b"first", b"second"], cut


async def test_nothing_that_follows_a_refused_acceptance_is_a_message() -> None:
    client = Client()
    async with upgrading(client) as (connection, acceptance):
        acceptance.headers["Sec-WebSocket-Extensions"] = "permessage-deflate"  # nobody asked for it
        connection.bytes_received(acceptance.serialize(), 1, 2, 0)
        connection.bytes_received(text(b"early"), 3, 4, 0)
    assert client.messages == []


async def test_messages_arrive_in_order_with_kernel_timestamps() -> None:
    async def handler(connection: ServerConnection) -> None:
        for number in range(100):
            await connection.send(f"message {number}")

    client = Client()
    before = time.time_ns()
    async with websocket_server(handler) as port:
        connection = await client.connect(port)
        await connection.closed
    assert client.messages == [f"message {n}".encode() for n in range(100)]
    for timestamp_ns, read_ns in client.timestamps:
        assert before < timestamp_ns <= read_ns
    assert connection.reads_without_timestamp == 0


async def test_a_timestamp_does_not_contain_the_programs_own_delay() -> None:
    """The kernel timestamps a frame when it comes, however late the program reads it."""
    late_sec = 0.05

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)  # the client's ping: it is connected and idle
        writer.write(text(b"first"))
        time.sleep(late_sec)  # noqa: ASYNC251 - keeps the one event loop of both sides busy
        await reader.read()

    client = Client()
    async with scripted_server(script) as port:
        connection = await client.connect(port)
        connection.ping()
        await client.heard.wait()
        connection.abort(ReconnectReason.SCHEDULE, "enough")
    ((timestamp_ns, read_ns),) = client.timestamps
    assert read_ns - timestamp_ns >= late_sec * 1e9


async def test_phases_are_reported_in_order() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    client = Client()
    async with websocket_server(handler) as port:
        connection = await client.connect(port)
        await connection.close()
    assert client.steps == [ConnectStep.DNS, ConnectStep.TCP, ConnectStep.UPGRADE]


async def test_extra_headers_are_sent() -> None:
    seen: list[str | None] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request.headers.get("X-Test"))
        seen.append(connection.request.headers.get("Sec-WebSocket-Extensions"))

    async with websocket_server(handler) as port:
        connection = await Client().connect(port)
        await connection.closed
    assert seen == ["yes", None]


async def test_binary_messages_are_marked() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(b"\x00\x01")
        await connection.send("text")

    client = Client()
    async with websocket_server(handler) as port:
        await (await client.connect(port)).closed
    assert client.binary == [True, False]


async def test_server_pings_are_answered_with_their_payload() -> None:
    answered = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await (await connection.ping(b"1672515782136"))
        answered.set()

    async with websocket_server(handler) as port:
        await (await Client().connect(port)).closed
    assert answered.is_set()


async def test_own_ping_reports_its_round_trip() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    client = Client()
    async with websocket_server(handler) as port:
        connection = await client.connect(port)
        started = time.monotonic()
        connection.ping()
        rtt_sec = await client.rtts.get()
        assert 0 < rtt_sec <= time.monotonic() - started
        await connection.close()


async def test_a_clock_set_between_ping_and_pong_does_not_change_the_round_trip() -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(6 + 8)  # the masked ping
        asked.set()
        await may_answer.wait()
        writer.write(text((1).to_bytes(8, "big"), opcode=Opcode.PONG))
        await reader.read(1)

    client = Client()
    async with scripted_server(script) as port:
        connection = await client.connect(port)
        started = time.monotonic()
        with pytest.MonkeyPatch.context() as clock:
            clock.setattr(time, "time_ns", lambda: 0)
            connection.ping()
        await asked.wait()
        may_answer.set()
        rtt_sec = await client.rtts.get()
        assert 0 < rtt_sec <= time.monotonic() - started
        await connection.close()


async def test_fragments_are_joined_around_a_ping() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text(b"one ", fin=False))
        writer.write(text(b"p", opcode=Opcode.PING))
        writer.write(text(b"two ", fin=False, opcode=Opcode.CONT))
        writer.write(text(b"three", opcode=Opcode.CONT))
        await reader.read(1)

    client = Client()
    async with scripted_server(script) as port:
        connection = await client.connect(port)
        await connection.closed
    assert client.messages == [b"one two three"]


async def test_frames_cut_into_single_bytes_are_put_together() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in text(b"slowly"):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    client = Client()
    async with scripted_server(script) as port:
        await (await client.connect(port)).closed
    assert client.messages == [b"slowly"]


async def test_many_frames_in_one_segment_are_all_delivered() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(text(b"%d" % n) for n in range(5000)))

    client = Client()
    async with scripted_server(script) as port:
        await (await client.connect(port)).closed
    assert client.messages == [b"%d" % n for n in range(5000)]


async def test_closing_in_good_order_keeps_what_was_on_its_way() -> None:
    asked_to_close = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)  # the client's close frame
        writer.write(text(b"last words"))
        writer.write(text(b"\x03\xe8", opcode=Opcode.CLOSE))
        asked_to_close.set()

    client = Client()
    async with scripted_server(script) as port:
        connection = await client.connect(port)
        await connection.close()
    assert asked_to_close.is_set()
    assert client.messages == [b"last words"]


@pytest.mark.parametrize("code", [1000, 1001, 1006 + 5, 1012, 1013, 4000])
async def test_a_close_by_the_server_is_named_with_its_code(code: int) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.close(code, "why not")

    async with websocket_server(handler) as port:
        closed = await (await Client().connect(port)).closed
    assert closed.reason is ReconnectReason.SERVER_CLOSE
    assert str(code) in closed.detail


async def test_a_hang_up_without_a_close_frame_is_a_lost_connection() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text(b"cut here")[:5])

    async with scripted_server(script) as port:
        closed = await (await Client().connect(port)).closed
    assert closed.reason is ReconnectReason.CONNECTION_LOST


async def test_a_reset_is_a_lost_connection() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with scripted_server(script) as port:
        closed = await (await Client().connect(port)).closed
    assert closed.reason is ReconnectReason.CONNECTION_LOST


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff",  # reserved bits
        text(b"lonely", opcode=Opcode.CONT),
        Frame(Opcode.TEXT, b"masked").serialize(mask=True),
        b"\x81\x7f" + (2**40).to_bytes(8, "big"),  # larger than any message may be
        text(b"\xff\xff\xff\xff", opcode=Opcode.CLOSE),  # a reason that is not UTF-8
    ],
    ids=["reserved bits", "lone continuation", "masked", "huge", "bad close"],
)
async def test_bytes_that_break_the_protocol_end_the_connection(data: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await reader.read(1000)

    async with scripted_server(script) as port:
        closed = await (await Client().connect(port)).closed
    assert closed.reason is ReconnectReason.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (text(b"\x03\xe8", opcode=Opcode.CLOSE), ReconnectReason.SERVER_CLOSE),
        (b"\xff\xff\xff", ReconnectReason.PROTOCOL_ERROR),
    ],
    ids=["close frame", "violation"],
)
async def test_an_end_does_not_wait_for_a_server_that_does_not_hang_up(
    data: bytes, reason: ReconnectReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latency_sweep.probe.net.websocket.CLOSE_TIMEOUT_SEC", 3600.0)
    answered: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        answered.append(await reader.read())  # until the client hangs up

    async with scripted_server(script) as port:
        closed = await (await Client().connect(port)).closed
    assert closed.reason is reason
    assert answered[0][:1] == b"\x88"  # its close frame came first


async def test_messages_before_a_fault_are_kept() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text(b"good") + b"\xff\xff\xff")
        await reader.read(1000)

    client = Client()
    async with scripted_server(script) as port:
        await (await client.connect(port)).closed
    assert client.messages == [b"good"]


async def test_a_refused_port_fails_the_tcp_phase(refusing: socket.socket) -> None:
    with pytest.raises(ConnectFailed, match="tcp: ") as caught:
        await Client().connect(refusing.getsockname()[1])
    assert caught.value.kind is ErrorKind.CONNECT_FAILED


async def refused_upgrade(status: int, retry_after: str) -> ConnectFailed:
    async def handler(_: ServerConnection) -> None: ...

    headers = Headers({"Retry-After": retry_after, "Content-Length": "2", "Connection": "close"})
    reject = Response(status, "No", headers, b"no")
    async with websocket_server(handler, reject) as port:
        with pytest.raises(ConnectFailed, match=str(status)) as caught:
            await Client().connect(port)
    return caught.value


@pytest.mark.parametrize("status", [401, 403, 418, 429, 451, 503])
async def test_a_rejected_upgrade_says_its_status(status: int) -> None:
    failure = await refused_upgrade(status, "7")
    assert failure.step is ConnectStep.UPGRADE
    assert failure.retry_after_sec == 7.0


@pytest.mark.parametrize("digits", ["259201", "9" * 400])
async def test_a_longer_wait_than_the_longest_ban_is_not_kept(digits: str) -> None:
    assert (await refused_upgrade(418, digits)).retry_after_sec == 3 * 24 * 3600


async def test_a_wait_that_is_no_number_is_left_out() -> None:
    assert (await refused_upgrade(503, "Mon, 1 Jan 2029 00:00:00 GMT")).retry_after_sec is None


async def test_a_rejected_upgrade_says_the_beginning_of_the_reason_in_one_line() -> None:
    async def handler(_: ServerConnection) -> None: ...

    body = b'{"code":-2015,\r\n"msg":"Invalid \x1b[31mAPI-key"}' + b"x" * 5000
    headers = Headers({"Content-Length": str(len(body)), "Connection": "close"})
    async with websocket_server(handler, Response(403, "No", headers, body)) as port:
        with pytest.raises(ConnectFailed) as caught:
            await Client().connect(port)
    said = str(caught.value)
    assert 'HTTP 403: {"code":-2015, "msg":"Invalid [31mAPI-key"}xxx' in said
    assert len(said) < 400


@pytest.mark.parametrize("reply", [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b""])
async def test_a_server_that_is_no_websocket_fails_the_upgrade(reply: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)

    async with raw_server(handle) as port:
        with pytest.raises(ConnectFailed) as caught:
            await Client().connect(port)
    assert caught.value.step is ConnectStep.UPGRADE


REPEATED = [
    b"Retry-After: 5",
    b"Server: x",
    b"Content-Length: 0",
    b"Connection: close",
    b"Transfer-Encoding: chunked",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Accept: x",
    b"Location: /",
]


@pytest.mark.parametrize("status", [b"101", b"429", b"302"])
@pytest.mark.parametrize(
    "header", REPEATED, ids=[each.split(b":")[0].decode() for each in REPEATED]
)
async def test_an_answer_that_repeats_a_header_is_a_rejection_and_no_fault_of_the_program(
    status: bytes, header: bytes
) -> None:
    answer = b"HTTP/1.1 " + status + b" x\r\n" + (header + b"\r\n") * 2 + b"\r\n"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.write_eof()

    async with raw_server(handle) as port:
        with pytest.raises(ConnectFailed) as caught:
            await Client().connect(port)
    assert caught.value.kind is ErrorKind.UPGRADE_REJECTED


@pytest.mark.parametrize(
    ("waits", "pause_sec"),
    [(["5", "60"], 60.0), (["60", "5"], 60.0), (["soon", "7"], 7.0), (["soon", ""], None)],
)
async def test_of_several_waits_the_longest_counts(
    waits: list[str], pause_sec: float | None
) -> None:
    async def handler(_: ServerConnection) -> None: ...

    headers = Headers({"Content-Length": "2", "Connection": "close"})
    for wait in waits:
        headers["Retry-After"] = wait
    async with websocket_server(handler, Response(429, "No", headers, b"no")) as port:
        with pytest.raises(ConnectFailed) as caught:
            await Client().connect(port)
    assert caught.value.retry_after_sec == pause_sec


async def test_an_acceptance_may_repeat_headers_that_do_not_matter() -> None:
    client = Client()
    async with upgrading(client) as (connection, acceptance):
        for name in ("Server", "Retry-After", "Date"):
            acceptance.headers[name] = "1"
            acceptance.headers[name] = "2"
        connection.bytes_received(acceptance.serialize() + text(b"first"), 1, 2, 0)
    assert client.messages == [b"first"]


async def test_a_server_that_never_answers_times_out() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(handle) as port:
        with pytest.raises(ConnectFailed, match="no answer within"):
            await Client().connect(port, timeout_sec=0.05)


async def test_an_unknown_name_fails_the_dns_phase() -> None:
    client = Client()
    with pytest.raises(ConnectFailed) as caught:
        await connect(
            "ws://name.invalid/",
            headers={},
            tls=None,
            record=client.record,
            on_rtt=client.rtts.put_nowait,
            on_step=lambda *_: None,
        )
    assert caught.value.step is ConnectStep.DNS
