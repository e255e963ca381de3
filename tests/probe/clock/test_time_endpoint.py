"""Requests to the time endpoint, against a real HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from probe.clock.exchange import TimeEndpointError
from probe.clock.time_endpoint import fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Serve = Callable[[web.Response], Awaitable[tuple[str, list[str]]]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve one answer; returns its URL and the time units that requests asked for."""
    runners: list[web.AppRunner] = []

    async def start(response: web.Response) -> tuple[str, list[str]]:
        units: list[str] = []

        async def answer(request: web.Request) -> web.Response:
            units.append(request.headers.get("X-MBX-TIME-UNIT", ""))
            return response

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
    assert await fetch(http, url) == b'{"serverTime":1}'
    assert units == ["MICROSECOND"]


async def test_a_rate_limit_says_how_long_to_wait(
    http: aiohttp.ClientSession, serve: Serve
) -> None:
    url, _ = await serve(web.Response(status=429, headers={"Retry-After": "30"}))
    with pytest.raises(TimeEndpointError, match="answered 429") as caught:
        await fetch(http, url)
    assert caught.value.retry_after_sec == 30


async def test_a_date_to_wait_for_is_left_to_the_caller(
    http: aiohttp.ClientSession, serve: Serve
) -> None:
    url, _ = await serve(web.Response(status=503, headers={"Retry-After": "Mon, 1 Jan 2029"}))
    with pytest.raises(TimeEndpointError) as caught:
        await fetch(http, url)
    assert caught.value.retry_after_sec is None


async def test_no_server_is_an_error_that_names_the_address(http: aiohttp.ClientSession) -> None:
    with pytest.raises(TimeEndpointError, match=r"127\.0\.0\.1:1/time: "):
        await fetch(http, "http://127.0.0.1:1/time")
