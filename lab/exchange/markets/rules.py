"""What differs from market to market: paths, streams, limits, keys and message formats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from latency_sweep.lab.exchange import config
    from latency_sweep.lab.exchange.markets.book import Book, Lot
    from latency_sweep.lab.exchange.markets.events import MarketEvent, TimeUnit


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Binance's limits and timers of a connection.

    Attributes:
        messages_per_sec: inbound messages of any kind, control frames included.
        streams: subscriptions at any time.
        ping_interval_sec: between the server's pings.
        pong_timeout_sec: until the answer to one of them.
        lifetime_sec: after which the server closes the connection.
    """

    messages_per_sec: int
    streams: int
    ping_interval_sec: float
    pong_timeout_sec: float
    lifetime_sec: float = 86_400.0

    def changed(self, changes: config.LimitOverrides) -> ConnectionLimits:
        """These limits with a configuration's overrides."""
        return replace(self, **changes.model_dump(exclude_none=True))


class Order(NamedTuple):
    """An order that made trades.

    Attributes:
        event_ns: when its messages are sent, Unix nanoseconds.
        trade_ns: when it was filled.
        buyer_is_maker: whether it sold.
        fills: its trades, at least one.
        first_trade_id: id of the first of them; the others follow.
    """

    event_ns: int
    trade_ns: int
    buyer_is_maker: bool
    fills: list[Lot]
    first_trade_id: int


class Push(NamedTuple):
    """The changes of a book since the previous push of a periodic stream.

    Attributes:
        stream: the stream it belongs to, without symbol.
        event_ns: time of the push, Unix nanoseconds.
        changed_ns: when the book changed last.
        first_id: update id of the first change since, 0 if there was none.
        last_id: that of the last change so far.
        previous_id: last id of the previous push.
        changes: how many changes there were.
    """

    stream: str
    event_ns: int
    changed_ns: int
    first_id: int
    last_id: int
    previous_id: int
    changes: int


class Style(Protocol):
    """Encodes what happens to one symbol as the messages of its market's streams."""

    def order(self, order: Order) -> list[MarketEvent]:
        """An order was filled; the book has changed already."""

    def quote(self, event_ns: int, changed_ns: int) -> list[MarketEvent]:
        """The book changed."""

    def push(self, push: Push) -> list[MarketEvent]:
        """A periodic stream is due."""


class StyleMaker(Protocol):
    """Makes the style of one symbol."""

    def __call__(
        self, book: Book, *, depth_levels: int, first_aggregate_id: int, offset_ns: int
    ) -> Style:
        """The style of the symbol of a book.

        Args:
            book: its book.
            depth_levels: most levels per side in one message of changes.
            first_aggregate_id: id of its first aggregate trade.
            offset_ns: error of the exchange's clock, added to every time that is written.
        """


@dataclass(frozen=True, slots=True)
class Rules:
    """One market as the exchange serves it.

    Attributes:
        limits: what a connection is allowed.
        routes: first part of the path, empty for none, and the streams that exist there: a
            subscription to any other is acknowledged and stays silent.
        units: units that times may have, the one that is used unless the URL asks first.
        needs_key: whether a connection needs an API key.
        rest: first part of the path of its REST interface.
        rest_units: units of its REST time, as `units`.
        periods_ns: streams that are pushed by a timer, and how often.
        max_id_step: by how much an update id may exceed the one before; ids that other symbols
            use up in between.
        style: makes the messages.
    """

    limits: ConnectionLimits
    routes: Mapping[str, Callable[[str], bool]]
    units: tuple[TimeUnit, ...]
    needs_key: bool
    rest: str
    rest_units: tuple[TimeUnit, ...]
    periods_ns: Mapping[str, int]
    max_id_step: int
    style: StyleMaker


def every_stream(_stream: str) -> bool:
    """Whether a stream exists on a route that carries all of them."""
    return True


def no_stream(_stream: str) -> bool:
    """Whether a stream exists on a route that carries none."""
    return False
