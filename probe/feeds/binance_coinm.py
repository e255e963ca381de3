"""Binance COIN-M futures market data; see `binance_futures` for the payloads.

Binance documents no routes for it: all streams are on one path, so they share a connection.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from latency_sweep.probe.feeds.binance_futures import MARKET_WIDE, PUBLIC, UNIT_NS
from latency_sweep.probe.feeds.binance_json import BinanceJson, combined_base

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latency_sweep.probe.feeds.binance_json import StreamKind

MARKET: Final = "coinm"
STREAMS: Final[Mapping[str, StreamKind]] = MappingProxyType({**PUBLIC, **MARKET_WIDE})
MAX_STREAMS: Final = 200  # per connection, as Binance documents for COIN-M


class BinanceCoinM(BinanceJson):
    """COIN-M's streams over one connection.

    Args:
        endpoint: base URL, `wss://dstream.binance.com`.
        symbols: upper-case symbols, `BTCUSD_PERP`.
        streams: any of `STREAMS`.

    Raises:
        FeedConfigError: see `BinanceJson`.
    """

    def __init__(self, endpoint: str, symbols: Sequence[str], streams: Sequence[str]) -> None:
        base = combined_base(endpoint)
        super().__init__(
            market=MARKET,
            kinds=STREAMS,
            unit_ns=UNIT_NS,
            url=lambda names: f"{base}/stream?streams={'/'.join(names)}",
            symbols=symbols,
            streams=streams,
            max_streams=MAX_STREAMS,
        )
