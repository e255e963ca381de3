"""A server that asks for another TLS handshake gets none, and can do no harm with it."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.utils import accept_key

from latency_sweep.contract.metrics import ReconnectReason
from latency_sweep.lab.local.tls import make_certificates
from tests.probe.net.test_noticing import look_and_wait, open_connection

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from pathlib import Path

    from latency_sweep.probe.net.websocket import WebSocketConnection

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

# What `openssl s_server` takes as a command if it comes first in what it reads.
RENEGOTIATE = b"r\n"


def write(server: Process, data: bytes) -> None:
    assert server.stdin is not None
    server.stdin.write(data)


@asynccontextmanager
async def connected(
    folder: Path, options: ssl.Options, messages: list[bytes]
) -> AsyncIterator[tuple[Process, WebSocketConnection]]:
    """A connection by TLS 1.2 to a server that sends what its standard input has."""
    certificates = make_certificates(folder)
    server = await asyncio.create_subprocess_exec(
        *("openssl", "s_server", "-accept", "127.0.0.1:0", "-tls1_2"),
        *("-cert", certificates.cert, "-key", certificates.key),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert server.stdout is not None
    try:
        line = b""
        while not (listening := re.match(rb"ACCEPT .*:(\d+)", line)):
            line = await server.stdout.readline()
            assert line
        context = ssl.create_default_context(cafile=certificates.ca)
        context.options |= options
        port = int(listening.group(1))
        opening = asyncio.create_task(open_connection(port, context, messages))
        while not (key := re.match(rb"Sec-WebSocket-Key: (\S+)", line)):
            line = await server.stdout.readline()
            assert line
        accept = accept_key(key.group(1).decode())
        answer = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        write(server, answer.encode())
        connection = await opening
        yield server, connection
        connection.abort(ReconnectReason.SCHEDULE, "enough")
    finally:
        server.kill()
        await server.communicate()


async def test_a_renegotiation_is_refused_and_a_server_that_insists_is_lost(
    tmp_path: Path,
) -> None:
    """OpenSSL's server does; others may go on without."""
    async with connected(tmp_path, ssl.OP_NO_RENEGOTIATION, []) as (server, connection):
        write(server, RENEGOTIATE)
        async with asyncio.timeout(20):
            closed = await connection.closed
    assert closed.reason is ReconnectReason.CONNECTION_LOST
    assert "handshake failure" in closed.detail


async def test_a_renegotiation_that_meets_a_ping_raises_nothing(tmp_path: Path) -> None:
    """Where it is not refused, what is to be sent meanwhile cannot be encrypted."""
    async with connected(tmp_path, ssl.Options(0), []) as (server, connection):
        write(server, RENEGOTIATE)
        for _ in range(10):
            await asyncio.sleep(0.02)
            connection.ping()
        connection.abort(ReconnectReason.SCHEDULE, "enough")
        closed = await look_and_wait(connection)
    assert closed.reason in {ReconnectReason.CONNECTION_LOST, ReconnectReason.SCHEDULE}


async def test_what_cannot_be_encrypted_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encrypt(_: object, __: bytes) -> bytes:
        raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "renegotiating")

    options = ssl.OP_NO_RENEGOTIATION
    async with connected(tmp_path, options, []) as (_, connection):
        monkeypatch.setattr("latency_sweep.probe.net.transport._Tls.encrypt", encrypt)
        connection.ping()
        async with asyncio.timeout(20):
            closed = await connection.closed
    assert closed.reason is ReconnectReason.CONNECTION_LOST
    assert "renegotiating" in closed.detail
