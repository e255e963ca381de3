"""An end that the kernel knows of is noticed, and what came before it is received."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from latency_sweep.contract.metrics import ConnectStep, ReconnectReason
from latency_sweep.lab.local.tls import Certificates, make_certificates
from latency_sweep.probe.net.errors import ConnectFailed
from latency_sweep.probe.net.loop import Loop
from latency_sweep.probe.net.websocket import WebSocketConnection, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latency_sweep.probe.net.errors import Closed

WORDS = [b"last words %d" % number for number in range(3)]
# More than a turn of the reader takes, less than the buffers of both sockets.
MANY_WORDS = [b"%09d" % number * 100 for number in range(1200)]


def frames(words: list[bytes]) -> bytes:
    return b"".join(Frame(Opcode.TEXT, word).serialize(mask=False) for word in words)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def reset_with_data(sock: socket.socket) -> None:
    sock.sendall(frames(WORDS))
    reset(sock)


def end_with_data(sock: socket.socket) -> None:
    sock.sendall(frames(WORDS))
    sock.close()


def half_close_with_data(sock: socket.socket) -> None:
    sock.sendall(frames(WORDS))
    sock.shutdown(socket.SHUT_WR)
    HALF_CLOSED.append(sock)


HALF_CLOSED: list[socket.socket] = []
ENDS = [reset_with_data, end_with_data, half_close_with_data]


@pytest.fixture(autouse=True)
def _half_closed() -> Iterator[None]:
    yield
    for sock in HALF_CLOSED:
        sock.close()
    HALF_CLOSED.clear()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


class Server:
    """Upgrades one connection, in a thread, and ends it when told to; then the thread ends."""

    def __init__(
        self, end: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None
    ) -> None:
        self._end = end
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._may_end = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._may_end.set()
        self._thread.join()
        self._listener.close()

    def end(self) -> None:
        """End the connection; returns when that is done."""
        self._may_end.set()
        self._thread.join()

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True)
        protocol = ServerProtocol()
        protocol.receive_data(sock.recv(65536))
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        sock.sendall(protocol.accept(request).serialize())
        self._may_end.wait()
        self._end(sock)


def server_context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    return context


async def open_connection(
    port: int, tls: ssl.SSLContext | None, messages: list[bytes]
) -> WebSocketConnection:
    return await connect(
        f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/",
        headers={},
        tls=tls,
        record=lambda payloads, *_: messages.extend(payloads),
        on_rtt=lambda _: None,
        on_step=lambda *_: None,
    )


async def look_and_wait(connection: WebSocketConnection) -> Closed:
    """As the supervisor does."""
    async with asyncio.timeout(20):
        while not connection.closed.done():
            await asyncio.sleep(0.05)
            connection.look()
    return connection.closed.result()


@pytest.mark.parametrize("pings", [False, True], ids=["idle", "ping"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("loop", [Loop, asyncio.SelectorEventLoop])
def test_an_end_that_comes_with_data_is_noticed_after_the_data(
    loop: Callable[[], asyncio.AbstractEventLoop],
    encrypted: bool,  # noqa: FBT001 - pytest passes it by name
    end: Callable[[socket.socket], None],
    pings: bool,  # noqa: FBT001 - pytest passes it by name
    certificates: Certificates,
) -> None:
    messages: list[bytes] = []

    async def take_part() -> Closed:
        tls = ssl.create_default_context(cafile=certificates.ca) if encrypted else None
        connection = await open_connection(server.port, tls, messages)
        await asyncio.sleep(0.05)  # what came with the upgrade has been read
        server.end()  # the loop stands still: data and end come together
        time.sleep(0.02)  # noqa: ASYNC251 - and have come when it goes on
        if pings:
            connection.ping()
        return await look_and_wait(connection)

    context = server_context(certificates) if encrypted else None
    with Server(end, context) as server, asyncio.Runner(loop_factory=loop) as runner:
        closed = runner.run(take_part())
    assert messages == WORDS
    assert closed.reason is ReconnectReason.CONNECTION_LOST


@pytest.mark.parametrize("loop", [Loop, asyncio.SelectorEventLoop])
def test_a_reset_behind_more_than_one_turn_takes_is_noticed_after_all_of_it(
    loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latency_sweep.probe.net.transport._READS_PER_TURN", 2)
    messages: list[bytes] = []

    def end(sock: socket.socket) -> None:
        sock.sendall(frames(MANY_WORDS))
        reset(sock)

    async def take_part() -> None:
        connection = await open_connection(server.port, None, messages)
        connection._transport._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        server.end()
        time.sleep(0.1)  # noqa: ASYNC251 - as above
        await look_and_wait(connection)

    with Server(end) as server, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(take_part())
    # A reset takes back what the server's kernel had not sent yet.
    assert messages == MANY_WORDS[: len(messages)]
    assert len(messages) > len(WORDS)


@pytest.mark.parametrize("loop", [Loop, asyncio.SelectorEventLoop])
def test_a_reset_that_comes_with_a_part_of_the_answer_is_noticed_while_connecting(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    def serve() -> None:
        sock, _ = listener.accept()
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
        reset(sock)

    def answer_and_reset() -> None:
        server.start()
        server.join()  # the loop stands still: data and end come together
        time.sleep(0.02)  # and have come when it goes on

    def on_step(step: ConnectStep, _: float) -> None:
        if step is ConnectStep.TCP:  # the request is sent before the loop's next turn
            asyncio.get_running_loop().call_soon(answer_and_reset)

    async def take_part() -> float:
        began = time.monotonic()
        with pytest.raises(ConnectFailed, match="upgrade: "):
            await connect(
                f"ws://127.0.0.1:{listener.getsockname()[1]}/",
                headers={},
                tls=None,
                record=lambda *_: None,
                on_rtt=lambda _: None,
                on_step=on_step,
            )
        return time.monotonic() - began

    server = threading.Thread(target=serve)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        asyncio.Runner(loop_factory=loop) as runner,
    ):
        assert runner.run(take_part()) < 5
