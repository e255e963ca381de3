"""What Binance's futures markets send alike, JSON with times in milliseconds.

Payloads are those of Binance's documentation, "WebSocket Market Streams" of USD-M futures; those of
COIN-M have the same shape and a few keys more.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal

import msgspec

from latency_sweep.probe.feeds.base import Channel, Event, Ids
from latency_sweep.probe.feeds.binance_json import (
    AGG_TRADE,
    TRADE,
    Count,
    StreamKind,
    Symbol,
    check_order,
    read_both_times,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

UNIT_NS: Final = 1_000_000


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
PUBLIC: Final[Mapping[str, StreamKind]] = MappingProxyType(
    {
        "bookTicker": StreamKind(_BookTickerFrame, Ids.NONE, read_both_times),
        "trade": TRADE,
        **dict.fromkeys(("depth", "depth@0ms", "depth@100ms", "depth@500ms"), _DEPTH),
    }
)
MARKET_WIDE: Final[Mapping[str, StreamKind]] = MappingProxyType({"aggTrade": AGG_TRADE})
