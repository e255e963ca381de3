"""Spot in JSON: Binance's "WebSocket Streams" of the Spot API.

Aggregate trades are sent at once and every update id belongs to one symbol: a depth update starts
right after the end of the one before. Best quotes carry no time.
"""

from __future__ import annotations

import itertools
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from latency_sweep.lab.exchange.markets.book import decimal
from latency_sweep.lab.exchange.markets.events import TimeUnit
from latency_sweep.lab.exchange.markets.json_style import JsonStyle, boolean
from latency_sweep.lab.exchange.markets.rules import ConnectionLimits, Rules, every_stream

if TYPE_CHECKING:
    from latency_sweep.lab.exchange.markets.events import MarketEvent
    from latency_sweep.lab.exchange.markets.rules import Order, Push


class SpotStyle(JsonStyle):
    """See `rules.Style`."""

    def order(self, order: Order) -> list[MarketEvent]:
        """Its trades, their aggregates (one per price) and the new best quote."""
        flags = b',"m":%b,"M":true}' % boolean(order.buyer_is_maker)
        trades = [
            self._timed("trade", number, order, self._lot(number, lot), flags)
            for number, lot in enumerate(order.fills, order.first_trade_id)
        ]
        aggregates = []
        first = order.first_trade_id
        for price, group in itertools.groupby(order.fills, key=lambda lot: lot.price):
            quantities = [lot.quantity for lot in group]
            last = first + len(quantities) - 1
            aggregates.append(self._aggregate(order, price, sum(quantities), (first, last), flags))
            first = last + 1
        return [*trades, *aggregates, *self.quote(order.event_ns, order.trade_ns)]

    def quote(self, event_ns: int, changed_ns: int) -> list[MarketEvent]:  # noqa: ARG002 - not told here
        """The best quote."""
        number = self._book.update_id
        text = b"{%b}" % self._quote()
        return [self._event("bookTicker", (number, number), event_ns=event_ns, text=(text,))]

    def push(self, push: Push) -> list[MarketEvent]:
        """What changed in the book, if anything."""
        if not push.changes:
            return []
        return [
            self._event(
                push.stream,
                (push.first_id, push.last_id),
                event_ns=push.event_ns,
                text=(b'{"e":"depthUpdate","E":', self._changes(push)),
                times_ns=(push.event_ns,),
            )
        ]

    def _aggregate(
        self, order: Order, price: int, quantity: int, trade_ids: tuple[int, int], flags: bytes
    ) -> MarketEvent:
        number = self._next_aggregate_id()
        middle = b',"s":"%b","a":%d,"p":"%b","q":"%b","f":%d,"l":%d' % (
            self._name,
            number,
            decimal(price),
            decimal(quantity),
            *trade_ids,
        )
        return self._timed("aggTrade", number, order, middle, flags)

    def _timed(
        self, kind: str, number: int, order: Order, middle: bytes, flags: bytes
    ) -> MarketEvent:
        return self._event(
            kind,
            (number, number),
            event_ns=order.event_ns,
            trade_ns=order.trade_ns,
            text=(b'{"e":"%b","E":' % kind.encode(), b'%b,"T":' % middle, flags),
            times_ns=(order.event_ns, order.trade_ns),
        )


LIMITS: Final = ConnectionLimits(
    messages_per_sec=5, streams=1024, ping_interval_sec=20.0, pong_timeout_sec=60.0
)
SPOT: Final = Rules(
    limits=LIMITS,
    routes=MappingProxyType({"": every_stream}),
    units=(TimeUnit.MILLISECOND, TimeUnit.MICROSECOND),
    needs_key=False,
    rest="/api/v3",
    rest_units=(TimeUnit.MILLISECOND, TimeUnit.MICROSECOND),
    periods_ns=MappingProxyType({"depth@100ms": 100_000_000, "depth": 1_000_000_000}),
    max_id_step=1,
    style=SpotStyle,
)
