"""What a client sees of USD-M futures: routes, shapes, ids, times, limits."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.lab.exchange.clients import Running, ask, documents, drain_closed

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from websockets.asyncio.client import connect

    Run = Callable[..., AbstractAsyncContextManager[Running]]

MARKETS: dict[str, Any] = {"usdm": {}}
PUBLIC = ("bookTicker", "trade", "depth@0ms", "depth@100ms")


def usdm(exchange: Running, target: str) -> connect:
    return exchange.connect(target, market="usdm")


async def some(run: Run, stream: str, count: int, route: str = "public") -> list[dict[str, Any]]:
    async with (
        run(markets=MARKETS) as exchange,
        usdm(exchange, f"/{route}/ws/btcusdt@{stream}") as client,
    ):
        return await documents(client, count)


@pytest.mark.parametrize(
    ("route", "stream", "keys"),
    [
        ("public", "bookTicker", ["e", "u", "s", "b", "B", "a", "A", "T", "E"]),
        ("public", "depth@100ms", ["e", "E", "T", "s", "U", "u", "pu", "b", "a"]),
        ("public", "trade", ["e", "E", "T", "s", "t", "p", "q", "X", "m", "st"]),
        (
            "market",
            "aggTrade",
            ["e", "E", "a", "s", "p", "q", "nq", "f", "l", "T", "m"],
        ),
    ],
)
async def test_messages_have_the_keys_of_futures(
    run: Run, route: str, stream: str, keys: list[str]
) -> None:
    (message,) = await some(run, stream, 1, route)
    assert list(message) == keys
    assert len(str(message["E"])) == len(str(message["T"])) == 13
    assert message["T"] <= message["E"]


async def test_the_url_does_not_choose_the_unit_of_times(run: Run) -> None:
    (message,) = await some(run, "trade?timeUnit=MICROSECOND", 1)
    assert len(str(message["E"])) == 13


async def test_each_depth_update_names_the_end_of_the_one_before(run: Run) -> None:
    updates = await some(run, "depth@0ms", 40)
    assert all(b["pu"] == a["u"] for a, b in pairwise(updates))
    assert all(update["pu"] < update["U"] <= update["u"] for update in updates)
    by_the_rule_of_spot = sum(b["U"] == a["u"] + 1 for a, b in pairwise(updates))
    assert by_the_rule_of_spot < 4


async def test_aggregates_are_pushed_together_ten_times_a_second(run: Run) -> None:
    aggregates = await some(run, "aggTrade", 40, "market")
    assert all(b["a"] == a["a"] + 1 for a, b in pairwise(aggregates))
    assert all(b["f"] == a["l"] + 1 for a, b in pairwise(aggregates))
    pushes = sorted({aggregate["E"] for aggregate in aggregates})
    assert len(pushes) < len(aggregates)
    assert all(b - a >= 99 for a, b in pairwise(pushes))
    neighbours = pairwise((a["E"], a["p"], a["m"]) for a in aggregates)
    assert all(a != b for a, b in neighbours)


@pytest.mark.parametrize(
    ("route", "silent", "speaks"),
    [("public", "aggTrade", "trade"), ("market", "trade", "aggTrade")],
)
async def test_a_stream_on_the_wrong_route_is_acknowledged_and_silent(
    run: Run, route: str, silent: str, speaks: str
) -> None:
    async with run(markets=MARKETS) as exchange, usdm(exchange, f"/{route}/ws") as client:
        names = [f"btcusdt@{silent}", f"btcusdt@{speaks}"]
        request = {"method": "SUBSCRIBE", "params": names, "id": 1}
        assert await ask(client, request) == {"result": None, "id": 1}
        answer = await ask(client, {"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert answer == {"result": names, "id": 2}
        kinds = {message["e"] for message in await documents(client, 30)}
    assert kinds == {speaks}


@pytest.mark.parametrize("route", ["", "/private"])
async def test_other_routes_bring_no_market_data(run: Run, route: str) -> None:
    target = f"{route}/stream?streams=btcusdt@trade/btcusdt@aggTrade"
    async with (
        run(markets=MARKETS) as exchange,
        usdm(exchange, target) as silent,
        usdm(exchange, "/public/ws/btcusdt@trade") as speaking,
    ):
        await documents(speaking, 30)
        await exchange.control("send", text='{"marker":1}')
        assert await documents(silent, 1) == [{"marker": 1}]


async def test_an_unknown_route_is_rejected(run: Run) -> None:
    async with run(markets=MARKETS) as exchange:
        with pytest.raises(InvalidStatus, match="404"):
            await usdm(exchange, "/open/ws/btcusdt@trade")


async def test_ten_messages_a_second_are_allowed_and_no_more(run: Run) -> None:
    async with run(markets=MARKETS) as exchange, usdm(exchange, "/public/ws") as client:
        for number in range(11):
            await client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        answers = [answer["id"] for answer in await drain_closed(client)]
        assert answers == list(range(10))
        assert client.close_code == 1008


async def test_the_time_of_futures_is_in_milliseconds_whatever_is_asked(run: Run) -> None:
    async with run(markets=MARKETS) as exchange:
        before = time.time_ns() // 1_000_000
        async with exchange.http.get(
            exchange.addresses["time"]["usdm"],
            ssl=exchange.tls,
            headers={"X-MBX-TIME-UNIT": "MICROSECOND"},
        ) as response:
            answer = await response.json()
        assert before <= answer["serverTime"] <= time.time_ns() // 1_000_000
    assert exchange.addresses["time"]["usdm"].endswith("/fapi/v1/time")


async def test_markets_live_side_by_side_with_streams_of_equal_names(run: Run) -> None:
    async with (
        run(markets={"spot": {}, "usdm": {}}) as exchange,
        exchange.connect("/ws/btcusdt@trade") as spot,
        usdm(exchange, "/public/ws/btcusdt@trade") as futures,
    ):
        (one,) = await documents(spot, 1)
        (other,) = await documents(futures, 1)
        await exchange.control("disconnect", code=1000, market="usdm")
        await futures.wait_closed()
        assert await documents(spot, 5)
        await exchange.control("flush")
        ground_truth = exchange.ground_truth()
    assert ("X" in one, "X" in other) == (False, True)
    assert set(ground_truth["market"]) == {"spot", "usdm"}


async def test_a_market_can_refuse_connections_while_another_takes_them(run: Run) -> None:
    async with run(markets={"spot": {}, "usdm": {}}) as exchange:
        await exchange.control("refuse", market="usdm")
        with pytest.raises(InvalidStatus, match="503"):
            await usdm(exchange, "/public/ws")
        async with exchange.connect("/ws/btcusdt@trade") as client:
            assert await documents(client, 1)
        await exchange.control("resume", market="usdm")
        async with usdm(exchange, "/public/ws/btcusdt@trade") as client:
            assert await documents(client, 1)
