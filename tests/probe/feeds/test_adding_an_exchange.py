"""The guide to adding an exchange: its example works without touching anything else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from latency_sweep.contract import experiment
from latency_sweep.contract.experiment import MarketData
from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.probe.app import make_feeds
from latency_sweep.probe.connection.session import Session
from latency_sweep.probe.feeds import binance_coinm, binance_sbe, binance_spot, binance_usdm
from latency_sweep.probe.feeds.base import Event, FrameError, Notice
from latency_sweep.probe.measurement.instruments import Instruments
from latency_sweep.probe.measurement.recorder import Recorder
from tests.probe.timelines import ONE_RUN
from tests.repository import ROOT

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from latency_sweep.contract.timeline import Run
    from latency_sweep.probe.feeds.base import Feed

GUIDE = (ROOT / "docs" / "feeds.md").read_text()
EXAMPLE = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
ENDPOINTS = re.findall(
    r"^\| `(\w+)` \| `(wss://[^`]+)` \| `(https://[^`]+)` \|", GUIDE, re.MULTILINE
)
STREAM_ROWS = re.findall(
    r"^\| `(spot|usdm|coinm|sbe)` \| (`[a-zA-Z][^|]*`) \| (?:yes|of|\*\*no)", GUIDE, re.MULTILINE
)
SYMBOLS = ["BTCUSD", "ETHUSD"]


def gemini(endpoint: str) -> list[Feed]:
    (source,) = EXAMPLE
    module: dict[str, Any] = {"__name__": "gemini"}
    exec(compile(source, "docs/feeds.md", "exec"), module)
    return [module["Gemini"](endpoint, symbol, n) for n, symbol in enumerate(SYMBOLS)]


EXAMPLE_FEED = gemini("ws://x.test")[0]


def update(number: int, time_ms: int) -> str:
    event = {"type": "trade", "tid": number, "price": "1", "amount": "2", "makerSide": "ask"}
    return json.dumps(
        {
            "type": "update",
            "eventId": number,
            "timestamp": time_ms // 1000,
            "timestampms": time_ms,
            "socket_sequence": 1,
            "events": [event],
        }
    )


@given(frame=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_arbitrary_frames_raise_nothing_but_frame_errors(frame: bytes) -> None:
    with contextlib.suppress(FrameError):
        assert isinstance(EXAMPLE_FEED.decode(frame, binary=False), Event | Notice)


async def test_the_example_is_measured_by_the_probe_as_it_is(
    registry: CollectorRegistry, run: Run
) -> None:
    now_ms = time.time_ns() // 1_000_000
    asked: list[str] = []

    async def exchange(connection: ServerConnection) -> None:
        assert connection.request is not None
        asked.append(connection.request.path)
        await connection.send('{"type":"heartbeat","socket_sequence":0}')
        await connection.send("nonsense")
        for number in (7, 9, 12):
            await connection.send(update(number, now_ms - number))
        await connection.wait_closed()

    async with serve(exchange, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        feeds = gemini(f"ws://127.0.0.1:{port}")
        instruments = Instruments(registry, experiment.load().histogram, "gemini")
        channels = [channel for feed in feeds for channel in feed.channels]
        recorder = Recorder("gemini", channels, instruments)
        tls = ssl.create_default_context()
        session = Session(feeds, ONE_RUN, recorder, instruments, tls=tls)
        task = asyncio.create_task(session.run())
        await asyncio.sleep(0)
        recorder.begin_run(run)
        while min(state.messages for state in recorder.states) < 3:
            await asyncio.sleep(0.01)
        session.stop()
        await task
    queries = "?trades=true&bids=false&offers=false"
    assert sorted(asked) == [f"/v1/marketdata/{s.lower()}{queries}" for s in SYMBOLS]
    bad = {"market": "gemini", "kind": ErrorKind.BAD_JSON.value}
    assert registry.get_sample_value("feed_errors_total", bad) == 2
    for symbol in SYMBOLS:
        labels = {"market": "gemini", "stream": "trade", "symbol": symbol, "run": run.label}
        assert registry.get_sample_value("feed_latency_seconds_count", labels) == 3


@pytest.mark.parametrize(("market", "endpoint", "time_endpoint"), ENDPOINTS)
def test_every_endpoint_of_the_guide_can_be_used(
    market: Any, endpoint: str, time_endpoint: str
) -> None:
    streams = ["trade"]
    data = MarketData(
        market=market,
        symbols=["BTCUSDT"],
        streams=streams,
        endpoint=endpoint,
        time_endpoint=time_endpoint,
    )
    (feed,) = make_feeds(data, "key")
    url = urlsplit(feed.url)
    assert f"{url.scheme}://{url.netloc}" == endpoint
    assert "streams=btcusdt@trade" in url.query


def test_the_guide_lists_every_stream_that_is_known() -> None:
    listed: dict[str, set[str]] = {}
    for market, streams in STREAM_ROWS:
        listed.setdefault(market, set()).update(re.findall(r"`([^`]+)`", streams))
    assert listed == {
        "spot": set(binance_spot.STREAMS),
        "usdm": {name for kinds in binance_usdm.ROUTES.values() for name in kinds},
        "coinm": set(binance_coinm.STREAMS),
        "sbe": set(binance_sbe.STREAMS),
    }


def test_the_guide_names_the_host_that_serves_market_data_only() -> None:
    assert ("spot", "wss://data-stream.binance.vision") in [entry[:2] for entry in ENDPOINTS]
    assert {market for market, _, _ in ENDPOINTS} == {"spot", "usdm", "coinm", "sbe"}
