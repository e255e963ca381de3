"""COIN-M futures in JSON: Binance's "Websocket Market Streams" of COIN-M futures.

Messages have the shape of USD-M's; depth and the best quote also name the pair (`ps`). All streams
are on one path.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from latency_sweep.lab.exchange.markets.rules import every_stream
from latency_sweep.lab.exchange.markets.usdm import USDM, UsdmStyle

if TYPE_CHECKING:
    from latency_sweep.lab.exchange.markets.rules import Push


class CoinMStyle(UsdmStyle):
    """See `rules.Style`."""

    def _quote(self) -> bytes:
        return super()._quote() + self._pair()

    def _changes(self, push: Push, own: bytes = b"") -> bytes:
        return super()._changes(push, own + self._pair())

    def _pair(self) -> bytes:
        return b',"ps":"%b"' % self._name.partition(b"_")[0]


COINM: Final = replace(
    USDM,
    limits=replace(USDM.limits, streams=200),
    routes=MappingProxyType({"": every_stream}),
    rest="/dapi/v1",
    style=CoinMStyle,
)
