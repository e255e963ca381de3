"""USD-M futures: routes, milliseconds, and books checked by the previous id."""

from __future__ import annotations

import json
from typing import Any

import pytest

from latency_sweep.probe.feeds.base import Event, FeedConfigError, Ids
from latency_sweep.probe.feeds.binance_usdm import make_feeds
from latency_sweep.probe.measurement.sequence import SequenceCheck

FEED = make_feeds("wss://x.test", ["BTCUSDT"], ["trade", "bookTicker", "depth@0ms"])[0]


def decode(stream: str, data: dict[str, Any]) -> Event:
    frame = json.dumps({"stream": f"btcusdt@{stream}", "data": data}).encode()
    event = FEED.decode(frame, binary=False)
    assert isinstance(event, Event)
    return event


def depth(previous_id: int, last_id: int) -> dict[str, Any]:
    return {
        "e": "depthUpdate",
        "E": 1680652800016,
        "T": 1680652800009,
        "s": "BTCUSDT",
        "U": previous_id + 100,  # says nothing on futures
        "u": last_id,
        "pu": previous_id,
        "b": [],
        "a": [],
        "st": 1,
    }


def test_book_ticker_has_both_times_in_milliseconds() -> None:
    event = decode(
        "bookTicker",
        {"e": "bookTicker", "u": 7, "s": "BTCUSDT", "T": 1680652800089, "E": 1680652800093},
    )
    assert event.event_ns == 1680652800093 * 10**6
    assert event.trade_ns == 1680652800089 * 10**6
    assert event.channel.ids is Ids.NONE


def test_trade() -> None:
    event = decode(
        "trade",
        {"e": "trade", "E": 1680652807006, "T": 1680652804962, "t": 3535188229, "X": "MARKET"},
    )
    assert (event.first_id, event.last_id) == (3535188229, 3535188229)
    assert event.trade_ns == 1680652804962 * 10**6


def test_a_book_is_whole_when_each_message_names_the_one_before() -> None:
    check = SequenceCheck(per_id=False)
    for previous_id, last_id in ((10, 20), (20, 35), (35, 36)):
        event = decode("depth@0ms", depth(previous_id, last_id))
        check.see(event.first_id, event.last_id, 0)
    assert check.gaps == 0
    event = decode("depth@0ms", depth(40, 50))
    check.see(event.first_id, event.last_id, 0)
    assert check.gaps == 1


def test_each_route_has_a_connection_of_its_own() -> None:
    public, market = make_feeds("wss://x.test/", ["BTCUSDT"], ["aggTrade", "trade"])
    assert public.url == "wss://x.test/public/stream?streams=btcusdt@trade"
    assert market.url == "wss://x.test/market/stream?streams=btcusdt@aggTrade"


def test_only_the_routes_needed_are_opened() -> None:
    (feed,) = make_feeds("wss://x.test", ["BTCUSDT"], ["aggTrade"])
    assert "/market/" in feed.url


def test_an_unknown_stream_is_named_with_all_known_ones() -> None:
    with pytest.raises(FeedConfigError, match=r"'kline_1m' is not known for usdm.*aggTrade"):
        make_feeds("wss://x.test", ["BTCUSDT"], ["kline_1m"])
