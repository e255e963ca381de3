"""USD-M futures in JSON: Binance's "WebSocket Market Streams" of USD-M futures.

Streams live on one route each; elsewhere they are acknowledged and silent. Times are milliseconds.
Update ids are shared with all other symbols, so a depth message names the end of the one before it
(`pu`); `U` says nothing about what came before. Aggregate trades are pushed every 100 ms.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from latency_sweep.lab.exchange.markets.book import decimal
from latency_sweep.lab.exchange.markets.events import TimeUnit, stream_kind
from latency_sweep.lab.exchange.markets.json_style import JsonStyle, boolean
from latency_sweep.lab.exchange.markets.rules import ConnectionLimits, Rules, no_stream

if TYPE_CHECKING:
    from latency_sweep.lab.exchange.markets.book import Book, Lot
    from latency_sweep.lab.exchange.markets.events import MarketEvent
    from latency_sweep.lab.exchange.markets.rules import Order, Push

_MS: Final = 1_000_000
_AGGREGATE: Final = "aggTrade"
_PUBLIC: Final = frozenset({"bookTicker", "depth", "depth5", "depth10", "depth20", "trade"})


class _Aggregate(NamedTuple):
    """Trades of one side at one price that are told together."""

    price: int
    quantity: int
    buyer_is_maker: bool
    trade_ns: int
    first_trade_id: int
    last_trade_id: int


class UsdmStyle(JsonStyle):
    """See `rules.Style`."""

    def __init__(
        self, book: Book, *, depth_levels: int, first_aggregate_id: int, offset_ns: int
    ) -> None:
        """See `rules.StyleMaker`."""
        super().__init__(
            book,
            depth_levels=depth_levels,
            first_aggregate_id=first_aggregate_id,
            offset_ns=offset_ns,
        )
        self._waiting: list[_Aggregate] = []

    def order(self, order: Order) -> list[MarketEvent]:
        """Its trades and the new best quote; the aggregates wait for their timer."""
        trades = []
        for number, lot in enumerate(order.fills, order.first_trade_id):
            self._aggregate(order, number, lot)
            trades.append(self._trade(order, number, lot))
        return [*trades, *self.quote(order.event_ns, order.trade_ns)]

    def quote(self, event_ns: int, changed_ns: int) -> list[MarketEvent]:
        """The best quote, with both times."""
        number = self._book.update_id
        return [
            self._event(
                "bookTicker",
                (number, number),
                event_ns=event_ns,
                trade_ns=changed_ns,
                text=(b'{"e":"bookTicker",%b,"T":' % self._quote(), b',"E":', b"}"),
                times_ns=(changed_ns, event_ns),
            )
        ]

    def push(self, push: Push) -> list[MarketEvent]:
        """What changed in the book, if anything, or the aggregates that wait."""
        if push.stream == _AGGREGATE:
            waiting, self._waiting = self._waiting, []
            return [self._aggregate_event(push.event_ns, each) for each in waiting]
        if not push.changes:
            return []
        return [
            self._event(
                push.stream,
                (push.first_id, push.last_id),
                event_ns=push.event_ns,
                trade_ns=push.changed_ns,
                text=(
                    b'{"e":"depthUpdate","E":',
                    b',"T":',
                    self._changes(push, b',"pu":%d' % push.previous_id),
                ),
                times_ns=(push.event_ns, push.changed_ns),
            )
        ]

    def _trade(self, order: Order, number: int, lot: Lot) -> MarketEvent:
        # The keys after `q` are the exchange's additions; clients have to overlook such.
        own = b',"X":"MARKET","m":%b,"st":0}' % boolean(order.buyer_is_maker)
        return self._event(
            "trade",
            (number, number),
            event_ns=order.event_ns,
            trade_ns=order.trade_ns,
            text=(b'{"e":"trade","E":', b',"T":', self._lot(number, lot) + own),
            times_ns=(order.event_ns, order.trade_ns),
        )

    def _aggregate(self, order: Order, number: int, lot: Lot) -> None:
        """Add a trade to the newest aggregate that waits, or begin another."""
        if self._waiting:
            newest = self._waiting[-1]
            if (newest.price, newest.buyer_is_maker) == (lot.price, order.buyer_is_maker):
                self._waiting[-1] = newest._replace(
                    quantity=newest.quantity + lot.quantity, last_trade_id=number
                )
                return
        self._waiting.append(
            _Aggregate(
                lot.price, lot.quantity, order.buyer_is_maker, order.trade_ns, number, number
            )
        )

    def _aggregate_event(self, event_ns: int, each: _Aggregate) -> MarketEvent:
        number = self._next_aggregate_id()
        middle = b',"a":%d,"s":"%b","p":"%b","q":"%b","nq":"%b","f":%d,"l":%d,"T":' % (
            number,
            self._name,
            decimal(each.price),
            decimal(each.quantity),
            decimal(each.quantity),
            each.first_trade_id,
            each.last_trade_id,
        )
        flag = b',"m":%b}' % boolean(each.buyer_is_maker)
        return self._event(
            _AGGREGATE,
            (number, number),
            event_ns=event_ns,
            trade_ns=each.trade_ns,
            text=(b'{"e":"aggTrade","E":', middle, flag),
            times_ns=(event_ns, each.trade_ns),
        )


def _is_public(stream: str) -> bool:
    return stream_kind(stream) in _PUBLIC


def _is_market(stream: str) -> bool:
    return not _is_public(stream)


USDM: Final = Rules(
    limits=ConnectionLimits(
        messages_per_sec=10, streams=1024, ping_interval_sec=180.0, pong_timeout_sec=600.0
    ),
    # The paths without a route are from before 2026.
    routes=MappingProxyType(
        {"public": _is_public, "market": _is_market, "private": no_stream, "": no_stream}
    ),
    units=(TimeUnit.MILLISECOND,),
    needs_key=False,
    rest="/fapi/v1",
    rest_units=(TimeUnit.MILLISECOND,),
    periods_ns=MappingProxyType(
        {
            _AGGREGATE: 100 * _MS,
            "depth@0ms": 25 * _MS,
            "depth@100ms": 100 * _MS,
            "depth": 250 * _MS,
            "depth@500ms": 500 * _MS,
        }
    ),
    max_id_step=500,
    style=UsdmStyle,
)
