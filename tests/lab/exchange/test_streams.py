"""What a client sees on a real TLS connection: shapes, units, sequences, times."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.lab.exchange.clients import Running, documents, drain

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Run = Callable[..., AbstractAsyncContextManager[Running]]

ALL = "btcusdt@trade/btcusdt@aggTrade/btcusdt@depth@100ms/btcusdt@bookTicker"


async def test_trade_has_exactly_binance_s_keys_and_types(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws/btcusdt@trade") as client:
        (trade,) = await documents(client, 1)
    assert list(trade) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]
    assert (trade["e"], trade["s"], trade["M"]) == ("trade", "BTCUSDT", True)
    assert [type(trade[key]) for key in "EtpqTm"] == [int, int, str, str, int, bool]


async def test_aggregate_trade_has_exactly_binance_s_keys(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws/btcusdt@aggTrade") as client:
        (trade,) = await documents(client, 1)
    assert list(trade) == ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"]


async def test_depth_update_has_exactly_binance_s_keys(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws/btcusdt@depth@100ms") as client:
        (update,) = await documents(client, 1)
    assert list(update) == ["e", "E", "s", "U", "u", "b", "a"]
    assert update["e"] == "depthUpdate"
    assert all(isinstance(text, str) for level in update["b"] + update["a"] for text in level)


async def test_book_ticker_has_no_time_at_all(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws/btcusdt@bookTicker") as client:
        (ticker,) = await documents(client, 1)
    assert list(ticker) == ["u", "s", "b", "B", "a", "A"]


async def test_combined_streams_are_wrapped_with_their_names(run: Run) -> None:
    async with run() as exchange, exchange.connect(f"/stream?streams={ALL}") as client:
        messages = await documents(client, 100)
    assert {message["stream"] for message in messages} <= set(ALL.split("/"))
    assert all(list(message) == ["stream", "data"] for message in messages)


async def test_one_raw_path_can_name_several_streams(run: Run) -> None:
    async with run() as exchange, exchange.connect(f"/ws/{ALL}") as client:
        kinds = {message.get("e", "bookTicker") for message in await documents(client, 200)}
    assert kinds == {"trade", "aggTrade", "depthUpdate", "bookTicker"}


@pytest.mark.parametrize(
    ("query", "digits"),
    [
        ("", 13),
        ("?timeUnit=MILLISECOND", 13),
        ("?timeUnit=MICROSECOND", 16),
        ("?timeUnit=microsecond", 16),
    ],
)
async def test_the_url_sets_the_unit_of_every_time(run: Run, query: str, digits: int) -> None:
    async with run() as exchange, exchange.connect(f"/ws/btcusdt@trade{query}") as client:
        (trade,) = await documents(client, 1)
    assert [len(str(trade[key])) for key in "ET"] == [digits, digits]


async def test_an_unknown_time_unit_is_rejected(run: Run) -> None:
    async with run() as exchange:
        with pytest.raises(InvalidStatus, match="400"):
            await exchange.connect("/ws/btcusdt@trade?timeUnit=NANOSECOND")


async def test_an_unknown_path_is_rejected(run: Run) -> None:
    async with run() as exchange:
        with pytest.raises(InvalidStatus, match="404"):
            await exchange.connect("/market/ws/btcusdt@trade")


async def test_an_unknown_stream_is_accepted_and_silent(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws/nosuch@trade/btcusdt@trade") as client:
        messages = await documents(client, 20)
    assert {message["s"] for message in messages} == {"BTCUSDT"}


async def test_more_streams_than_allowed_are_rejected(run: Run) -> None:
    async with run(limits={"streams": 2}) as exchange:
        with pytest.raises(InvalidStatus, match="400"):
            await exchange.connect("/stream?streams=a@trade/b@trade/c@trade")


async def test_compression_is_not_negotiated(run: Run) -> None:
    async with run() as exchange, exchange.connect("/ws", compression="deflate") as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


async def test_ids_are_consecutive_as_binance_s_are(run: Run) -> None:
    async with run() as exchange, exchange.connect(f"/stream?streams={ALL}") as client:
        messages = await documents(client, 400)
    data: dict[str, list[Any]] = {}
    for message in messages:
        data.setdefault(message["stream"].partition("@")[2], []).append(message["data"])
    assert all(b["t"] == a["t"] + 1 for a, b in pairwise(data["trade"]))
    assert all(b["a"] == a["a"] + 1 for a, b in pairwise(data["aggTrade"]))
    assert all(b["f"] == a["l"] + 1 for a, b in pairwise(data["aggTrade"]))
    assert all(b["U"] == a["u"] + 1 for a, b in pairwise(data["depth@100ms"]))
    assert all(b["u"] > a["u"] for a, b in pairwise(data["bookTicker"]))


async def test_event_time_follows_trade_time_and_never_steps_back(run: Run) -> None:
    target = "/ws/btcusdt@trade?timeUnit=MICROSECOND"
    async with run() as exchange, exchange.connect(target) as client:
        trades = await documents(client, 200)
    assert all(trade["T"] <= trade["E"] for trade in trades)
    assert all(a["E"] <= b["E"] for a, b in pairwise(trades))


async def test_all_sites_see_the_same_events(run: Run) -> None:
    target = "/ws/btcusdt@trade?timeUnit=MICROSECOND"
    sites = {"near": {}, "far": {"latency": {"distribution": "constant", "ms": 20}}}
    async with (
        run(sites=sites) as exchange,
        exchange.connect(target, "near") as near,
        exchange.connect(target, "far") as far,
    ):
        late = await documents(far, 100)
        # How many came before the second site was there depends on how long connecting took.
        early = await documents(near, 1)
        while early[-1]["t"] < late[-1]["t"]:
            early += await documents(near, 1)
    assert early[-len(late) :] == late


async def test_an_error_of_the_exchange_s_clock_shifts_event_and_trade_times(run: Run) -> None:
    async with run(clock_offset_ms=-3_600_000) as exchange:
        async with exchange.connect("/ws/btcusdt@trade") as client:
            (trade,) = await documents(client, 1)
        await exchange.control("flush")
        actual = exchange.ground_truth()
    now_ms = time.time_ns() // 1_000_000
    assert 3_500_000 < now_ms - trade["E"] < 3_700_000
    assert trade["E"] == actual["event_ns"].iloc[0] // 1_000_000 - 3_600_000
    assert actual.attrs["clock_offset_ns"] == -3_600_000_000_000


async def test_truth_lists_exactly_what_was_received(run: Run) -> None:
    sites = {
        "tokyo": {
            "latency": {"distribution": "lognormal", "median_ms": 2, "sigma": 1},
            "loss": {"trade": 0.2, "depth": 0.3},
            "duplicates": {"aggTrade": 0.1},
        }
    }
    async with (
        run(sites=sites) as exchange,
        exchange.connect(f"/stream?streams={ALL}&timeUnit=MICROSECOND") as client,
    ):
        received = await documents(client, 500)
        draining = asyncio.create_task(drain(client))
        await exchange.control("disconnect", code=1001)
        received += await draining
        await exchange.control("flush")
        actual = exchange.ground_truth()
    sent = actual[actual["outcome"].isin(["sent", "duplicate"])]
    assert [m["stream"] for m in received] == sent["stream"].tolist()
    assert [_last_id(m["data"]) for m in received] == sent["last_id"].tolist()
    timed = [m["data"].get("E") for m in received]
    expected = (sent["event_ns"] // 1_000).tolist()
    assert all(got in (None, want) for got, want in zip(timed, expected, strict=True))


async def test_scripted_loss_leaves_a_gap_for_every_dropped_message(run: Run) -> None:
    sites = {"tokyo": {"loss": {"trade": 0.2}}}
    async with run(sites=sites) as exchange:
        async with exchange.connect("/ws/btcusdt@trade") as client:
            trades = await documents(client, 200)
        await exchange.control("flush")
        actual = exchange.ground_truth()
    first, last = trades[0]["t"], trades[-1]["t"]
    dropped = actual[(actual["outcome"] == "dropped") & actual["last_id"].between(first, last)]
    missing = set(range(first, last + 1)) - {trade["t"] for trade in trades}
    assert missing == set(dropped["last_id"])
    assert missing


async def test_scripted_reordering_swaps_neighbours_of_one_stream(run: Run) -> None:
    sites = {"tokyo": {"reordering": {"*": 0.2}}}
    async with run(sites=sites) as exchange, exchange.connect("/ws/btcusdt@trade") as client:
        numbers = [trade["t"] for trade in await documents(client, 200)]
    steps = {b - a for a, b in pairwise(numbers)}
    assert -1 in steps
    assert set(numbers[:-1]) <= set(range(min(numbers), max(numbers) + 1))
    assert len(set(numbers)) == len(numbers)


async def test_no_message_leaves_before_its_latency_has_passed(run: Run) -> None:
    sites = {"tokyo": {"latency": {"distribution": "constant", "ms": 30}}}
    async with run(sites=sites) as exchange:
        async with exchange.connect(f"/stream?streams={ALL}") as client:
            await documents(client, 200)
        await exchange.control("flush")
        actual = exchange.ground_truth()
    sent = actual[actual["outcome"] == "sent"]
    assert (sent["send_ns"] - sent["event_ns"]).min() >= 30_000_000
    assert sent["send_ns"].is_monotonic_increasing


async def test_frames_arrive_after_their_send_timestamp(run: Run) -> None:
    async with run() as exchange:
        received: dict[int, int] = {}
        async with exchange.connect("/ws/btcusdt@trade") as client:
            for _ in range(100):
                number = json.loads(await client.recv())["t"]
                received[number] = time.time_ns()
        await exchange.control("flush")
        actual = exchange.ground_truth()
    timestamps = dict(zip(actual["last_id"].tolist(), actual["send_ns"].tolist(), strict=True))
    assert all(timestamps[number] <= moment for number, moment in received.items())


def _last_id(data: dict[str, Any]) -> int:
    key = {"trade": "t", "aggTrade": "a"}.get(data.get("e", ""), "u")
    number: int = data[key]
    return number
