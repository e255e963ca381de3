"""Spot in JSON: Binance's "WebSocket Streams" of the Spot API.

Aggregate trades are sent at once and every update id belongs to one symbol: a depth update starts
right after the end of the one before. Best quotes carry no time.
"""

from __future__ import annotations

import itertools
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from deploy.local.exchange.book import decimal, json_levels
from deploy.local.exchange.events import JsonEvent, TimeUnit
from deploy.local.exchange.rules import Limits, Rules, every_stream

if TYPE_CHECKING:
    from deploy.local.exchange.book import Book, Lot
    from deploy.local.exchange.events import Event
    from deploy.local.exchange.rules import Order, Push


class SpotStyle:
    """See `rules.Style`."""

    def __init__(
        self, book: Book, *, depth_levels: int, first_aggregate_id: int, offset_ns: int
    ) -> None:
        """See `rules.StyleMaker`."""
        self._book = book
        self._depth_levels = depth_levels
        self._aggregate_id = first_aggregate_id
        self._offset_ns = offset_ns
        self._prefix = book.symbol.lower()
        self._name = book.symbol.encode()

    def order(self, order: Order) -> list[Event]:
        """Its trades, their aggregates (one per price) and the new best quote."""
        flags = b',"m":%b,"M":true}' % (b"true" if order.buyer_is_maker else b"false")
        trades = [
            self._trade(order, number, lot, flags)
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

    def quote(self, event_ns: int, changed_ns: int) -> list[Event]:  # noqa: ARG002 - not told here
        """The best quote."""
        book = self._book
        payload = b'{"u":%d,"s":"%b","b":"%b","B":"%b","a":"%b","A":"%b"}' % (
            book.update_id,
            self._name,
            decimal(book.bid),
            decimal(book.quantity()),
            decimal(book.ask),
            decimal(book.quantity()),
        )
        return [
            JsonEvent(
                f"{self._prefix}@bookTicker",
                ids=(book.update_id, book.update_id),
                event_ns=event_ns,
                text=(payload,),
            )
        ]

    def push(self, push: Push) -> list[Event]:
        """What changed in the book, if anything."""
        if not push.changes:
            return []
        count = min(push.changes, self._depth_levels)
        after = b',"s":"%b","U":%d,"u":%d,"b":[%b],"a":[%b]}' % (
            self._name,
            push.first_id,
            push.last_id,
            json_levels(self._book.bids(count)),
            json_levels(self._book.asks(count)),
        )
        return [
            JsonEvent(
                f"{self._prefix}@{push.stream}",
                ids=(push.first_id, push.last_id),
                event_ns=push.event_ns,
                text=(b'{"e":"depthUpdate","E":', after),
                times_ns=(push.event_ns,),
                offset_ns=self._offset_ns,
            )
        ]

    def _trade(self, order: Order, number: int, lot: Lot, flags: bytes) -> Event:
        middle = b',"s":"%b","t":%d,"p":"%b","q":"%b","T":' % (
            self._name,
            number,
            decimal(lot.price),
            decimal(lot.quantity),
        )
        return self._timed("trade", number, order, (b'{"e":"trade","E":', middle, flags))

    def _aggregate(
        self, order: Order, price: int, quantity: int, trade_ids: tuple[int, int], flags: bytes
    ) -> Event:
        number = self._aggregate_id
        self._aggregate_id += 1
        middle = b',"s":"%b","a":%d,"p":"%b","q":"%b","f":%d,"l":%d,"T":' % (
            self._name,
            number,
            decimal(price),
            decimal(quantity),
            *trade_ids,
        )
        return self._timed("aggTrade", number, order, (b'{"e":"aggTrade","E":', middle, flags))

    def _timed(self, kind: str, number: int, order: Order, text: tuple[bytes, ...]) -> Event:
        return JsonEvent(
            f"{self._prefix}@{kind}",
            ids=(number, number),
            event_ns=order.event_ns,
            trade_ns=order.trade_ns,
            text=text,
            times_ns=(order.event_ns, order.trade_ns),
            offset_ns=self._offset_ns,
        )


LIMITS: Final = Limits(
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
