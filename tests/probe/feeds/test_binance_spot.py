"""Binance spot frames: what is read from them, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.feeds.base import Event, FeedConfigError, FrameError, Ids, Notice
from latency_sweep.probe.feeds.binance_spot import BinanceSpot

FEED = BinanceSpot(
    "wss://example.test:9443",
    ["BTCUSDT", "ETHUSDT"],
    ["trade", "aggTrade", "depth@100ms", "depth", "bookTicker"],
)
TRADE = {
    "e": "trade",
    "E": 1672515782136001,
    "s": "BTCUSDT",
    "t": 12345,
    "p": "0.001",
    "q": "100",
    "T": 1672515782135900,
    "m": True,
    "M": True,
}
DEPTH = {
    "e": "depthUpdate",
    "E": 1672515782136000,
    "s": "BTCUSDT",
    "U": 157,
    "u": 160,
    "b": [["0.0024", "10"]],
    "a": [["0.0026", "100"]],
}
BOOK_TICKER = {"u": 400900217, "s": "BTCUSDT", "b": "25.3", "B": "31.2", "a": "25.4", "A": "40.6"}


def frame(stream: str, data: object) -> bytes:
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


def decode(stream: str, data: object) -> Event:
    event = FEED.decode(frame(stream, data), binary=False)
    assert isinstance(event, Event)
    return event


def fault(payload: bytes, *, binary: bool = False) -> ErrorKind:
    with pytest.raises(FrameError) as caught:
        FEED.decode(payload, binary=binary)
    return caught.value.kind


def test_trade() -> None:
    event = decode("btcusdt@trade", TRADE)
    assert (event.channel.stream, event.channel.symbol) == ("trade", "BTCUSDT")
    assert (event.first_id, event.last_id) == (12345, 12345)
    assert event.event_ns == 1672515782136001000
    assert event.trade_ns == 1672515782135900000


def test_agg_trade() -> None:
    event = decode(
        "ethusdt@aggTrade", {**TRADE, "e": "aggTrade", "s": "ETHUSDT", "a": 77, "f": 1, "l": 3}
    )
    assert (event.channel.symbol, event.first_id) == ("ETHUSDT", 77)
    assert event.trade_ns is not None


def test_depth_covers_a_range_and_has_no_trade_time() -> None:
    event = decode("btcusdt@depth@100ms", DEPTH)
    assert (event.first_id, event.last_id) == (157, 160)
    assert event.event_ns == 1672515782136000000
    assert event.trade_ns is None


def test_book_ticker_has_no_time_at_all() -> None:
    event = decode("btcusdt@bookTicker", BOOK_TICKER)
    assert (event.first_id, event.event_ns, event.trade_ns) == (400900217, None, None)
    assert event.channel.ids is Ids.NONE
    assert not event.channel.has_event_time


def test_a_time_in_a_book_ticker_is_not_believed() -> None:
    event = decode("btcusdt@bookTicker", {**BOOK_TICKER, "E": 1672515782136000})
    assert event.event_ns is None


def test_unknown_keys_are_ignored() -> None:
    assert decode("btcusdt@trade", {**TRADE, "st": 1, "nq": {"x": []}}).first_id == 12345


def test_keys_in_another_order_are_found() -> None:
    payload = json.dumps({"data": dict(reversed(TRADE.items())), "stream": "btcusdt@trade"})
    event = FEED.decode(payload.encode(), binary=False)
    assert isinstance(event, Event)
    assert event.first_id == 12345


def test_white_space_is_allowed() -> None:
    payload = json.dumps({"stream": "btcusdt@trade", "data": TRADE}, indent=1)
    assert isinstance(FEED.decode(payload.encode(), binary=False), Event)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"E": None}, ErrorKind.BAD_FIELD),
        ({"E": "1672515782136"}, ErrorKind.BAD_FIELD),
        ({"E": 1.5}, ErrorKind.BAD_FIELD),
        ({"E": -1}, ErrorKind.BAD_FIELD),
        ({"E": 10**30}, ErrorKind.BAD_FIELD),
        ({"t": "x"}, ErrorKind.BAD_FIELD),
        ({"T": []}, ErrorKind.BAD_FIELD),
        ({"s": 7}, ErrorKind.BAD_FIELD),
        ({"e": "trades"}, ErrorKind.UNKNOWN_EVENT),
        ({"s": "ETHUSDT"}, ErrorKind.WRONG_SYMBOL),
        ({"s": "btcusdt"}, ErrorKind.WRONG_SYMBOL),
    ],
)
def test_wrong_values_are_refused(changes: dict[str, Any], kind: ErrorKind) -> None:
    assert fault(frame("btcusdt@trade", {**TRADE, **changes})) is kind


@pytest.mark.parametrize(
    ("stream", "data"),
    [("trade", TRADE), ("depth", DEPTH), ("bookTicker", BOOK_TICKER)],
)
def test_the_symbol_is_the_streams(stream: str, data: dict[str, Any]) -> None:
    assert fault(frame(f"btcusdt@{stream}", {**data, "s": "ETHUSDT"})) is ErrorKind.WRONG_SYMBOL


@pytest.mark.parametrize("key", ["e", "E", "T", "t"])
def test_missing_keys_are_refused(key: str) -> None:
    data = {k: v for k, v in TRADE.items() if k != key}
    assert fault(frame("btcusdt@trade", data)) is ErrorKind.BAD_FIELD


def test_a_depth_range_that_runs_backwards_is_refused() -> None:
    assert fault(frame("btcusdt@depth", {**DEPTH, "U": 200})) is ErrorKind.BAD_FIELD


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"", ErrorKind.BAD_JSON),
        (b"garbage", ErrorKind.BAD_JSON),
        (b"\x00\xff\xfe", ErrorKind.BAD_JSON),
        (b"[1]", ErrorKind.BAD_JSON),
        (b'{"stream":"btcusdt@trade","data":{"e":"tra', ErrorKind.BAD_JSON),
        (b'{"stream":"btcusdt@trade"}', ErrorKind.BAD_FIELD),
        (b'{"stream":"btcusdt@trade","data":7}', ErrorKind.BAD_FIELD),
        (b'{"stream":"btcusdt@kline_1m","data":{}}', ErrorKind.UNKNOWN_STREAM),
        (b'{"stream":7,"data":{}}', ErrorKind.UNKNOWN_STREAM),
        (b'{"stream":"', ErrorKind.BAD_JSON),
        (b'{"code":2,"msg":"Invalid request"}', ErrorKind.EXCHANGE_ERROR),
        (b'{"error":{"code":2,"msg":"no"},"id":1}', ErrorKind.EXCHANGE_ERROR),
        (b'{"e":"trade"}', ErrorKind.UNKNOWN_EVENT),
        (b"{}", ErrorKind.UNKNOWN_EVENT),
        (b"[" * 100_000, ErrorKind.BAD_JSON),
    ],
)
def test_other_payloads_are_refused_by_kind(payload: bytes, kind: ErrorKind) -> None:
    assert fault(payload) is kind


def test_binary_frames_are_refused() -> None:
    assert fault(frame("btcusdt@trade", TRADE), binary=True) is ErrorKind.BINARY_FRAME


def test_acknowledgements_are_no_market_data() -> None:
    assert FEED.decode(b'{"result":null,"id":1}', binary=False) is Notice.ACKNOWLEDGED


@pytest.mark.parametrize(
    "payload",
    [
        b'{"e":"serverShutdown","E":1672515782136}',
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1672515782136}}',
    ],
)
def test_announced_shutdowns_are_recognised(payload: bytes) -> None:
    assert FEED.decode(payload, binary=False) is Notice.SHUTDOWN


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise_anything_else(payload: bytes) -> None:
    with pytest.raises(FrameError):
        FEED.decode(payload, binary=False)


@given(st.integers(min_value=0, max_value=len(frame("btcusdt@trade", TRADE)) - 1))
def test_truncated_frames_are_refused(length: int) -> None:
    assert fault(frame("btcusdt@trade", TRADE)[:length]) is ErrorKind.BAD_JSON


def test_a_huge_frame_is_decoded() -> None:
    levels = [["0.0024", "10"]] * 100_000
    assert decode("btcusdt@depth", {**DEPTH, "b": levels}).last_id == 160


def test_url_subscribes_to_everything_in_microseconds() -> None:
    feed = BinanceSpot("wss://example.test:9443/", ["BTCUSDT"], ["trade", "depth@100ms"])
    assert feed.url == (
        "wss://example.test:9443/stream?streams=btcusdt@trade/btcusdt@depth@100ms"
        "&timeUnit=MICROSECOND"
    )


@pytest.mark.parametrize("path", ["/ws", "/stream", "/stream/"])
def test_url_of_an_endpoint_with_a_path_is_not_doubled(path: str) -> None:
    feed = BinanceSpot(f"ws://127.0.0.1:1{path}", ["BTCUSDT"], ["trade"])
    assert feed.url == "ws://127.0.0.1:1/stream?streams=btcusdt@trade&timeUnit=MICROSECOND"


def test_repeated_symbols_subscribe_once() -> None:
    feed = BinanceSpot("ws://127.0.0.1:1", ["BTCUSDT", "BTCUSDT"], ["trade"])
    assert len(feed.channels) == 1


@pytest.mark.parametrize(
    ("endpoint", "symbols", "streams", "message"),
    [
        ("wss://x", ["BTC/USDT"], ["trade"], r"symbol 'BTC/USDT' .* BTCUSDT"),
        ("wss://x", ["btcusdt"], ["trade"], r"symbol 'btcusdt'"),
        ("wss://x", ["BTCUSDT"], ["trades"], r"stream 'trades' .* aggTrade"),
        ("wss://x", [], ["trade"], "at least one"),
        ("https://x", ["BTCUSDT"], ["trade"], "not a WebSocket base URL"),
        ("wss://x?a=b", ["BTCUSDT"], ["trade"], "not a WebSocket base URL"),
        ("wss://x", [f"S{n}USDT" for n in range(1025)], ["trade"], "1025 streams"),
    ],
)
def test_bad_configuration_is_one_sentence(
    endpoint: str, symbols: list[str], streams: list[str], message: str
) -> None:
    with pytest.raises(FeedConfigError, match=message):
        BinanceSpot(endpoint, symbols, streams)
