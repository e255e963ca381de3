"""Binance USD-M futures market data, JSON with times in milliseconds, on routed hosts.

Payloads are those of Binance's documentation, "WebSocket Market Streams" of USD-M futures. A
stream exists on one route only; subscribing to it on another is acknowledged and stays quiet,
so each route has a connection of its own.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal

import msgspec

from latency_sweep.probe.feeds.base import Channel, Event, FeedConfigError, Ids
from latency_sweep.probe.feeds.binance_json import (
    AGG_TRADE,
    TRADE,
    BinanceJson,
    Count,
    StreamKind,
    Symbol,
    check_order,
    combined_base,
    read_both_times,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARKET: Final = "usdm"
_NS_PER_MS: Final = 1_000_000


class _Depth(msgspec.Struct, Generic[Symbol], gc=False):
    event: Literal["depthUpdate"] = msgspec.field(name="e")
    event_time: Count = msgspec.field(name="E")
    trade_time: Count = msgspec.field(name="T")
    previous_id: Count = msgspec.field(name="pu")
    last_id: Count = msgspec.field(name="u")
    symbol: Symbol | msgspec.UnsetType = msgspec.field(name="s", default=msgspec.UNSET)


class _BookTicker(msgspec.Struct, Generic[Symbol], gc=False):
    event: Literal["bookTicker"] = msgspec.field(name="e")
    event_time: Count = msgspec.field(name="E")
    trade_time: Count = msgspec.field(name="T")
    id: Count = msgspec.field(name="u")
    symbol: Symbol | msgspec.UnsetType = msgspec.field(name="s", default=msgspec.UNSET)


class _DepthFrame(msgspec.Struct, Generic[Symbol], gc=False):
    data: _Depth[Symbol]


class _BookTickerFrame(msgspec.Struct, Generic[Symbol], gc=False):
    data: _BookTicker[Symbol]


def _read_depth(channel: Channel, data: _Depth[Any], unit_ns: int) -> Event:
    # Futures books are whole iff `pu` is the previous `u`: the message covers what lies between.
    first_id = data.previous_id + 1
    check_order(first_id, data.last_id)
    return Event(
        channel,
        first_id,
        data.last_id,
        data.event_time * unit_ns,
        data.trade_time * unit_ns,
    )


_DEPTH: Final = StreamKind(_DepthFrame, Ids.RANGES, _read_depth)
_PUBLIC: Final = MappingProxyType(
    {
        "bookTicker": StreamKind(_BookTickerFrame, Ids.NONE, read_both_times),
        "trade": TRADE,
        **dict.fromkeys(("depth", "depth@0ms", "depth@100ms", "depth@500ms"), _DEPTH),
    }
)
_MARKET: Final = MappingProxyType({"aggTrade": AGG_TRADE})
ROUTES: Final[Mapping[str, Mapping[str, StreamKind]]] = MappingProxyType(
    {"/public": _PUBLIC, "/market": _MARKET}
)


def _url(routed: str, names: Sequence[str]) -> str:
    return f"{routed}/stream?streams={'/'.join(names)}"


def make_feeds(
    endpoint: str, symbols: Sequence[str], streams: Sequence[str]
) -> tuple[BinanceJson, ...]:
    """One feed for each route that the streams need.

    Args:
        endpoint: base URL without a route, `wss://fstream.binance.com`.
        symbols: upper-case symbols.
        streams: any stream of `ROUTES`.

    Raises:
        FeedConfigError: an unknown stream, or see `BinanceJson`.
    """
    known = [name for kinds in ROUTES.values() for name in kinds]
    for stream in streams:
        if stream not in known:
            raise FeedConfigError(
                f"stream {stream!r} is not known for {MARKET}; use any of {', '.join(known)}."
            )
    base = combined_base(endpoint)
    feeds: list[BinanceJson] = []
    for route, kinds in ROUTES.items():
        wanted = [stream for stream in streams if stream in kinds]
        if wanted:
            feed = BinanceJson(
                market=MARKET,
                kinds=kinds,
                unit_ns=_NS_PER_MS,
                url=partial(_url, base + route),
                symbols=symbols,
                streams=wanted,
                first_index=sum(len(feed.channels) for feed in feeds),
            )
            feeds.append(feed)
    if not feeds:
        raise FeedConfigError("at least one symbol and one stream are needed.")
    return tuple(feeds)
