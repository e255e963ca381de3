"""Which connections there are, as `/status` and `feed_connection_info` tell."""

from __future__ import annotations

import time

import pytest

from latency_sweep.probe.connection import connectivity as connectivity_module
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
    connectivity.lost(PUBLIC, "0", "192.0.2.1", time.monotonic())
    assert not connectivity.connected


def test_a_replaced_connection_takes_its_address_with_it(connectivity: Connectivity) -> None:
    connectivity.opened(PUBLIC, "0", "192.0.2.1")
    connectivity.opened(PUBLIC, "0", "192.0.2.2")
    connectivity.lost(PUBLIC, "0", "192.0.2.1", time.monotonic())
    assert connectivity.remote_addresses == {("0", "192.0.2.2")}


def test_a_lost_line_leaves_the_address_of_the_other(connectivity: Connectivity) -> None:
    connectivity.opened(PUBLIC, "0", "192.0.2.1")
    connectivity.opened(PUBLIC, "1", "192.0.2.2")
    connectivity.lost(PUBLIC, "0", "192.0.2.1", time.monotonic())
    assert connectivity.remote_addresses == {("1", "192.0.2.2")}


def test_a_replacement_that_is_lost_first_takes_its_own_address(connectivity: Connectivity) -> None:
    connectivity.opened(PUBLIC, "0", "192.0.2.1")
    connectivity.opened(PUBLIC, "0", "192.0.2.2")
    connectivity.lost(PUBLIC, "0", "192.0.2.2", time.monotonic())
    assert connectivity.remote_addresses == {("0", "192.0.2.1")}


class Clock:
    """In place of the module's time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(connectivity_module, "time", clock)
    return clock


def test_an_outage_counts_from_the_last_byte(clock: Clock, connectivity: Connectivity) -> None:
    for feed in FEEDS:
        connectivity.opened(feed, "0", "192.0.2.1")
    clock.now = 30.0
    connectivity.lost(PUBLIC, "0", "192.0.2.1", 18.0)
    assert connectivity.disconnected_sec == 12.0
    clock.now = 31.0
    connectivity.opened(PUBLIC, "0", "192.0.2.1")
    clock.now = 40.0
    assert connectivity.disconnected_sec == 13.0


def test_an_outage_counts_from_the_last_byte_of_any_line(
    clock: Clock, connectivity: Connectivity
) -> None:
    connectivity.opened(MARKET, "0", "192.0.2.1")
    for line in ("0", "1"):
        connectivity.opened(PUBLIC, line, "192.0.2.1")
    clock.now = 30.0
    connectivity.lost(PUBLIC, "0", "192.0.2.1", 29.0)
    connectivity.lost(PUBLIC, "1", "192.0.2.1", 18.0)
    assert connectivity.disconnected_sec == 1.0


def test_outages_of_two_feeds_that_overlap_count_once(
    clock: Clock, connectivity: Connectivity
) -> None:
    for feed in FEEDS:
        connectivity.opened(feed, "0", "192.0.2.1")
    clock.now = 10.0
    connectivity.lost(PUBLIC, "0", "192.0.2.1", 10.0)
    clock.now = 20.0
    connectivity.opened(PUBLIC, "0", "192.0.2.1")
    assert connectivity.disconnected_sec == 10.0
    clock.now = 30.0
    connectivity.lost(MARKET, "0", "192.0.2.1", 5.0)
    assert connectivity.disconnected_sec == 25.0
    connectivity.lost(PUBLIC, "0", "192.0.2.1", 2.0)
    assert connectivity.disconnected_sec == 25.0
    clock.now = 31.0
    for feed in FEEDS:
        connectivity.opened(feed, "0", "192.0.2.1")
    clock.now = 99.0
    assert connectivity.disconnected_sec == 26.0


def test_no_outage_counts_from_before_all_feeds_had_a_connection(
    clock: Clock, connectivity: Connectivity
) -> None:
    connectivity.opened(PUBLIC, "0", "192.0.2.1")
    clock.now = 10.0
    connectivity.opened(MARKET, "0", "192.0.2.1")
    clock.now = 20.0
    connectivity.lost(PUBLIC, "0", "192.0.2.1", 3.0)
    assert connectivity.disconnected_sec == 10.0
