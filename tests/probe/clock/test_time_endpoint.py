"""Requests to the time endpoint, against a real HTTP server."""

from __future__ import annotations

import asyncio
import gzip
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.clock import time_endpoint
from latency_sweep.probe.clock.exchange import TimeEndpointError
from latency_sweep.probe.clock.time_endpoint import TimeEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import aiohttp

    Serve = Callable[[web.Response], Awaitable[tuple[str, list[str]]]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with time_endpoint.session() as session:
        yield session


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve one answer; returns its URL and the time units that requests asked for."""
    runners: list[web.AppRunner] = []

    async def start(response: web.Response) -> tuple[str, list[str]]:
        units: list[str] = []

        async def answer(request: web.Request) -> web.Response:
            units.append(request.headers.get("X-MBX-TIME-UNIT", ""))
            # A response can be sent once.
            return web.Response(
                body=response.body, status=response.status, headers=response.headers
            )

        application = web.Application()
        application.router.add_get("/time", answer)
        runner = web.AppRunner(application)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/time", units

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_microseconds_are_asked_for(http: aiohttp.ClientSession, serve: Serve) -> None:
    url, units = await serve(web.Response(text='{"serverTime":1}'))
    assert await TimeEndpoint(http, url).fetch() == b'{"serverTime":1}'
    assert units == ["MICROSECOND"]


async def test_a_rate_limit_says_how_long_to_wait(
    http: aiohttp.ClientSession, serve: Serve
) -> None:
    url, _ = await serve(web.Response(status=429, headers={"Retry-After": "30"}))
    with pytest.raises(TimeEndpointError, match="answered 429") as caught:
        await TimeEndpoint(http, url).fetch()
    assert caught.value.retry_after_sec == 30


async def test_a_date_to_wait_for_is_left_to_the_caller(
    http: aiohttp.ClientSession, serve: Serve
) -> None:
    url, _ = await serve(web.Response(status=503, headers={"Retry-After": "Mon, 1 Jan 2029"}))
    with pytest.raises(TimeEndpointError) as caught:
        await TimeEndpoint(http, url).fetch()
    assert caught.value.retry_after_sec is None


async def test_no_server_is_an_error_that_names_the_address(http: aiohttp.ClientSession) -> None:
    with pytest.raises(TimeEndpointError, match=r"127\.0\.0\.1:1/time: "):
        await TimeEndpoint(http, "http://127.0.0.1:1/time").fetch()


@pytest.mark.parametrize(("status", "pause_sec"), [(429, 60), (418, 120), (503, None)])
async def test_a_refusal_that_names_no_time_is_given_the_usual_one(
    http: aiohttp.ClientSession, serve: Serve, status: int, pause_sec: float | None
) -> None:
    url, _ = await serve(web.Response(status=status))
    with pytest.raises(TimeEndpointError) as caught:
        await TimeEndpoint(http, url).fetch()
    assert caught.value.retry_after_sec == pause_sec


async def test_an_address_that_has_used_half_of_its_weight_leaves_the_rest_of_the_minute_to_others(
    http: aiohttp.ClientSession, serve: Serve
) -> None:
    url, asked = await serve(web.Response(text="{}", headers={"X-MBX-USED-WEIGHT-1M": "1201"}))
    now = 600.0
    endpoint = TimeEndpoint(http, url, now=lambda: now)
    await endpoint.fetch()
    now = 645.0
    with pytest.raises(TimeEndpointError, match="more than 1200") as caught:
        await endpoint.fetch()
    assert (caught.value.retry_after_sec, len(asked)) == (15.0, 1)
    now = 660.0
    await endpoint.fetch()
    assert len(asked) == 2


async def test_a_clock_set_back_does_not_silence_the_probe(
    http: aiohttp.ClientSession, serve: Serve
) -> None:
    url, _ = await serve(web.Response(text="{}", headers={"X-MBX-USED-WEIGHT-1M": "6000"}))
    now = 600.0
    endpoint = TimeEndpoint(http, url, now=lambda: now)
    await endpoint.fetch()
    now = 0.0
    assert await endpoint.fetch() == b"{}"


async def test_an_answer_that_is_not_http_is_told_in_one_line_with_the_url_once(
    http: aiohttp.ClientSession,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/time"
        with pytest.raises(TimeEndpointError) as caught:
            await TimeEndpoint(http, url).fetch()
    complaint = str(caught.value)
    assert (complaint.count(url), complaint.count("\n")) == (1, 0)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"302 Found\r\nLocation: http://a..test/\r\nContent-Length: 0\r\n\r\n", "idna"),
        (b"200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", "gzip"),
    ],
    ids=["a redirection to no host", "a body that is not as it says"],
)
async def test_an_answer_that_cannot_be_followed_or_read_is_told_in_one_line(
    response: bytes, reason: str, http: aiohttp.ClientSession
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + response)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/time"
        with pytest.raises(TimeEndpointError, match=reason) as caught:
            await TimeEndpoint(http, url).fetch()
    assert "\n" not in str(caught.value)


@asynccontextmanager
async def answering(head: bytes, block: bytes = b"", pause_sec: float = 0.0) -> AsyncIterator[str]:
    """The URL of an endpoint that sends a head, and then a block again and again."""
    tasks: set[asyncio.Task[Any]] = set()
    transports: set[asyncio.WriteTransport] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        transports.add(writer.transport)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while block:
                writer.write(block)
                await writer.drain()
                await asyncio.sleep(pause_sec)
        writer.transport.abort()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/time"
        for transport in transports:
            transport.abort()
        await asyncio.gather(*tasks)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
RIGHT = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"serverTime":1}'


@pytest.mark.parametrize(
    ("head", "block", "kind"),
    [
        (CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n", ErrorKind.TIME_ENDPOINT_SIZE),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536, ErrorKind.TIME_ENDPOINT_SIZE),
        (
            b"HTTP/1.1 429 No\r\nContent-Length: 999999999999999\r\n\r\n",
            b" " * 65536,
            ErrorKind.TIME_ENDPOINT_SIZE,
        ),
        (b"", EARLY_HINTS, ErrorKind.TIME_ENDPOINT_INFORMATIONAL),
        (b"", EARLY_HINTS * 1000, ErrorKind.TIME_ENDPOINT_INFORMATIONAL),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", ErrorKind.TIME_ENDPOINT_INFORMATIONAL),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 65536, ErrorKind.TIME_ENDPOINT_SIZE),
        (CHUNKED, b"0" * 65536, ErrorKind.TIME_ENDPOINT_SIZE),
        (CHUNKED + b"0\r\n", b"X: y\r\n" * 1000, ErrorKind.TIME_ENDPOINT),
    ],
    ids=[
        "chunks",
        "no length",
        "length",
        "103",
        "many 103",
        "100",
        "header",
        "chunk size",
        "trailers",
    ],
)
async def test_an_answer_without_end_is_ended_and_counted(
    http: aiohttp.ClientSession, head: bytes, block: bytes, kind: ErrorKind
) -> None:
    began = time.monotonic()
    async with answering(head, block) as url:
        with pytest.raises(TimeEndpointError) as caught:
            await TimeEndpoint(http, url).fetch()
    assert caught.value.kind is kind
    assert time.monotonic() - began < time_endpoint.TIMEOUT_SEC
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "block"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        (CHUNKED, b"1\r\n \r\n"),
        (CHUNKED + b"0\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 302 Found\r\nLocation: /time\r\nContent-Length: 100000\r\n\r\n", b" "),
    ],
    ids=["status line", "header", "chunks", "trailers", "redirection"],
)
async def test_an_answer_that_drips_is_cut_off_at_the_deadline(
    http: aiohttp.ClientSession, head: bytes, block: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_endpoint, "TIMEOUT_SEC", 0.3)
    began = time.monotonic()
    async with answering(head, block, pause_sec=0.01) as url:
        with pytest.raises(TimeEndpointError):
            await TimeEndpoint(http, url).fetch()
    assert time.monotonic() - began < 3


async def test_a_few_informational_answers_are_allowed(http: aiohttp.ClientSession) -> None:
    async with answering(EARLY_HINTS * time_endpoint.MAX_INFORMATIONAL + RIGHT) as url:
        assert await TimeEndpoint(http, url).fetch() == b'{"serverTime":1}'


async def test_a_packed_answer_is_not_unpacked(http: aiohttp.ClientSession) -> None:
    body = gzip.compress(b" " * 10_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with answering(head + body) as url:
        with pytest.raises(TimeEndpointError, match="packed with 'gzip'"):
            await TimeEndpoint(http, url).fetch()


@pytest.mark.parametrize(
    ("status", "asked", "pause_sec"),
    [
        (429, "99999999999", 3600),
        (429, "9" * 400, 3600),
        (503, "3601", 3600),
        (418, "99999999999", 3 * 86_400),
    ],
)
async def test_a_pause_beyond_belief_is_capped_and_counted(
    http: aiohttp.ClientSession, serve: Serve, status: int, asked: str, pause_sec: float
) -> None:
    url, _ = await serve(web.Response(status=status, headers={"Retry-After": asked}))
    with pytest.raises(TimeEndpointError, match="asked again in") as caught:
        await TimeEndpoint(http, url).fetch()
    assert caught.value.retry_after_sec == pause_sec
    assert caught.value.kind is ErrorKind.TIME_ENDPOINT_RETRY_AFTER


async def test_a_ban_of_three_days_is_respected(http: aiohttp.ClientSession, serve: Serve) -> None:
    url, _ = await serve(web.Response(status=418, headers={"Retry-After": "259200"}))
    with pytest.raises(TimeEndpointError) as caught:
        await TimeEndpoint(http, url).fetch()
    assert caught.value.retry_after_sec == 259_200
    assert caught.value.kind is ErrorKind.TIME_ENDPOINT
