"""A channel that brings no first message is reported, later if it is known to be quiet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from latency_sweep.probe.connection.first_messages import FirstMessages
from latency_sweep.probe.connection.opened import Opened
from latency_sweep.probe.connection.stall_detector import PAUSES
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.measurement.recorder import Recorder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from latency_sweep.probe.feeds.base import Channel
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.measurement.recorder import ConnectionReceiver
    from latency_sweep.probe.net.websocket import WebSocketConnection

TIMEOUT_SEC = 30.0


@dataclass
class Silent:
    """In place of a receiver: which channels have brought nothing."""

    channels: list[Channel] = field(default_factory=list)

    def channels_without_message(self) -> list[Channel]:
        return self.channels


class Watched:
    """The channels of a feed, and what is counted of them."""

    def __init__(self, instruments: Instruments, registry: CollectorRegistry) -> None:
        feed = BinanceSpot("ws://127.0.0.1:1", ["BTCUSDT"], ["trade", "bookTicker"])
        self.channels = list(feed.channels)
        self.recorder = Recorder("spot", feed.channels, instruments)
        self.first_messages = FirstMessages(feed, self.recorder)
        self._registry = registry

    def connection(self, *silent: Channel) -> Opened:
        receiver = cast("ConnectionReceiver", Silent(list(silent)))
        return Opened(cast("WebSocketConnection", None), receiver, asyncio.Event())

    def messages(self, channel: Channel, count: int, now: float) -> None:
        self.recorder.states[channel.index].messages += count
        self.first_messages.learn(now)

    @property
    def reported(self) -> float:
        labels = {"market": "spot", "kind": "no_first_message"}
        return self._registry.get_sample_value("feed_errors_total", labels) or 0.0


@pytest.fixture
def watched(instruments: Instruments, registry: CollectorRegistry) -> Watched:
    return Watched(instruments, registry)


async def test_each_channel_without_a_message_is_reported_once(watched: Watched) -> None:
    opened = watched.connection(*watched.channels)
    for sec, reported in ((30.0, 0), (30.5, 2), (500.0, 2)):
        watched.first_messages.check(opened, sec, sec, TIMEOUT_SEC)
        assert watched.reported == reported


async def test_on_a_new_connection_it_is_reported_again(watched: Watched) -> None:
    for _ in range(2):
        watched.first_messages.check(watched.connection(watched.channels[0]), 31, 31, TIMEOUT_SEC)
    assert watched.reported == 2


async def test_a_channel_that_is_often_quiet_is_given_more_time(watched: Watched) -> None:
    quiet, busy = watched.channels
    for sec in range(0, 100, 5):
        watched.messages(busy, 50, sec)
        if sec % 45 == 5:
            watched.messages(quiet, 1, sec)
    opened = watched.connection(quiet, busy)
    for seconds, reported in ((31.0, 1), (PAUSES * 45.0, 1), (PAUSES * 45.0 + 0.5, 2)):
        watched.first_messages.check(opened, 100.0 + seconds, seconds, TIMEOUT_SEC)
        assert watched.reported == reported


async def test_a_busy_channel_is_given_no_more_time_however_seldom_it_is_looked_at(
    watched: Watched,
) -> None:
    busy, _ = watched.channels
    for now in (0.0, 20.0, 40.0):
        watched.messages(busy, 100, now)
    watched.first_messages.check(watched.connection(busy), 80.0, 30.5, TIMEOUT_SEC)
    assert watched.reported == 1
