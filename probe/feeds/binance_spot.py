"""Binance spot market data, JSON with times in microseconds.

Payloads are those of Binance's documentation, "WebSocket Streams" of the Spot API.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal

import msgspec

from latency_sweep.probe.feeds.base import Channel, Event, Ids
from latency_sweep.probe.feeds.binance_json import (
    AGG_TRADE,
    TRADE,
    BinanceJson,
    Count,
    StreamKind,
    Symbol,
    check_order,
    combined_base,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARKET: Final = "spot"
_NS_PER_US: Final = 1_000


class _Depth(msgspec.Struct, Generic[Symbol], gc=False):
    event: Literal["depthUpdate"] = msgspec.field(name="e")
    event_time: Count = msgspec.field(name="E")
    first_id: Count = msgspec.field(name="U")
    last_id: Count = msgspec.field(name="u")
    symbol: Symbol | msgspec.UnsetType = msgspec.field(name="s", default=msgspec.UNSET)


class _BookTicker(msgspec.Struct, Generic[Symbol], gc=False):
    id: Count = msgspec.field(name="u")
    symbol: Symbol | msgspec.UnsetType = msgspec.field(name="s", default=msgspec.UNSET)


class _DepthFrame(msgspec.Struct, Generic[Symbol], gc=False):
    data: _Depth[Symbol]


class _BookTickerFrame(msgspec.Struct, Generic[Symbol], gc=False):
    data: _BookTicker[Symbol]


def _read_depth(channel: Channel, data: _Depth[Any], unit_ns: int) -> Event:
    check_order(data.first_id, data.last_id)
    return Event(channel, data.first_id, data.last_id, data.event_time * unit_ns)


def _read_book_ticker(channel: Channel, data: _BookTicker[Any], _: int) -> Event:
    return Event(channel, data.id, data.id)


_DEPTH: Final = StreamKind(_DepthFrame, Ids.RANGES, _read_depth, has_trade_time=False)
STREAMS: Final[Mapping[str, StreamKind]] = MappingProxyType(
    {
        "trade": TRADE,
        "aggTrade": AGG_TRADE,
        "depth": _DEPTH,
        "depth@100ms": _DEPTH,
        # No time at all, and ids that jump: rates and order, nothing more.
        "bookTicker": StreamKind(
            _BookTickerFrame,
            Ids.NONE,
            _read_book_ticker,
            has_event_time=False,
            has_trade_time=False,
        ),
    }
)


class BinanceSpot(BinanceJson):
    """Spot's streams over one connection.

    Args:
        endpoint: base URL, `wss://stream.binance.com:9443`.
        symbols: upper-case symbols.
        streams: any of `STREAMS`.

    Raises:
        FeedConfigError: see `BinanceJson`.
    """

    def __init__(self, endpoint: str, symbols: Sequence[str], streams: Sequence[str]) -> None:
        base = combined_base(endpoint)
        super().__init__(
            market=MARKET,
            kinds=STREAMS,
            unit_ns=_NS_PER_US,
            url=lambda names: f"{base}/stream?streams={'/'.join(names)}&timeUnit=MICROSECOND",
            symbols=symbols,
            streams=streams,
        )
