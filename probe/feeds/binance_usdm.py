"""Binance USD-M futures market data on routed hosts; see `binance_futures` for the payloads.

A stream exists on one route only; subscribing to it on another is acknowledged and stays quiet,
so each route has a connection of its own.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from latency_sweep.probe.feeds.base import FeedConfigError
from latency_sweep.probe.feeds.binance_futures import MARKET_WIDE, PUBLIC, UNIT_NS
from latency_sweep.probe.feeds.binance_json import BinanceJson, combined_base

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latency_sweep.probe.feeds.binance_json import StreamKind

MARKET: Final = "usdm"
ROUTES: Final[Mapping[str, Mapping[str, StreamKind]]] = MappingProxyType(
    {"/public": PUBLIC, "/market": MARKET_WIDE}
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
                unit_ns=UNIT_NS,
                url=partial(_url, base + route),
                symbols=symbols,
                streams=wanted,
                first_index=sum(len(feed.channels) for feed in feeds),
            )
            feeds.append(feed)
    if not feeds:
        raise FeedConfigError("at least one symbol and one stream are needed.")
    return tuple(feeds)
