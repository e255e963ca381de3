"""Listening on any address, and going on when the system has nothing left."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

import pytest

from latency_sweep.probe.http import listener
from latency_sweep.probe.http.limits import EndpointLimits
from latency_sweep.probe.http.listener import Listener, is_loopback
from latency_sweep.probe.http.policy import LivePolicy
from latency_sweep.runtime.logs import TextFormatter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


@pytest.fixture
async def listening() -> AsyncIterator[Listener]:
    made = Listener(Echo, LivePolicy(None, None), EndpointLimits(), lambda _: None)
    yield made
    await made.stop_accepting()
    await made.wait_closed()


async def greeting(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_it_listens_on_a_name_or_address(listening: Listener, host: str) -> None:
    port = await listening.start(host, 0)
    assert await greeting(host, port) == b"hello"


@pytest.mark.parametrize("host", ["::", "0::0", ""])
async def test_all_addresses_are_those_of_both_families(listening: Listener, host: str) -> None:
    port = await listening.start(host, 0)
    assert [await greeting(client, port) for client in ("127.0.0.1", "::1")] == [b"hello"] * 2


async def test_any_ipv4_address_is_no_address_of_ipv6(listening: Listener) -> None:
    port = await listening.start("0.0.0.0", 0)
    assert await greeting("127.0.0.1", port) == b"hello"
    with pytest.raises(ConnectionRefusedError):
        await greeting("::1", port)


async def test_a_port_in_use_is_an_error_that_leaves_nothing_open(listening: Listener) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="Address already in use"),
    ):
        await listening.start("127.0.0.1", taken.getsockname()[1])
    assert await listening.start("127.0.0.1", 0)


async def test_out_of_descriptors_is_said_once_and_passes(
    listening: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "_EXHAUSTED_PAUSE_SEC", 0)
    caplog.handler.setFormatter(TextFormatter())
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, iter(range(3))

    async def sometimes(sock: socket.socket) -> tuple[socket.socket, object]:
        if next(failures, None) is not None:
            raise OSError(errno.EMFILE, "Too many open files")
        return await accept(sock)

    monkeypatch.setattr(loop, "sock_accept", sometimes)
    port = await listening.start("127.0.0.1", 0)
    assert await greeting("127.0.0.1", port) == b"hello"
    assert caplog.text.count("Too many open files") == 1


async def test_a_connection_that_comes_at_the_very_end_is_closed(listening: Listener) -> None:
    port = await listening.start("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", port)) as client:
        while not listening._opening:
            await asyncio.sleep(0)
        await listening.wait_closed()  # before the task's first step
        client.settimeout(10)
        assert client.recv(1) == b""


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("example.org", False),
    ],
)
def test_only_loopback_is_loopback(host: str, expected: object) -> None:
    assert is_loopback(host) is expected
