"""Fuzzed handshakes of the probe: the answer to an upgrade, and TLS in memory buffers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from latency_sweep.contract.metrics import ReconnectReason
from latency_sweep.lab.local.tls import make_certificates
from latency_sweep.probe.net.errors import LONGEST_BAN_SEC, ConnectFailed
from latency_sweep.probe.net.limits import LimitExceededError
from latency_sweep.probe.net.transport import Transport, _Tls
from latency_sweep.probe.net.websocket import MAX_MESSAGE_BYTES, WebSocketConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of the example in RFC 6455, section 1.3: the server's answer to it is known.
_KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT: Final = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
_MAX_CUTS: Final = 8
_SENT: Final = b"what the server sends " * 40
_CHANGE_BYTES: Final = 3
# A changed length can make each side wait for the other: the server ends after this time.
_STARVED_SEC: Final = 0.05


class _Wire:
    """A transport on which nothing is sent."""

    remote_address = "192.0.2.1"

    def __init__(self) -> None:
        self.closed = False

    def start(self, _: object) -> None:
        """Nothing is received but what the input says."""

    def write(self, _: bytes) -> None:
        """Nobody reads it."""

    def look(self) -> None:
        """There is nothing to see."""

    def close(self) -> None:
        """Note it."""
        self.closed = True


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def http_upgrade(data: bytes) -> None:
    """What a server sends from its status line on, however it is cut."""
    _loop().run_until_complete(_upgrade(list(_pieces(data))))


def _pieces(data: bytes) -> Iterator[bytes]:
    """The first bytes say where the rest is cut."""
    count = data[0] % _MAX_CUTS if data else 0
    stream = data[1 + count :]
    points = sorted(point * 3 for point in data[1 : 1 + count])
    for start, end in zip([0, *points], [*points, len(stream)], strict=True):
        yield stream[start:end]


async def _upgrade(pieces: list[bytes]) -> None:
    protocol = ClientProtocol(parse_uri("ws://feed.test/"), max_size=MAX_MESSAGE_BYTES)
    protocol.key = _KEY
    wire, messages = _Wire(), list[bytes]()
    connection = WebSocketConnection(
        cast("Transport", wire),
        protocol,
        lambda frames, *_: messages.extend(frames),
        lambda _: None,
    )
    upgrade = asyncio.create_task(connection.upgrade({}, timeout_sec=60))
    await asyncio.sleep(0)
    try:
        for piece in pieces:
            if not wire.closed:
                connection.bytes_received(piece, 1, 2, 0)
        if not wire.closed:
            connection.stream_ended(None)
    except LimitExceededError as error:
        connection.failed(error)
    (refused,) = await asyncio.gather(upgrade, return_exceptions=True)
    if refused is not None:
        assert isinstance(refused, ConnectFailed), refused
        assert not messages
        assert 0 <= (refused.retry_after_sec or 0) <= LONGEST_BAN_SEC
        connection.abort(ReconnectReason.CONNECTION_LOST, "refused")
    assert connection.closed.done()
    assert wire.closed


@cache
def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    with tempfile.TemporaryDirectory() as folder:
        files = make_certificates(Path(folder))
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(files.cert, files.key)
        return ssl.create_default_context(cafile=files.ca), server


def tls_bytes(data: bytes) -> None:
    """Any bytes in place of a server's side of TLS, and then its end."""
    _loop().run_until_complete(_answer_with(data))


async def _answer_with(data: bytes) -> None:
    client, server = _sockets()
    with client, server:
        server.send(data)
        server.shutdown(socket.SHUT_WR)
        with suppress(ssl.SSLError, OSError):
            await _Tls(_contexts()[0], "localhost").handshake(client)
            raise AssertionError("a handshake without a server")


def tls_changed(data: bytes) -> None:
    """A real server's bytes, of which three bytes of the input change one each.

    What is decrypted is what the server sent, or less, and never anything else.
    """
    _loop().run_until_complete(_change(data))


async def _change(data: bytes) -> None:
    changes = {
        int.from_bytes(data[at : at + 2], "big"): data[at + 2]
        for at in range(0, len(data) - _CHANGE_BYTES + 1, _CHANGE_BYTES)
    }
    trusting, serving = _contexts()
    client, server = _sockets()
    with client, server:
        tls = _Tls(trusting, "localhost")
        other = asyncio.create_task(_serve(server, serving, changes))
        try:
            await tls.handshake(client)
        except (ssl.SSLError, OSError):
            client.close()
            await other
            return
        received, ended = b"", False
        while not ended:
            encrypted = await _loop().sock_recv(client, 65536)
            plain, ended, error = tls.decrypt(encrypted)
            received += plain
            assert error is None or isinstance(error, ssl.SSLError)
            ended = ended or not encrypted
        assert _SENT.startswith(received)
        client.close()
        await other


async def _serve(sock: socket.socket, context: ssl.SSLContext, changes: dict[int, int]) -> None:
    """Negotiate and send; every byte is changed by exclusive or with what is given for it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    sent = 0

    async def flush() -> None:
        nonlocal sent
        out = bytearray(outgoing.read())
        for at in range(len(out)):
            out[at] ^= changes.get(sent + at, 0)
        sent += len(out)
        await _loop().sock_sendall(sock, out)

    with suppress(OSError):  # ssl.SSLError too: the client's alert
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await flush()
                async with asyncio.timeout(_STARVED_SEC):  # its end is an OSError too
                    data = await _loop().sock_recv(sock, 65536)
                if not data:
                    return
                incoming.write(data)
        tls.write(_SENT)
        await flush()
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


def _sockets() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    for sock in pair:
        sock.setblocking(False)
    return pair
