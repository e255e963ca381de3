"""The generated market: trades, aggregate trades, depth updates and best quotes of every symbol.

Orders arrive as a Poisson process with bursts; one order makes several fills that share T and E.
Ids follow Binance's rules: trade ids and aggregate ids are consecutive, a depth update starts at
the last one's end plus one, and the book's update id only rises. Prices and quantities are
plausible, no more: the levels of a depth update are not kept as a book.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING

from deploy.local.exchange.events import Event
from deploy.local.exchange.latency import DelaySampler, generator, scalar_random

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from deploy.local.exchange.config import ExchangeConfig, Symbol

NS_PER_SEC = 1_000_000_000
NS_PER_US = 1_000
# Prices and quantities are whole numbers of this fraction, printed with eight decimals.
UNITS = 100_000_000
DEPTH_PERIODS_NS = {"depth@100ms": 100_000_000, "depth": 1_000_000_000}
STEP_PROBABILITY = 0.3
QUOTE_MOVE_PROBABILITY = 0.1
FIRST_IDS = 1_000_000_000


class Market:
    """Every symbol of the exchange on one time line; an `events.Source`."""

    def __init__(self, config: ExchangeConfig, start_ns: int) -> None:
        """A market that opens at Unix time `start_ns`."""
        self._agenda: list[tuple[int, int, Callable[[int], list[Event]]]] = []
        self._ticket = itertools.count()
        for name, symbol in config.symbols.items():
            _SymbolMarket(name, symbol, config, start_ns, self._at)

    def next_ns(self) -> int | None:
        """Unix nanoseconds of the next event."""
        return self._agenda[0][0]

    def take_due(self, now_ns: int) -> list[Event]:
        """The events due at `now_ns`, in order of time."""
        events: list[Event] = []
        while self._agenda[0][0] <= now_ns:
            moment_ns, _, action = heapq.heappop(self._agenda)
            events += action(moment_ns)
        return events

    def _at(self, unix_ns: int, action: Callable[[int], list[Event]]) -> None:
        heapq.heappush(self._agenda, (unix_ns, next(self._ticket), action))


class _SymbolMarket:
    """One symbol: three processes (orders, quotes, depth timers) that put themselves on the agenda.

    All draws come from one generator in order of time, so the market depends on the seed alone.
    """

    def __init__(
        self,
        name: str,
        symbol: Symbol,
        config: ExchangeConfig,
        start_ns: int,
        at: Callable[[int, Callable[[int], list[Event]]], None],
    ) -> None:
        self._symbol = symbol
        self._offset_ns = config.clock_offset_ns
        self._at = at
        self._rng: random.Random = scalar_random(config.seed, "market", name)
        self._delay = DelaySampler(
            config.exchange_delay, generator(config.seed, "exchange delay", name)
        )
        self._prefix = name.lower()
        self._name = name.encode()
        self._tick = round(symbol.tick * UNITS)
        self._bid = round(symbol.price / symbol.tick) * self._tick
        self._trade_id = FIRST_IDS + self._rng.randrange(FIRST_IDS)
        self._aggregate_id = FIRST_IDS + self._rng.randrange(FIRST_IDS)
        self._update_id = 10 * FIRST_IDS + self._rng.randrange(FIRST_IDS)
        self._followers = 0
        self._trade_ns = start_ns
        self._event_ns = start_ns
        self._last_update = dict.fromkeys(DEPTH_PERIODS_NS, self._update_id)

        self._plan_order()
        if symbol.book_updates_per_sec:
            self._plan_quote(start_ns)
        for stream, period_ns in DEPTH_PERIODS_NS.items():
            phase_ns = self._rng.randrange(period_ns)
            at(_whole_us(start_ns + phase_ns), self._depth_action(stream, period_ns))

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

    def _order(self, event_ns: int, trade_ns: int) -> list[Event]:
        """The fills of one order, their aggregates (one per price) and the new best quote."""
        rng = self._rng
        buyer_is_maker = rng.random() < 0.5  # noqa: PLR2004 - a fair coin
        step = -self._tick if buyer_is_maker else self._tick
        price = self._bid if buyer_is_maker else self._bid + self._tick
        fills: list[tuple[int, int]] = []
        for number in range(_geometric(rng, self._symbol.mean_fills)):
            if number and rng.random() < STEP_PROBABILITY and price + step > self._tick:
                price += step
            fills.append((price, self._quantity()))
        self._bid = price if buyer_is_maker else price - self._tick

        times_ns = event_ns, trade_ns
        flags = b',"m":%b,"M":true}' % (b"true" if buyer_is_maker else b"false")
        first_trade_id = self._trade_id + 1
        trades = [self._trade(times_ns, fill, flags) for fill in fills]
        aggregates = []
        for level, group in itertools.groupby(fills, key=lambda fill: fill[0]):
            quantities = [quantity for _, quantity in group]
            last_trade_id = first_trade_id + len(quantities) - 1
            aggregates.append(
                self._aggregate(
                    times_ns, (level, sum(quantities)), (first_trade_id, last_trade_id), flags
                )
            )
            first_trade_id = last_trade_id + 1
        self._update_id += len(fills)
        self._plan_order()
        return [*trades, *aggregates, self._book_ticker(event_ns)]

    def _trade(self, times_ns: tuple[int, int], fill: tuple[int, int], flags: bytes) -> Event:
        self._trade_id += 1
        middle = b',"s":"%b","t":%d,"p":"%b","q":"%b","T":' % (
            self._name,
            self._trade_id,
            _decimal(fill[0]),
            _decimal(fill[1]),
        )
        return self._timed("trade", self._trade_id, times_ns, (b'{"e":"trade","E":', middle, flags))

    def _aggregate(
        self,
        times_ns: tuple[int, int],
        fill: tuple[int, int],
        trade_ids: tuple[int, int],
        flags: bytes,
    ) -> Event:
        self._aggregate_id += 1
        middle = b',"s":"%b","a":%d,"p":"%b","q":"%b","f":%d,"l":%d,"T":' % (
            self._name,
            self._aggregate_id,
            _decimal(fill[0]),
            _decimal(fill[1]),
            *trade_ids,
        )
        text = b'{"e":"aggTrade","E":', middle, flags
        return self._timed("aggTrade", self._aggregate_id, times_ns, text)

    def _timed(
        self, kind: str, number: int, times_ns: tuple[int, int], text: tuple[bytes, ...]
    ) -> Event:
        return Event(
            f"{self._prefix}@{kind}",
            ids=(number, number),
            event_ns=times_ns[0],
            trade_ns=times_ns[1],
            text=text,
            times_ns=times_ns,
            offset_ns=self._offset_ns,
        )

    def _quote(self, event_ns: int) -> list[Event]:
        """A change of the book that no trade made."""
        self._update_id += 1
        if self._rng.random() < QUOTE_MOVE_PROBABILITY:
            self._bid = max(self._tick, self._bid + self._rng.choice((-1, 1)) * self._tick)
        self._plan_quote(event_ns)
        return [self._book_ticker(event_ns)]

    def _book_ticker(self, event_ns: int) -> Event:
        payload = b'{"u":%d,"s":"%b","b":"%b","B":"%b","a":"%b","A":"%b"}' % (
            self._update_id,
            self._name,
            _decimal(self._bid),
            _decimal(self._quantity()),
            _decimal(self._bid + self._tick),
            _decimal(self._quantity()),
        )
        return Event(
            f"{self._prefix}@bookTicker",
            ids=(self._update_id, self._update_id),
            event_ns=event_ns,
            text=(payload,),
        )

    def _depth_action(self, stream: str, period_ns: int) -> Callable[[int], list[Event]]:
        def tick(event_ns: int) -> list[Event]:
            self._at(event_ns + period_ns, tick)
            first, last = self._last_update[stream] + 1, self._update_id
            if last < first:
                return []
            self._last_update[stream] = last
            return [self._depth(stream, event_ns, first, last)]

        return tick

    def _depth(self, stream: str, event_ns: int, first: int, last: int) -> Event:
        count = min(last - first + 1, self._symbol.depth_levels)
        after = b',"s":"%b","U":%d,"u":%d,"b":[%b],"a":[%b]}' % (
            self._name,
            first,
            last,
            self._levels(self._bid, -self._tick, count),
            self._levels(self._bid + self._tick, self._tick, count),
        )
        return Event(
            f"{self._prefix}@{stream}",
            ids=(first, last),
            event_ns=event_ns,
            text=(b'{"e":"depthUpdate","E":', after),
            times_ns=(event_ns,),
            offset_ns=self._offset_ns,
        )

    def _levels(self, best: int, step: int, count: int) -> bytes:
        levels = (best + step * number for number in range(count))
        return b",".join(
            b'["%b","%b"]' % (_decimal(price), _decimal(self._quantity()))
            for price in levels
            if price > 0
        )

    def _quantity(self) -> int:
        return 1_000 * (1 + int(self._rng.expovariate(1e-4)))


def _whole_us(unix_ns: int) -> int:
    return unix_ns - unix_ns % NS_PER_US


def _geometric(rng: random.Random, mean: float) -> int:
    """A geometric variable of at least 1 with this mean."""
    if mean <= 1:
        return 1
    return 1 + int(math.log(1 - rng.random()) / math.log(1 - 1 / mean))


def _decimal(value: int) -> bytes:
    return b"%d.%08d" % divmod(value, UNITS)
