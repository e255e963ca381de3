"""Addresses are raced, and those that failed come last."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract.metrics import ConnectStep
from latency_sweep.probe.net import racing, transport
from latency_sweep.probe.net.errors import ConnectFailed
from latency_sweep.probe.net.racing import (
    ATTEMPT_DELAY_SEC,
    FAILURE_REMEMBERED_SEC,
    AddressHistory,
    race,
)
from latency_sweep.probe.net.receiving import Receiving, Timestamps
from latency_sweep.probe.net.websocket import connect
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latency_sweep.probe.net.racing import AddressInfo, ConnectedSocket

LOG = logs.logger(__name__)


def info(address: str, port: int = 1) -> AddressInfo:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    place = (address, port, 0, 0) if ":" in address else (address, port)
    return family, socket.SOCK_STREAM, 0, "", place


def texts(infos: list[AddressInfo]) -> list[str]:
    return [each[4][0] for each in infos]


@pytest.fixture
def live() -> Iterator[int]:
    """The port of a server on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def silent(address: str, port: int) -> Iterator[None]:
    """Let an address answer no attempt: the one place in its queue is taken."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(0)
        stack.enter_context(socket.create_connection((address, port)))
        yield


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


async def run(
    addresses: list[AddressInfo],
    history: AddressHistory | None = None,
    receiving: Receiving = Receiving(),  # noqa: B008 - frozen
) -> ConnectedSocket:
    return await race(addresses, receiving, history or AddressHistory(), LOG)


def test_families_alternate_from_that_of_the_first() -> None:
    mixed = [info("::1"), info("::2"), info("::3"), info("127.0.0.1"), info("127.0.0.2")]
    expected = ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]
    assert texts(AddressHistory().order(mixed)) == expected


def test_what_failed_comes_last_until_it_is_forgotten() -> None:
    now = [0.0]
    history = AddressHistory(lambda: now[0])
    addresses = [info(f"127.0.0.{number}") for number in (1, 2, 3)]
    history.failed("127.0.0.1")
    now[0] = 1.0
    history.failed("127.0.0.2")
    assert texts(history.order(addresses)) == ["127.0.0.3", "127.0.0.1", "127.0.0.2"]
    now[0] = FAILURE_REMEMBERED_SEC + 0.5
    assert texts(history.order(addresses)) == ["127.0.0.1", "127.0.0.3", "127.0.0.2"]


def test_the_history_is_bounded() -> None:
    history = AddressHistory()
    for number in range(3000):
        history.failed(str(number))
    assert len(history._failed_at) <= 1024


async def test_addresses_that_do_not_answer_delay_the_next_by_a_quarter_of_a_second(
    live: int,
) -> None:
    dead = ["127.1.0.1", "127.1.0.2", "127.1.0.3"]
    history = AddressHistory()
    addresses = [*[info(address, live) for address in dead], info("127.0.0.1", live)]
    with contextlib.ExitStack() as stack:
        for address in dead:
            stack.enter_context(silent(address, live))
        open_before = descriptors()
        started = time.monotonic()
        link = await run(addresses, history)
        took_sec = time.monotonic() - started
        assert link.remote_address == "127.0.0.1"
        link.close()
        assert len(descriptors() - open_before) <= 2  # the loop's own
    assert 3 * ATTEMPT_DELAY_SEC <= took_sec < 3 * ATTEMPT_DELAY_SEC + 1.0
    assert texts(history.order(addresses)) == ["127.0.0.1", *dead]


async def test_a_refused_attempt_starts_the_next_at_once(live: int) -> None:
    addresses = [info(f"127.2.0.{number}", live) for number in range(1, 20)]
    started = time.monotonic()
    link = await run([*addresses, info("127.0.0.1", live)])
    link.close()
    assert time.monotonic() - started < ATTEMPT_DELAY_SEC


async def test_a_family_that_this_host_lacks_is_passed_over(live: int) -> None:
    unknown = (socket.AddressFamily.AF_X25, socket.SOCK_STREAM, 0, "", ("nowhere", 1))
    link = await run([unknown, info("127.0.0.1", live)])
    link.close()
    assert link.remote_address == "127.0.0.1"


async def test_all_refused_is_the_last_ones_error(live: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        await run([info("127.2.0.1", live), info("127.2.0.2", live)])


async def test_no_address_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        await run([])


async def test_a_cancelled_race_leaves_nothing_open(live: int) -> None:
    history = AddressHistory()
    addresses = [info("127.1.0.1", live), info("127.1.0.2", live)]
    with silent("127.1.0.1", live), silent("127.1.0.2", live):
        open_before = descriptors()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):
                await run(addresses, history)
        assert len(descriptors() - open_before) <= 2
    untried = info("127.0.0.1", live)
    assert texts(history.order([*addresses, untried]))[0] == "127.0.0.1"


async def test_of_two_that_connect_together_one_stays(
    live: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, both = racing._attempt, asyncio.Barrier(2)
    links: list[ConnectedSocket] = []

    async def attempt_together(address: AddressInfo, receiving: Receiving) -> ConnectedSocket:
        link = await attempt(address, receiving)
        links.append(link)
        await both.wait()
        return link

    monkeypatch.setattr(racing, "_attempt", attempt_together)
    winner = await run([info("127.0.0.1", live)] * 2)
    assert [link.sock.fileno() >= 0 for link in links].count(True) == 1
    winner.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="packet capture needs CAP_NET_RAW")
async def test_each_attempt_has_a_capture_of_its_own_and_only_one_stays(live: int) -> None:
    with silent("127.1.0.1", live):
        open_before = descriptors()
        link = await run(
            [info("127.1.0.1", live), info("127.0.0.1", live)],
            receiving=Receiving(Timestamps.CAPTURE),
        )
        assert link.capture is not None
        assert link.capture.proves_itself()  # it saw the answer to our SYN
        link.close()
        assert len(descriptors() - open_before) <= 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
        (b"\x00\x00\x12\x04\x00\x00\x00", "not HTTP"),  # HTTP/2 settings
        (b"x", "not HTTP"),
        (b"\x15\x03\x03\x00\x02\x02\x0a", "speaks TLS"),
        (b"HTTP/1.0 200 OK\r\n", "not valid HTTP"),
        (b"HTTP/1.1 abc\r\n", "not valid HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nno colon\r\n\r\n", "not valid HTTP"),
    ],
)
async def test_an_answer_that_is_not_http_fails_at_once_and_the_next_address_is_first(
    answer: bytes, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        held.append(writer)  # the server says nothing more and does not close

    history = AddressHistory()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def resolve(_: str, __: int) -> list[AddressInfo]:
        return [info("127.0.0.1", port), info("127.0.0.2", port)]

    monkeypatch.setattr(transport, "resolve", resolve)
    started = time.monotonic()
    async with server:
        with pytest.raises(ConnectFailed, match=says) as caught:
            await connect(
                f"ws://exchange.test:{port}/stream",
                headers={},
                tls=None,
                record=lambda *_: None,
                on_rtt=lambda _: None,
                on_step=lambda *_: None,
                history=history,
            )
        for writer in held:
            writer.close()
    assert time.monotonic() - started < 2.0
    assert caught.value.step is ConnectStep.UPGRADE
    assert texts(history.order(await resolve("", 0)))[0] == "127.0.0.2"


async def test_a_failed_negotiation_of_tls_makes_the_next_address_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    history = AddressHistory()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def resolve(_: str, __: int) -> list[AddressInfo]:
        return [info("127.0.0.1", port), info("127.0.0.2", port)]

    monkeypatch.setattr(transport, "resolve", resolve)
    async with server:
        with pytest.raises(ConnectFailed):
            await connect(
                f"wss://exchange.test:{port}/stream",
                headers={},
                tls=ssl.create_default_context(),
                record=lambda *_: None,
                on_rtt=lambda _: None,
                on_step=lambda *_: None,
                history=history,
            )
    assert texts(history.order(await resolve("", 0)))[0] == "127.0.0.2"
