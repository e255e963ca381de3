"""The generated market: orders, quotes and timers of every symbol, in one order of time.

Orders arrive as a Poisson process with bursts; one order makes several fills that share T and E.
Ids follow Binance's rules: trade ids and aggregate ids are consecutive, and update ids only rise.
Prices and quantities are merely plausible. The market's `rules.Style` encodes the messages.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING

from latency_sweep.lab.exchange.latency import DelaySampler, generator, scalar_random
from latency_sweep.lab.exchange.markets.book import Book, Lot
from latency_sweep.lab.exchange.markets.rules import Order, Push
from latency_sweep.lab.exchange.markets.table import RULES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from latency_sweep.lab.exchange.config import ExchangeConfig, MarketName, Symbol
    from latency_sweep.lab.exchange.markets.events import MarketEvent
    from latency_sweep.lab.exchange.markets.rules import Rules

NS_PER_SEC = 1_000_000_000
NS_PER_US = 1_000
STEP_PROBABILITY = 0.3
QUOTE_MOVE_PROBABILITY = 0.1
FIRST_IDS = 1_000_000_000


class GeneratedMarket:
    """Every symbol of one market on one time line; an `events.Source`."""

    def __init__(self, config: ExchangeConfig, start_ns: int, market: MarketName = "spot") -> None:
        """A market that opens at Unix time `start_ns`."""
        self._agenda: list[tuple[int, int, Callable[[int], list[MarketEvent]]]] = []
        self._ticket = itertools.count()
        for name, symbol in config.symbols_of(market).items():
            _SymbolMarket(name, symbol, config, market, start_ns=start_ns, at=self._at)

    def next_ns(self) -> int | None:
        """Unix nanoseconds of the next event."""
        return self._agenda[0][0]

    def take_due(self, now_ns: int) -> list[MarketEvent]:
        """The events due at `now_ns`, in order of time."""
        events: list[MarketEvent] = []
        while self._agenda[0][0] <= now_ns:
            moment_ns, _, action = heapq.heappop(self._agenda)
            events += action(moment_ns)
        return events

    def _at(self, unix_ns: int, action: Callable[[int], list[MarketEvent]]) -> None:
        heapq.heappush(self._agenda, (unix_ns, next(self._ticket), action))


class _Timer:
    """A stream that is pushed regularly: the changes of the book since the last push."""

    __slots__ = ("changes", "first_id", "period_ns", "previous_id", "stream")

    def __init__(self, stream: str, period_ns: int, update_id: int) -> None:
        self.stream = stream
        self.period_ns = period_ns
        self.previous_id = update_id
        self.first_id = 0
        self.changes = 0

    def note(self, update_id: int) -> None:
        """The book has changed."""
        if not self.changes:
            self.first_id = update_id
        self.changes += 1

    def ring(self, event_ns: int, changed_ns: int, update_id: int) -> Push:
        """The push that is due; starts the next interval."""
        push = Push(
            self.stream,
            event_ns,
            changed_ns,
            self.first_id,
            update_id,
            self.previous_id,
            self.changes,
        )
        self.previous_id, self.first_id, self.changes = update_id, 0, 0
        return push


class _SymbolMarket:
    """One symbol: three processes (orders, quotes, timers) that put themselves on the agenda.

    All draws come from one generator in order of time, so the market depends on the seed alone.
    """

    def __init__(
        self,
        name: str,
        symbol: Symbol,
        config: ExchangeConfig,
        market: MarketName,
        *,
        start_ns: int,
        at: Callable[[int, Callable[[int], list[MarketEvent]]], None],
    ) -> None:
        rules: Rules = RULES[market]
        self._symbol = symbol
        self._at = at
        self._rng: random.Random = scalar_random(config.seed, market, name)
        self._omissions = scalar_random(config.seed, "never sent", market, name)
        self._delay = DelaySampler(
            config.exchange_delay, generator(config.seed, "exchange delay", market, name)
        )
        self._max_id_step = rules.max_id_step
        self._trade_id = FIRST_IDS + self._rng.randrange(FIRST_IDS)
        self._book = Book(
            name,
            tick=symbol.tick,
            price=symbol.price,
            update_id=10 * FIRST_IDS + self._rng.randrange(FIRST_IDS),
            rng=self._rng,
        )
        self._style = rules.style(
            self._book,
            depth_levels=symbol.depth_levels,
            first_aggregate_id=FIRST_IDS + self._rng.randrange(FIRST_IDS),
            offset_ns=config.clock_offset_ns,
        )
        self._followers = 0
        self._trade_ns = start_ns
        self._event_ns = start_ns
        self._changed_ns = start_ns
        self._timers = [
            _Timer(stream, period_ns, self._book.update_id)
            for stream, period_ns in rules.periods_ns.items()
        ]

        self._plan_order()
        if symbol.book_updates_per_sec:
            self._plan_quote(start_ns)
        for timer in self._timers:
            phase_ns = self._rng.randrange(timer.period_ns)
            at(_whole_us(start_ns + phase_ns), self._ringing(timer))

    def _plan_order(self) -> None:
        """Put the next order on the agenda at its event time, which never steps back."""
        bursts = self._symbol.bursts
        if self._followers:
            self._followers -= 1
            mean_gap_sec = bursts.gap_ms / 1e3
        else:
            mean_gap_sec = self._symbol.mean_gap_sec
            if self._rng.random() < bursts.probability:
                self._followers = _geometric(self._rng, bursts.orders)
        gap_ns = round(self._rng.expovariate(1 / mean_gap_sec) * NS_PER_SEC)
        self._trade_ns += gap_ns
        self._event_ns = max(self._event_ns, self._trade_ns + self._delay.next_ns())
        trade_ns = _whole_us(self._trade_ns)
        self._at(_whole_us(self._event_ns), lambda moment_ns: self._order(moment_ns, trade_ns))

    def _plan_quote(self, now_ns: int) -> None:
        gap_ns = round(
            self._rng.expovariate(self._symbol.book_updates_per_sec) * NS_PER_SEC + NS_PER_US
        )
        self._at(_whole_us(now_ns + gap_ns), self._quote)

    def _order(self, event_ns: int, trade_ns: int) -> list[MarketEvent]:
        """An order takes lots from the book, the best first."""
        rng, book = self._rng, self._book
        buyer_is_maker = rng.random() < 0.5  # noqa: PLR2004 - a fair coin
        step = -book.tick if buyer_is_maker else book.tick
        price = book.bid if buyer_is_maker else book.ask
        fills: list[Lot] = []
        for number in range(_geometric(rng, self._symbol.mean_fills)):
            if number and rng.random() < STEP_PROBABILITY and price + step > book.tick:
                price += step
            fills.append(Lot(price, book.quantity()))
        book.bid = price if buyer_is_maker else price - book.tick
        self._change(len(fills), trade_ns)
        order = Order(event_ns, trade_ns, buyer_is_maker, fills, self._trade_id + 1)
        self._trade_id += len(fills)
        self._plan_order()
        return self._sent(self._style.order(order))

    def _quote(self, event_ns: int) -> list[MarketEvent]:
        """A change of the book that no trade made."""
        book = self._book
        self._change(1, event_ns)
        if self._rng.random() < QUOTE_MOVE_PROBABILITY:
            book.bid = max(book.tick, book.bid + self._rng.choice((-1, 1)) * book.tick)
        self._plan_quote(event_ns)
        return self._sent(self._style.quote(event_ns, event_ns))

    def _change(self, count: int, changed_ns: int) -> None:
        """Give so many changes of the book their update ids."""
        book = self._book
        self._changed_ns = max(self._changed_ns, changed_ns)
        for _ in range(count):
            book.update_id += 1 + self._rng.randrange(self._max_id_step)
            for timer in self._timers:
                timer.note(book.update_id)

    def _ringing(self, timer: _Timer) -> Callable[[int], list[MarketEvent]]:
        def ring(event_ns: int) -> list[MarketEvent]:
            self._at(event_ns + timer.period_ns, ring)
            push = timer.ring(event_ns, self._changed_ns, self._book.update_id)
            return self._sent(self._style.push(push))

        return ring

    def _sent(self, events: list[MarketEvent]) -> list[MarketEvent]:
        """Those that are sent at all."""
        shares = self._symbol.never_sent
        if not shares:
            return events
        draw = self._omissions.random
        return [event for event in events if draw() >= shares.get(event.kind, 0.0)]


def _whole_us(unix_ns: int) -> int:
    return unix_ns - unix_ns % NS_PER_US


def _geometric(rng: random.Random, mean: float) -> int:
    """A geometric variable of at least 1 with this mean."""
    if mean <= 1:
        return 1
    return 1 + int(math.log(1 - rng.random()) / math.log(1 - 1 / mean))
