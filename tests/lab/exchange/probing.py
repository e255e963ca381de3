"""The probe's own session against a running exchange, in one event loop and over TLS."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from latency_sweep.contract import experiment
from latency_sweep.contract.experiment import MarketData
from latency_sweep.contract.timeline import NS_PER_SEC, Run, Timeline
from latency_sweep.probe.app import make_feeds
from latency_sweep.probe.connection.backoff import Backoff
from latency_sweep.probe.connection.session import Session
from latency_sweep.probe.measurement.instruments import Instruments
from latency_sweep.probe.measurement.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from latency_sweep.contract.metrics import ErrorKind, ReconnectReason
    from latency_sweep.lab.exchange.config import MarketName
    from latency_sweep.probe.feeds.base import Feed
    from latency_sweep.probe.measurement.channel_state import ChannelState
    from latency_sweep.probe.net.websocket import Record
    from tests.lab.exchange.clients import Running

KEY: Final = "abcDEF123"
MARKETS: Final = {"spot": {}, "usdm": {}, "coinm": {}, "sbe": {"api_keys": [KEY]}}
STREAMS: Final[dict[MarketName, list[str]]] = {
    "spot": ["trade", "aggTrade", "depth@100ms", "bookTicker"],
    "usdm": ["trade", "aggTrade", "depth@0ms", "depth@100ms", "bookTicker"],
    "coinm": ["trade", "aggTrade", "depth@0ms", "depth@100ms", "bookTicker"],
    "sbe": ["trade", "bestBidAsk", "depth", "depth20"],
}
SYMBOL: Final = "BTCUSDT"
_HOUR: Final = Timeline(NS_PER_SEC, 3600 * NS_PER_SEC, NS_PER_SEC)


class Probed:
    """A session that measures from its first message on."""

    def __init__(
        self,
        market: MarketName,
        feeds: Sequence[Feed],
        exchange: Running,
        tap: Callable[[Record], Record] | None = None,
    ) -> None:
        self.market = market
        self.feeds = feeds
        self.registry = CollectorRegistry()
        self.exchange = exchange
        instruments = Instruments(self.registry, experiment.load().histogram, market)
        channels = [channel for feed in feeds for channel in feed.channels]
        self.recorder = Recorder(market, channels, instruments)
        self.session = Session(
            feeds,
            _HOUR,
            self.recorder,
            instruments,
            tls=exchange.tls,
            backoff=lambda: Backoff(base_sec=0.001, cap_sec=0.01),
            tap=tap,
        )

    def state(self, stream: str) -> ChannelState:
        return next(state for state in self.recorder.states if state.channel.stream == stream)

    def errors(self, kind: ErrorKind) -> float:
        labels = {"market": self.market, "kind": kind.value}
        return self.registry.get_sample_value("feed_errors_total", labels) or 0.0

    def reconnects(self, reason: ReconnectReason) -> float:
        labels = {"market": self.market, "reason": reason.value}
        return self.registry.get_sample_value("feed_reconnects_total", labels) or 0.0

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.01)

    async def until_reconnected(self, reason: ReconnectReason, count: int) -> None:
        await self.until(lambda: self.reconnects(reason) >= count)

    async def until_received(self, count: int) -> None:
        """Wait until every channel has brought so many messages more."""
        before = [state.messages for state in self.recorder.states]
        await self.until(
            lambda: all(
                state.messages >= count + start
                for state, start in zip(self.recorder.states, before, strict=True)
            )
        )

    async def until_all_is_in(self) -> None:
        """Let the exchange send what is on its way and no more; count what is missing then."""
        await self.exchange.control("refuse", market=self.market)
        await self.exchange.control("disconnect", code=1001, market=self.market)
        await self.until(
            lambda: not any(self.session.connectivity.has_connection(feed) for feed in self.feeds)
        )
        await self.exchange.control("flush")
        self.recorder.expire(time.time_ns(), time.monotonic_ns() + 10 * NS_PER_SEC)


@asynccontextmanager
async def probing_all(exchange: Running) -> AsyncIterator[list[Probed]]:
    """A session on every market at once."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(probing(exchange, market)) for market in STREAMS]


@asynccontextmanager
async def probing(
    exchange: Running,
    market: MarketName,
    *,
    symbols: Sequence[str] = (SYMBOL,),
    streams: list[str] | None = None,
    api_key: str = KEY,
    change: Callable[[Sequence[Feed]], None] = lambda _: None,
    tap: Callable[[Record], Record] | None = None,
) -> AsyncIterator[Probed]:
    """Run a session on a market; `change` may bend its feeds before."""
    data = MarketData(
        market=market,
        symbols=list(symbols),
        streams=streams or STREAMS[market],
        endpoint=exchange.url(market),
    )
    feeds = make_feeds(data, api_key)
    change(feeds)
    probed = Probed(market, feeds, exchange, tap)
    task = asyncio.create_task(probed.session.run())
    await asyncio.sleep(0)
    now = time.time_ns()
    # Beside the timeline: a run that has everything inside.
    probed.recorder.begin_run(
        Run(now - 60 * NS_PER_SEC, now - 50 * NS_PER_SEC, now + 3600 * NS_PER_SEC, now * 2)
    )
    try:
        yield probed
    finally:
        probed.session.stop()
        await task
