"""Which connections there are, as `/status` and `feed_connection_info` tell."""

from __future__ import annotations

import pytest

from latency_sweep.probe.connection.connectivity import ConnectionLife
from latency_sweep.probe.feeds.binance_usdm import make_feeds


@pytest.fixture
def life() -> ConnectionLife:
    """Of a market whose streams come by two routes, each with connections of its own."""
    return ConnectionLife(FEEDS)


FEEDS = make_feeds("wss://exchange.invalid", ["BTCUSDT"], ["bookTicker", "aggTrade"])
PUBLIC, MARKET = FEEDS


def test_the_feeds_of_a_line_may_have_different_addresses(life: ConnectionLife) -> None:
    life.opened(PUBLIC, "0", "192.0.2.1")
    life.opened(MARKET, "0", "192.0.2.2")
    assert life.remote_addresses == {("0", "192.0.2.1"), ("0", "192.0.2.2")}


def test_a_market_is_connected_once_each_feed_is(life: ConnectionLife) -> None:
    seen = []
    for feed in FEEDS:
        life.opened(feed, "0", "192.0.2.1")
        seen.append(life.connected)
    assert seen == [False, True]


def test_a_market_is_not_connected_while_a_feed_is_not(life: ConnectionLife) -> None:
    for feed in FEEDS:
        life.opened(feed, "0", "192.0.2.1")
    life.lost(PUBLIC, "0", "192.0.2.1")
    assert not life.connected


def test_a_replaced_connection_takes_its_address_with_it(life: ConnectionLife) -> None:
    life.opened(PUBLIC, "0", "192.0.2.1")
    life.opened(PUBLIC, "0", "192.0.2.2")
    life.lost(PUBLIC, "0", "192.0.2.1")
    assert life.remote_addresses == {("0", "192.0.2.2")}


def test_a_lost_line_leaves_the_address_of_the_other(life: ConnectionLife) -> None:
    life.opened(PUBLIC, "0", "192.0.2.1")
    life.opened(PUBLIC, "1", "192.0.2.2")
    life.lost(PUBLIC, "0", "192.0.2.1")
    assert life.remote_addresses == {("1", "192.0.2.2")}


def test_a_replacement_that_is_lost_first_takes_its_own_address(life: ConnectionLife) -> None:
    life.opened(PUBLIC, "0", "192.0.2.1")
    life.opened(PUBLIC, "0", "192.0.2.2")
    life.lost(PUBLIC, "0", "192.0.2.2")
    assert life.remote_addresses == {("0", "192.0.2.1")}
