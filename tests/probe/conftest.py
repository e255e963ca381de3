"""A feed, instruments and a timeline to test the probe's parts with."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

from latency_sweep.contract import experiment
from latency_sweep.contract.timeline import NS_PER_SEC, Run
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.measurement.instruments import Instruments
from latency_sweep.probe.measurement.recorder import ConnectionReceiver, Recorder
from latency_sweep.runtime.loopback import hold_port

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

STREAMS = ["trade", "aggTrade", "depth@100ms", "bookTicker"]


@pytest.fixture
def refusing() -> Iterator[socket.socket]:
    """A socket whose port refuses connections until it listens; held, so that nobody takes it."""
    with hold_port(0) as sock:
        yield sock


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def instruments(registry: CollectorRegistry) -> Instruments:
    return Instruments(registry, experiment.load().histogram, "spot")


@pytest.fixture
def feed() -> BinanceSpot:
    return BinanceSpot("ws://127.0.0.1:1", ["BTCUSDT"], STREAMS)


@pytest.fixture
def recorder(feed: BinanceSpot, instruments: Instruments) -> Recorder:
    return Recorder("spot", feed.channels, instruments)


@pytest.fixture
def shutdowns() -> list[bool]:
    return []


@pytest.fixture
def connection(recorder: Recorder, feed: BinanceSpot, shutdowns: list[bool]) -> ConnectionReceiver:
    """What the only connection delivers to."""
    return recorder.receiver(feed, recorder.lines[0], lambda: shutdowns.append(True))


@pytest.fixture
def run() -> Run:
    """A run whose measurement started ten seconds ago, on a whole µs, and lasts a minute more."""
    now = time.time_ns() // 1000 * 1000
    return Run(
        start_ns=now - 20 * NS_PER_SEC,
        measure_start_ns=now - 10 * NS_PER_SEC,
        measure_end_ns=now + 60 * NS_PER_SEC,
        end_ns=now + 70 * NS_PER_SEC,
    )


class Frames:
    """Makes combined frames of BTCUSDT."""

    @staticmethod
    def combined(stream: str, data: Mapping[str, Any]) -> bytes:
        document = {"stream": f"btcusdt@{stream}", "data": data}
        return json.dumps(document, separators=(",", ":")).encode()

    def trade(self, number: int, event_ns: int, *, trade_ns: int | None = None) -> bytes:
        trade_us = (event_ns if trade_ns is None else trade_ns) // 1000
        data = {"e": "trade", "E": event_ns // 1000, "s": "BTCUSDT", "t": number, "T": trade_us}
        return self.combined("trade", data)

    def book_ticker(self, number: int) -> bytes:
        return self.combined("bookTicker", {"u": number, "s": "BTCUSDT", "b": "1", "a": "2"})


@pytest.fixture
def frames() -> Frames:
    return Frames()
