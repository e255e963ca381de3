"""Spot in SBE: Binance's "SBE Market Data Streams", binary, times in microseconds.

A connection needs an API key in a header. All fills of an order come in one message, best quotes
carry a time, and the book is told every 20 ms, its 20 best levels every 50 ms. Replies and
`serverShutdown` are JSON in text frames, as on spot.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from latency_sweep.lab.exchange.markets import spot
from latency_sweep.lab.exchange.markets.book import EXPONENT
from latency_sweep.lab.exchange.markets.events import MarketEvent, TimeUnit, binary_frame
from latency_sweep.lab.exchange.markets.rules import Rules, every_stream
from latency_sweep.lab.exchange.markets.sbe_schema import STREAM_1_0

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latency_sweep.lab.exchange.markets.book import Book, Lot
    from latency_sweep.lab.exchange.markets.rules import Order, Push

_US: Final = TimeUnit.MICROSECOND.value
_MS: Final = 1_000_000
_SNAPSHOT_LEVELS: Final = 20


class _Contents(NamedTuple):
    """A message but for its times.

    Attributes:
        message: its name in the schema.
        fields: values of its block.
        groups: entries of its groups.
    """

    message: str
    fields: Mapping[str, int]
    groups: Mapping[str, Sequence[Mapping[str, int]]] = MappingProxyType({})


class SbeEvent(MarketEvent):
    """A message in SBE; neither the unit nor combined streams change it."""

    __slots__ = ("_contents", "_frame", "_offset_ns", "_symbol")

    def __init__(
        self,
        book: Book,
        stream: str,
        *,
        ids: tuple[int, int],
        event_ns: int,
        trade_ns: int = 0,
        contents: _Contents,
        offset_ns: int,
    ) -> None:
        """A message of a symbol's stream; see `MarketEvent`."""
        super().__init__(
            f"{book.symbol.lower()}@{stream}", ids=ids, event_ns=event_ns, trade_ns=trade_ns
        )
        self._symbol = book.symbol
        self._contents = contents
        self._offset_ns = offset_ns
        self._frame: bytes | None = None

    def payload(self) -> bytes:
        """The message without its WebSocket frame."""
        message, fields, groups = self._contents
        times = {
            "eventTime": (self.event_ns + self._offset_ns) // _US,
            "transactTime": (self.trade_ns + self._offset_ns) // _US,
        }
        exponents = {"priceExponent": EXPONENT, "qtyExponent": EXPONENT}
        return STREAM_1_0.encode(
            message, {**times, **exponents, **fields}, groups, {"symbol": self._symbol}
        )

    def frame(self, unit: TimeUnit, *, combined: bool) -> bytes:  # noqa: ARG002 - see the class
        """See `MarketEvent.frame`."""
        if self._frame is None:
            self._frame = binary_frame(self.payload())
        return self._frame


class SbeStyle:
    """See `rules.Style`."""

    def __init__(
        self, book: Book, *, depth_levels: int, first_aggregate_id: int, offset_ns: int
    ) -> None:
        """See `rules.StyleMaker`; there are no aggregate trades."""
        del first_aggregate_id
        self._book = book
        self._depth_levels = depth_levels
        self._offset_ns = offset_ns

    def order(self, order: Order) -> list[MarketEvent]:
        """All its trades in one message, and the new best quote."""
        entries = [
            {
                "id": number,
                "price": lot.price,
                "qty": lot.quantity,
                "isBuyerMaker": int(order.buyer_is_maker),
            }
            for number, lot in enumerate(order.fills, order.first_trade_id)
        ]
        trades = SbeEvent(
            self._book,
            "trade",
            ids=(order.first_trade_id, order.first_trade_id + len(entries) - 1),
            event_ns=order.event_ns,
            trade_ns=order.trade_ns,
            contents=_Contents("TradesStreamEvent", {}, {"trades": entries}),
            offset_ns=self._offset_ns,
        )
        return [trades, *self.quote(order.event_ns, order.trade_ns)]

    def quote(self, event_ns: int, changed_ns: int) -> list[MarketEvent]:  # noqa: ARG002 - not told here
        """The best quote."""
        book = self._book
        fields = {
            "bookUpdateId": book.update_id,
            "bidPrice": book.bid,
            "bidQty": book.quantity(),
            "askPrice": book.ask,
            "askQty": book.quantity(),
        }
        return [
            SbeEvent(
                book,
                "bestBidAsk",
                ids=(book.update_id, book.update_id),
                event_ns=event_ns,
                contents=_Contents("BestBidAskStreamEvent", fields),
                offset_ns=self._offset_ns,
            )
        ]

    def push(self, push: Push) -> list[MarketEvent]:
        """What changed in the book, or its best levels, if anything changed."""
        if not push.changes:
            return []
        if push.stream == "depth":
            ids = push.first_id, push.last_id
            name, count = "DepthDiffStreamEvent", min(push.changes, self._depth_levels)
            fields = {"firstBookUpdateId": ids[0], "lastBookUpdateId": ids[1]}
        else:
            ids = push.last_id, push.last_id
            name, count = "DepthSnapshotStreamEvent", _SNAPSHOT_LEVELS
            fields = {"bookUpdateId": push.last_id}
        groups = {
            "bids": _entries(self._book.bids(count)),
            "asks": _entries(self._book.asks(count)),
        }
        return [
            SbeEvent(
                self._book,
                push.stream,
                ids=ids,
                event_ns=push.event_ns,
                contents=_Contents(name, fields, groups),
                offset_ns=self._offset_ns,
            )
        ]


def _entries(levels: list[Lot]) -> list[dict[str, int]]:
    return [{"price": price, "qty": quantity} for price, quantity in levels]


SBE: Final = Rules(
    limits=spot.LIMITS,
    routes=MappingProxyType({"": every_stream}),
    units=(TimeUnit.MICROSECOND,),
    needs_key=True,
    rest=spot.SPOT.rest,
    rest_units=spot.SPOT.rest_units,
    periods_ns=MappingProxyType({"depth": 20 * _MS, "depth20": 50 * _MS}),
    max_id_step=1,
    style=SbeStyle,
)
