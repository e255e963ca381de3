"""COIN-M futures, and symbols that are no plain ASCII letters and digits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from latency_sweep.contract.values import is_symbol
from latency_sweep.probe.feeds.base import Event, FeedConfigError, Ids
from latency_sweep.probe.feeds.binance_coinm import MAX_STREAMS, BinanceCoinM
from latency_sweep.probe.feeds.binance_sbe import BinanceSbe
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.feeds.binance_usdm import make_feeds

if TYPE_CHECKING:
    from latency_sweep.probe.feeds.base import Feed

FEED = BinanceCoinM(
    "wss://x.test", ["BTCUSD_PERP"], ["trade", "aggTrade", "bookTicker", "depth@100ms"]
)
CHINESE = "币安人生USDT"


def decode(stream: str, data: dict[str, Any]) -> Event:
    frame = json.dumps({"stream": f"btcusd_perp@{stream}", "data": data}).encode()
    event = FEED.decode(frame, binary=False)
    assert isinstance(event, Event)
    return event


def test_all_streams_share_one_path() -> None:
    names = "btcusd_perp@trade/btcusd_perp@aggTrade/btcusd_perp@bookTicker/btcusd_perp@depth@100ms"
    assert FEED.url == f"wss://x.test/stream?streams={names}"
    assert FEED.market == "coinm"


@pytest.mark.parametrize(
    ("stream", "data", "ids"),
    [
        ("trade", {"e": "trade", "E": 2000, "T": 1000, "s": "BTCUSD_PERP", "t": 7}, (7, 7)),
        ("aggTrade", {"e": "aggTrade", "E": 2000, "T": 1000, "s": "BTCUSD_PERP", "a": 8}, (8, 8)),
        (
            "bookTicker",
            {"e": "bookTicker", "u": 9, "s": "BTCUSD_PERP", "ps": "BTCUSD", "T": 1000, "E": 2000},
            (9, 9),
        ),
        (
            "depth@100ms",
            {
                "e": "depthUpdate",
                "E": 2000,
                "T": 1000,
                "s": "BTCUSD_PERP",
                "ps": "BTCUSD",
                "U": 900,
                "u": 20,
                "pu": 10,
            },
            (11, 20),
        ),
    ],
)
def test_frames_have_the_shape_of_usdm(
    stream: str, data: dict[str, Any], ids: tuple[int, int]
) -> None:
    event = decode(stream, data)
    assert (event.first_id, event.last_id) == ids
    assert (event.event_ns, event.trade_ns) == (2_000_000_000, 1_000_000_000)
    assert event.channel.symbol == "BTCUSD_PERP"
    assert (event.channel.ids is Ids.NONE) == (stream == "bookTicker")


def test_a_connection_takes_200_streams() -> None:
    symbols = [f"A{number}USD_PERP" for number in range(MAX_STREAMS + 1)]
    BinanceCoinM("wss://x.test", symbols[:-1], ["trade"])
    with pytest.raises(FeedConfigError, match="201 streams are more than the 200"):
        BinanceCoinM("wss://x.test", symbols, ["trade"])


@pytest.mark.parametrize(
    "symbol", ["BTCUSDT_260925", "BTCUSD_PERP", "1000SHIBUSDT", CHINESE, "4USDT", "A-B.C"]
)
def test_symbols_that_binance_lists(symbol: str) -> None:
    assert is_symbol(symbol)
    feeds: list[Feed] = [
        BinanceSpot("wss://x.test", [symbol], ["trade"]),
        BinanceCoinM("wss://x.test", [symbol], ["trade"]),
        BinanceSbe("wss://x.test", [symbol], ["trade"], api_key="key"),
        *make_feeds("wss://x.test", [symbol], ["trade"]),
    ]
    for feed in feeds:
        assert feed.url.isascii()
        (names,) = parse_qs(urlsplit(feed.url).query)["streams"]
        assert names == f"{symbol.lower()}@trade"


@pytest.mark.parametrize(
    "symbol", ["", "btcusdt", "BTC USDT", "BTC/USDT", "BTC\nUSDT", "A" * 51, "A?"]
)
def test_what_cannot_be_a_symbol(symbol: str) -> None:
    assert not is_symbol(symbol)


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_name_that_is_not_ascii_is_found_in_frames_however_it_is_written(
    *, ascii_only: bool
) -> None:
    feed = BinanceSpot("wss://x.test", [CHINESE], ["trade"])
    data = {"e": "trade", "E": 2, "T": 1, "s": CHINESE, "t": 7}
    document = {"stream": f"{CHINESE.lower()}@trade", "data": data}
    text = json.dumps(document, ensure_ascii=ascii_only, separators=(",", ":"))
    event = feed.decode(text.encode(), binary=False)
    assert isinstance(event, Event)
    assert (event.channel.symbol, event.first_id) == (CHINESE, 7)
