"""Whatever goes wrong while a stream is opened is a failure to connect, and leaves nothing open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from latency_sweep.contract.metrics import ConnectStep
from latency_sweep.lab.local.tls import make_certificates
from latency_sweep.probe.net import timestamped_socket, transport
from latency_sweep.probe.net.errors import ConnectFailed
from latency_sweep.probe.net.receiving import Receiving, Timestamps
from latency_sweep.probe.net.transport import open_transport
from latency_sweep.probe.net.websocket import WebSocketConnection, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from latency_sweep.probe.net.racing import AddressInfo


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def open_websocket(
    port: int,
    on_step: Callable[[ConnectStep, float], None] = lambda *_: None,
    tls: ssl.SSLContext | None = None,
    messages: list[bytes] | None = None,
) -> WebSocketConnection:
    received = [] if messages is None else messages
    return await connect(
        f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/stream",
        headers={},
        tls=tls,
        record=lambda payloads, *_: received.extend(payloads),
        on_rtt=lambda _: None,
        on_step=on_step,
    )


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


async def test_a_reset_right_after_connecting_is_a_failure_to_connect(
    listener: socket.socket,
) -> None:
    def on_step(step: ConnectStep, _: float) -> None:
        if step is ConnectStep.TCP:
            reset(listener.accept()[0])

    with pytest.raises(ConnectFailed, match=r"upgrade: .*(reset by peer|Broken pipe)"):
        await open_websocket(listener.getsockname()[1], on_step)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_reset_right_after_the_handshake_is_a_failure_to_connect(
    version: ssl.TLSVersion, listener: socket.socket, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    context.minimum_version = context.maximum_version = version
    context.num_tickets = 0  # nothing more to come after the handshake

    def shake_hands_and_reset() -> None:
        peer, _ = listener.accept()
        reset(context.wrap_socket(peer, server_side=True))

    server = threading.Thread(target=shake_hands_and_reset)

    def on_step(step: ConnectStep, _: float) -> None:
        if step is ConnectStep.TLS:
            server.join()

    server.start()
    try:
        # With TLS 1.2 the server has the last word, which the reset may overtake.
        with pytest.raises(ConnectFailed, match=r"(tls|upgrade): .*(reset by peer|Broken pipe)"):
            await open_websocket(
                listener.getsockname()[1],
                on_step,
                ssl.create_default_context(cafile=certificates.ca),
            )
    finally:
        server.join()


async def test_a_reset_in_place_of_an_answer_is_named() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        with pytest.raises(ConnectFailed, match=r"upgrade: .*reset by peer"):
            await open_websocket(server.sockets[0].getsockname()[1])


async def test_what_was_received_before_a_fault_of_tls_is_kept(
    listener: socket.socket, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    words = [Frame(Opcode.TEXT, word).serialize(mask=False) for word in (b"last", b"words")]
    with contextlib.ExitStack() as stack:

        def upgrade_and_break() -> None:
            peer = stack.enter_context(listener.accept()[0])
            raw = stack.enter_context(peer.dup())
            shaken = stack.enter_context(context.wrap_socket(peer, server_side=True))
            protocol = ServerProtocol()
            protocol.receive_data(shaken.recv(4096))
            (request,) = protocol.events_received()
            assert isinstance(request, Request)
            shaken.sendall(protocol.accept(request).serialize())
            shaken.recv(4096)  # the client's ping: it reads no more until this thread has ended
            for word in words:
                shaken.sendall(word)
            raw.sendall(b"no record of TLS")

        server = threading.Thread(target=upgrade_and_break)
        server.start()
        messages: list[bytes] = []
        try:
            connection = await open_websocket(
                listener.getsockname()[1],
                tls=ssl.create_default_context(cafile=certificates.ca),
                messages=messages,
            )
            connection.ping()
        finally:
            server.join()
        closed = await connection.closed
    assert messages == [b"last", b"words"]
    assert "[SSL: " in closed.detail


async def test_a_host_that_cannot_be_a_name_is_a_failure_to_connect(
    listener: socket.socket,
) -> None:
    with pytest.raises(ConnectFailed) as caught:
        await open_transport(
            ".",
            listener.getsockname()[1],
            address="127.0.0.1",
            tls=ssl.create_default_context(),
            timeout_sec=10,
            on_step=lambda *_: None,
        )
    assert caught.value.step is ConnectStep.TLS


async def test_a_card_that_cannot_be_asked_is_a_failure_to_connect(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[socket.socket] = []

    def ask(sock: socket.socket) -> None:
        asked.append(sock)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(transport, "NicTimestamps", ask)
    with pytest.raises(ConnectFailed, match=r"tcp: .*Too many open files"):
        await open_transport(
            "127.0.0.1",
            listener.getsockname()[1],
            address=None,
            tls=None,
            timeout_sec=10,
            on_step=lambda *_: None,
            receiving=Receiving(Timestamps.NIC),
        )
    assert asked[0].fileno() == -1


async def test_an_address_that_never_answers_leaves_time_for_the_others(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.socket())
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        # The one place in its queue is taken: whoever comes next gets no answer.
        stack.enter_context(socket.create_connection(silent.getsockname()))

        async def resolve(_: str, __: int) -> list[AddressInfo]:
            kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
            return [(*kind, silent.getsockname()), *[(*kind, listener.getsockname())] * 9]

        monkeypatch.setattr(transport, "resolve", resolve)
        opened = await open_transport(
            "exchange.test",
            1,
            address=None,
            tls=None,
            timeout_sec=10,
            on_step=lambda *_: None,
        )
        opened.close()
    assert opened.remote_address == "127.0.0.1"


async def test_what_waited_for_an_overtaken_segment_is_timestamped_late_and_never_early(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's timestamp is of the segment that had come before the missing one."""
    link = await open_transport(
        "127.0.0.1",
        listener.getsockname()[1],
        address=None,
        tls=None,
        timeout_sec=5.0,
        on_step=lambda *_: None,
    )
    early_ns = time.time_ns() - 200_000_000
    got: asyncio.Future[tuple[int, int, int]] = asyncio.get_running_loop().create_future()

    class Receiver:
        def bytes_received(
            self, _: bytes, timestamp_ns: int, read_ns: int, error_ns: int, /
        ) -> None:
            if not got.done():
                got.set_result((timestamp_ns, read_ns, error_ns))

        def stream_ended(self, error: Exception | None) -> None:
            pass

        def failed(self, error: Exception) -> None:
            got.set_exception(error)

    receive = timestamped_socket.receive

    def overtaken(*args: Any) -> tuple[int, int | None, int]:
        size, _, read_ns = receive(*args)
        return size, early_ns, read_ns

    monkeypatch.setattr(timestamped_socket, "receive", overtaken)
    peer, _ = listener.accept()
    with peer:
        link.start(Receiver())
        peer.sendall(b"x")
        timestamp_ns, read_ns, error_ns = await asyncio.wait_for(got, 5.0)
    link.close()
    assert timestamp_ns == read_ns
    assert error_ns == read_ns - early_ns
