"""The REST time endpoint and the control interface."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.lab.exchange.clients import Running

    Run = Callable[..., AbstractAsyncContextManager[Running]]


async def get(exchange: Running, path: str, **headers: str) -> Any:
    url = exchange.addresses["rest"] + path
    async with exchange.http.get(url, ssl=exchange.tls, headers=headers) as response:
        return await response.json()


async def test_server_time_is_in_milliseconds(run: Run) -> None:
    async with run() as exchange:
        before = time.time_ns() // 1_000_000
        answer = await get(exchange, "/api/v3/time")
        assert before <= answer["serverTime"] <= time.time_ns() // 1_000_000


async def test_server_time_is_in_microseconds_on_request(run: Run) -> None:
    async with run() as exchange:
        before = time.time_ns() // 1_000
        answer = await get(exchange, "/api/v3/time", **{"X-MBX-TIME-UNIT": "MICROSECOND"})
        assert before <= answer["serverTime"] <= time.time_ns() // 1_000


async def test_server_time_carries_the_clock_s_error(run: Run) -> None:
    async with run(clock_offset_ms=3_600_000) as exchange:
        before = time.time_ns() // 1_000_000
        answer = await get(exchange, "/api/v3/time")
        after = time.time_ns() // 1_000_000
        assert before <= answer["serverTime"] - 3_600_000 <= after


async def test_the_rest_interface_answers_pings(run: Run) -> None:
    async with run() as exchange:
        assert await get(exchange, "/api/v3/ping") == {}


async def test_stats_count_messages_and_list_streams(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws/btcusdt@trade") as client:
        await client.recv()
        stats = await exchange.stats()
    assert stats["connections"] == 1
    assert stats["streams"] == ["btcusdt@trade"]
    assert stats["messages"]["sent"] >= 1


@pytest.mark.parametrize(
    ("action", "parameters", "fault"),
    [
        ("flush", {"site": "paris"}, "there is no site 'paris'; choose one of: tokyo"),
        ("stall", {"mode": "loud"}, "mode: Input should be 'hold' or 'drop'"),
        ("disconnect", {"nonsense": 1}, "nonsense: Extra inputs are not permitted"),
        ("disconnect", {"code": 1}, "code: Input should be greater than or equal to 1000"),
    ],
)
async def test_a_mistaken_command_is_answered_with_a_sentence(
    run: Run, action: str, parameters: dict[str, object], fault: str
) -> None:
    async with run() as exchange:
        assert await exchange.control(action, **parameters) == {"error": fault}
