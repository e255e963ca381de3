"""More streams than a URL takes are subscribed to in messages that are small enough."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, unquote, urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st

from latency_sweep.probe.feeds.binance_sbe import BinanceSbe
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.feeds.binance_subscriptions import subscriptions
from latency_sweep.probe.feeds.binance_usdm import make_feeds

SYMBOLS = [f"TOKEN{number}USDT" for number in range(1024)]

names = st.lists(
    st.text(st.sampled_from("AZ09_-.币安Ä"), min_size=20, max_size=50).map("{}@trade".format),
    max_size=300,
    unique=True,
)


def subscribed(messages: tuple[bytes, ...]) -> list[str]:
    found: list[str] = []
    for number, message in enumerate(messages, start=1):
        assert len(message) <= 4096
        request = json.loads(message)
        assert (request["method"], request["id"]) == ("SUBSCRIBE", number)
        assert request["params"]
        found += request["params"]
    return found


@settings(max_examples=30)
@given(names)
def test_every_stream_is_subscribed_to_once_and_in_its_order(names: list[str]) -> None:
    how = subscriptions(names)
    assert [unquote(name) for name in how.in_url] + subscribed(how.messages) == names
    assert len("/".join(how.in_url)) <= 7_000


def test_1024_streams_of_every_market_fit() -> None:
    public, market = make_feeds("wss://fstream.test", SYMBOLS[:1000], ["trade", "aggTrade"])
    for feed in (
        BinanceSpot("wss://stream.test:9443", SYMBOLS, ["trade"]),
        BinanceSbe("wss://stream.test", SYMBOLS, ["bestBidAsk"], api_key="key"),
        public,
        market,
    ):
        url = urlsplit(feed.url)
        assert len(f"GET {url.path}?{url.query} HTTP/1.1\r\n") < 8_000
        (joined,) = parse_qs(url.query)["streams"]
        found = joined.split("/") + subscribed(tuple(feed.opening_messages))
        assert found == [f"{c.symbol.lower()}@{c.stream}" for c in feed.channels]
        assert feed.opening_messages


def test_what_the_url_takes_needs_no_message() -> None:
    assert BinanceSpot("wss://x.test", SYMBOLS[:300], ["trade"]).opening_messages == ()
