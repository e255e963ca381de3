"""Which connections there are, as `/status` and `feed_connection_info` tell."""

from __future__ import annotations

import pytest

from latency_sweep.probe.connection.connectivity import Connectivity
from latency_sweep.probe.feeds.binance_usdm import make_feeds


@pytest.fixture
def connectivity() -> Connectivity:
    """Of a market whose streams come by two routes, each with connections of its own."""
    return Connectivity(FEEDS)


FEEDS = make_feeds("wss://exchange.invalid", ["BTCUSDT"], ["bookTicker", "aggTrade"])
PUBLIC, MARKET = FEEDS


def test_the_feeds_of_a_line_may_have_different_addresses(connectivity: Connectivity) -> None:
    connectivity.opened(PUBLIC, "0", "192.0.2.1")
    connectivity.opened(MARKET, "0", "192.0.2.2")
    assert connectivity.remote_addresses == {("0", "192.0.2.1"), ("0", "192.0.2.2")}


def test_a_market_is_connected_once_each_feed_is(connectivity: Connectivity) -> None:
    seen = []
    for feed in FEEDS:
        connectivity.opened(feed, "0", "192.0.2.1")
        seen.append(connectivity.connected)
    assert seen == [False, True]


def test_a_market_is_not_connected_while_a_feed_is_not(connectivity: Connectivity) -> None:
    for feed in FEEDS:
        connectivity.opened(feed, "0", "192.0.2.1")
    connectivity.lost(PUBLIC, "0", "192.0.2.1")
    assert not connectivity.connected


def test_a_replaced_connection_takes_its_address_with_it(connectivity: Connectivity) -> None:
    connectivity.opened(PUBLIC, "0", "192.0.2.1")
    connectivity.opened(PUBLIC, "0", "192.0.2.2")
    connectivity.lost(PUBLIC, "0", "192.0.2.1")
    assert connectivity.remote_addresses == {("0", "192.0.2.2")}


def test_a_lost_line_leaves_the_address_of_the_other(connectivity: Connectivity) -> None:
    connectivity.opened(PUBLIC, "0", "192.0.2.1")
    connectivity.opened(PUBLIC, "1", "192.0.2.2")
    connectivity.lost(PUBLIC, "0", "192.0.2.1")
    assert connectivity.remote_addresses == {("1", "192.0.2.2")}


def test_a_replacement_that_is_lost_first_takes_its_own_address(connectivity: Connectivity) -> None:
    connectivity.opened(PUBLIC, "0", "192.0.2.1")
    connectivity.opened(PUBLIC, "0", "192.0.2.2")
    connectivity.lost(PUBLIC, "0", "192.0.2.2")
    assert connectivity.remote_addresses == {("0", "192.0.2.1")}
