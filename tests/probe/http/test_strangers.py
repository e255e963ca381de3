"""Strangers cannot take what authenticated clients need."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
import pytest

from latency_sweep.contract.metrics import RejectionReason
from latency_sweep.probe.http import password_check
from latency_sweep.probe.http.limits import EndpointLimits
from latency_sweep.runtime.logs import TextFormatter
from tests.probe.http.conftest import HASH, PASSWORD, TOKEN
from tests.probe.http.test_access_control import basic, bearer, closed, tls, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.probe.http.conftest import Keys, OpenDoor
    from tests.probe.http.test_access_control import OpenIt

STRANGERS = ("127.0.0.2", "127.0.0.3")
HEALTH = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
SCRAPE = (f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n").encode()
BOMB = gzip.compress(bytes(50_000_000))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


async def connect(
    door: OpenDoor, address: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port, local_addr=(address, 0))
    door.streams.push_async_callback(door._close, writer)
    return reader, writer


async def scrape(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(SCRAPE)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(5)
    return head


async def test_two_that_hold_256_connections_do_not_keep_out_who_authenticates(
    open_endpoint: OpenIt, token_file: Path
) -> None:
    async with open_endpoint(None, token_file) as door:
        for address in STRANGERS:
            for _ in range(128):
                await connect(door, address)
        for _ in range(5):
            assert (await door.get(headers=bearer(TOKEN)))[0] == 200


async def test_the_connection_of_who_has_authenticated_never_gives_way(
    open_endpoint: OpenIt, token_file: Path
) -> None:
    limits = EndpointLimits(connections=4, reserved=2, connections_per_client=3)
    async with open_endpoint(None, token_file, limits) as door:
        streams = await connect(door, "127.0.0.1")
        assert b" 200 " in await scrape(*streams)
        held = [await connect(door, address) for address in ("127.0.0.1", *STRANGERS) * 4]
        assert b" 200 " in await scrape(*streams)
        gone = asyncio.gather(*(closed(reader) for reader, _ in held[:-2]))
        assert await gone == [b""] * (len(held) - 2)


async def test_who_holds_most_gives_way_first(open_endpoint: OpenIt, token_file: Path) -> None:
    limits = EndpointLimits(connections=6, reserved=1)
    async with open_endpoint(None, token_file, limits) as door:
        lone = await connect(door, STRANGERS[0])
        for _ in range(8):
            await connect(door, STRANGERS[1])
        await door.refusals.wait_for(RejectionReason.CONNECTIONS, 4)
        assert b" 200 " in await scrape(*lone)


async def test_a_handshake_that_does_not_come_gives_way_too(
    open_endpoint: OpenIt, web_file: Path, token_file: Path, keys: Keys
) -> None:
    write(web_file, tls(keys))
    limits = EndpointLimits(connections=4, reserved=1)
    async with open_endpoint(web_file, token_file, limits) as door:
        held = [await connect(door, STRANGERS[0]) for _ in range(10)]
        assert (await door.get(headers=bearer(TOKEN)))[0] == 200
        await asyncio.gather(*(closed(reader) for reader, _ in held[:6]))


async def test_only_who_has_authenticated_may_be_idle_for_long(
    open_endpoint: OpenIt, token_file: Path
) -> None:
    async with open_endpoint(None, token_file, EndpointLimits(stranger_idle_sec=0.3)) as door:
        known, stranger = await door.connect(), await door.connect()
        assert b" 200 " in await scrape(*known)
        stranger[1].write(HEALTH)
        assert b" 200 " in await closed(stranger[0])
        assert b" 200 " in await scrape(*known)
        assert not door.refusals.counts


async def test_rejected_requests_take_none_of_those_of_who_authenticates(
    open_endpoint: OpenIt, web_file: Path, token_file: Path
) -> None:
    write(web_file, {"rate_limit": {"interval": "1h", "burst": 3}})
    limits = EndpointLimits(rejected_sec=0.01)
    async with open_endpoint(web_file, token_file, limits) as door:
        statuses = [(await door.get())[0] for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        statuses = [(await door.get(headers=bearer(TOKEN)))[0] for _ in range(4)]
        assert statuses == [200, 200, 200, 429]


async def test_a_right_password_gets_through_a_flood_of_wrong_ones_from_its_own_address(
    open_endpoint: OpenIt, web_file: Path
) -> None:
    write(web_file, {"basic_auth_users": {"prom": HASH}})
    async with open_endpoint(web_file, limits=EndpointLimits(new_per_sec=1e-3, burst=30)) as door:
        flood = [door.get(headers=basic("prom", f"guess {n}")) for n in range(12)]
        *wrong, right = await asyncio.gather(*flood, door.get(headers=basic("prom", PASSWORD)))
        assert [status for status, _, _ in wrong] == [401] * 12
        assert right[0] == 200


async def test_who_went_away_is_not_waited_for(
    open_endpoint: OpenIt, web_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(password: bytes, _: bytes) -> bool:
        compared.append(password)
        return password == PASSWORD.encode()

    monkeypatch.setattr(password_check, "_compare", compare)
    write(web_file, {"basic_auth_users": {"prom": HASH}})
    async with open_endpoint(web_file) as door:
        for number in range(20):
            _, writer = await door.connect()
            login = basic("prom", f"guess {number}")["Authorization"]
            writer.write(f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\n\r\n".encode())
            writer.close()
        # Until their ends are noticed, they fill the queue of the one address that all have here.
        while (await door.get(headers=basic("prom", PASSWORD)))[0] != 200:
            pass


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(BOMB), BOMB),
        b"Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nno gz",
        b"Transfer-Encoding: chunked\r\n\r\nno size\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Content-Length: 99999999999999\r\n\r\nx",
    ],
    ids=["bomb", "chunks", "no gzip", "no chunk", "coding", "long"],
)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "later"])
async def test_a_body_is_neither_inflated_nor_read(
    open_endpoint: OpenIt,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    body: bytes,
    cut: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    received: list[bytes] = []
    receive = aiohttp.web.RequestHandler.data_received

    def data_received(self: aiohttp.web.RequestHandler, data: bytes) -> None:
        received.append(data)
        receive(self, data)

    monkeypatch.setattr(aiohttp.web.RequestHandler, "data_received", data_received)
    head, _, rest = body.partition(b"\r\n\r\n")
    head = b"POST /metrics HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n"
    async with open_endpoint() as door:
        reader, writer = await door.connect()
        writer.write(head if cut else head + rest)
        if cut:
            await asyncio.sleep(0.05)
            writer.write(rest)
        answer = await closed(reader)
    assert answer.split(b" ")[1] in {b"413", b"400"}
    assert b"".join(received) == head
    assert not any(record.exc_info for record in caplog.records)


NASTY = [
    b"\r\n" * 100 + b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%ff%00%zz?%=%&classic=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics?classic=%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: \xff\xfe:99999999\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic \xff\xfe==\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization:\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nExpect: nonsense\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\0\1",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET * HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /metrics HTTP/1.0\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nAccept: ;;;q=nan,\xff\r\nAccept-Encoding: gzip;q=inf\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nCookie: " + b"a=b;" * 1000 + b"\r\nRange: bytes=9-1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    b"\0" * 200 + b"\r\n\r\n",
]


@pytest.mark.parametrize("protected", [False, True], ids=["open", "protected"])
async def test_nothing_a_stranger_sends_puts_a_traceback_into_the_log(
    open_endpoint: OpenIt,
    token_file: Path,
    caplog: pytest.LogCaptureFixture,
    protected: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(TextFormatter())
    async with open_endpoint(None, token_file if protected else None) as door:
        for request in NASTY:
            for end in ("wait", "finish", "reset"):
                reader, writer = await door.connect()
                writer.write(request)
                if end == "finish":
                    writer.write_eof()
                if end == "reset":
                    await asyncio.sleep(0.005)
                    writer.transport.abort()
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await closed(reader)
        assert (await door.get(headers=bearer(TOKEN)))[0] == 200
    assert not any(record.exc_info for record in caplog.records)
    assert "Traceback" not in caplog.text


async def test_nothing_a_stranger_sends_to_tls_puts_a_traceback_into_the_log(
    open_endpoint: OpenIt, web_file: Path, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    write(web_file, tls(keys))
    caplog.set_level(logging.INFO)
    context = keys.client_context()
    async with open_endpoint(web_file) as door:
        for noise in (b"", b"\x16\x03\x01", bytes(100), b"\x15\x03\x01\x00\x02\x02\x28", *NASTY):
            _, writer = await door.connect()
            writer.write(noise)
            writer.close()
        for noise in (bytes(100), b"\x17\x03\x03\x00\x05hello", b"\x15\x03\x03\x00\x02\x01\x00"):
            # Past the handshake the stranger's bytes are not TLS any more.
            with socket.create_connection(("127.0.0.1", door.port)) as plain:
                wrapped = await asyncio.to_thread(
                    context.wrap_socket,
                    plain,
                    server_hostname="127.0.0.1",
                    suppress_ragged_eofs=True,
                )
                raw = socket.socket(fileno=wrapped.detach())
                raw.sendall(noise)
                raw.settimeout(2)
                with suppress(OSError):
                    await asyncio.to_thread(raw.recv, 1000)
                raw.close()
        assert (await door.get())[0] == 200
    assert not any(record.exc_info for record in caplog.records)
    assert "Traceback" not in caplog.text


async def test_what_the_server_cannot_read_ends_that_connection_only(
    open_endpoint: OpenIt, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = aiohttp.web.RequestHandler.data_received

    def data_received(self: aiohttp.web.RequestHandler, data: bytes) -> None:
        if b"raise" in data:
            raise ZeroDivisionError
        receive(self, data)

    monkeypatch.setattr(aiohttp.web.RequestHandler, "data_received", data_received)
    async with open_endpoint() as door:
        reader, writer = await door.connect()
        writer.write(b"GET /raise HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await closed(reader) == b""
        await door.refusals.wait_for(RejectionReason.MALFORMED)
        assert (await door.get())[0] == 200
    assert re.findall("a request could not be read", caplog.text)
    assert not any(record.exc_info for record in caplog.records)


async def test_more_than_a_heads_length_ahead_of_its_turn_is_not_kept(
    open_endpoint: OpenIt,
) -> None:
    async with open_endpoint() as door:
        reader, writer = await door.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)
        # It is closed with bytes unread, so that even the first answer may be lost on its way.
        assert (await closed(reader)).count(b"HTTP/1.1 200") <= 1
        assert (await door.get())[0] == 200
        assert not door.refusals.counts


async def test_requests_in_one_piece_are_answered_one_after_the_other(
    open_endpoint: OpenIt,
) -> None:
    one = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with open_endpoint() as door:
        reader, writer = await door.connect()
        whole = one * 19 + last
        for at in range(0, len(whole), 50):
            writer.write(whole[at : at + 50])
            await asyncio.sleep(0)
        answers = await closed(reader)
        assert answers.count(b"HTTP/1.1 200") == 20
        reader, writer = await door.connect()
        writer.write(b"\r\n\r\n" + whole)
        assert (await closed(reader)).count(b"HTTP/1.1 200") == 20
