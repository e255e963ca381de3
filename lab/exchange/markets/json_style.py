"""What the JSON markets encode alike: trades, best quotes and changes of the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.lab.exchange.markets.book import decimal, json_levels
from latency_sweep.lab.exchange.markets.events import JsonEvent

if TYPE_CHECKING:
    from latency_sweep.lab.exchange.markets.book import Book, Lot
    from latency_sweep.lab.exchange.markets.events import MarketEvent
    from latency_sweep.lab.exchange.markets.rules import Push


class JsonStyle:
    """The part of a `rules.Style` that does not depend on the market."""

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

    def _event(
        self,
        stream: str,
        ids: tuple[int, int],
        *,
        event_ns: int,
        trade_ns: int = 0,
        text: tuple[bytes, ...],
        times_ns: tuple[int, ...] = (),
    ) -> MarketEvent:
        """A message of one of the symbol's streams; see `JsonEvent`."""
        return JsonEvent(
            f"{self._prefix}@{stream}",
            ids=ids,
            event_ns=event_ns,
            trade_ns=trade_ns,
            text=text,
            times_ns=times_ns,
            offset_ns=self._offset_ns,
        )

    def _next_aggregate_id(self) -> int:
        number = self._aggregate_id
        self._aggregate_id += 1
        return number

    def _quote(self) -> bytes:
        """The best quote's keys."""
        book = self._book
        return b'"u":%d,"s":"%b","b":"%b","B":"%b","a":"%b","A":"%b"' % (
            book.update_id,
            self._name,
            decimal(book.bid),
            decimal(book.quantity()),
            decimal(book.ask),
            decimal(book.quantity()),
        )

    def _changes(self, push: Push, own: bytes = b"") -> bytes:
        """A depth update from its symbol on, with the market's own keys behind the update ids."""
        count = min(push.changes, self._depth_levels)
        return b',"s":"%b","U":%d,"u":%d%b,"b":[%b],"a":[%b]}' % (
            self._name,
            push.first_id,
            push.last_id,
            own,
            json_levels(self._book.bids(count)),
            json_levels(self._book.asks(count)),
        )

    def _lot(self, number: int, lot: Lot) -> bytes:
        """A trade's keys from its symbol to its quantity."""
        return b',"s":"%b","t":%d,"p":"%b","q":"%b"' % (
            self._name,
            number,
            decimal(lot.price),
            decimal(lot.quantity),
        )


def boolean(value: bool) -> bytes:  # noqa: FBT001 - the value itself
    """`true` or `false`."""
    return b"true" if value else b"false"
