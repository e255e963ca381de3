"""The book of one symbol: best prices, update ids and quantities, plausible and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import random

# Prices and quantities are whole numbers of this fraction, printed with eight decimals.
UNITS: Final = 100_000_000
EXPONENT: Final = -8


class Lot(NamedTuple):
    """A price and a quantity, in `UNITS`: a level of the book, or a trade."""

    price: int
    quantity: int


class Book:
    """Best prices of a symbol; the levels behind them are made up when asked for.

    Attributes:
        symbol: its name, upper case.
        tick: smallest step of its price, in `UNITS`.
        bid: highest price somebody offers to buy at, in `UNITS`; the lowest to sell is a tick up.
        update_id: id of the newest change.
    """

    __slots__ = ("_rng", "bid", "symbol", "tick", "update_id")

    def __init__(
        self, symbol: str, *, tick: float, price: float, update_id: int, rng: random.Random
    ) -> None:
        """The book of a symbol whose first price and tick are given in the quote currency."""
        self.symbol = symbol
        self.tick = round(tick * UNITS)
        self.bid = round(price / tick) * self.tick
        self.update_id = update_id
        self._rng = rng

    @property
    def ask(self) -> int:
        """Lowest price somebody offers to sell at."""
        return self.bid + self.tick

    def quantity(self) -> int:
        """A quantity, in `UNITS`."""
        return 1_000 * (1 + int(self._rng.expovariate(1e-4)))

    def bids(self, count: int) -> list[Lot]:
        """The best levels to sell to, at most `count`."""
        return self._levels(self.bid, -self.tick, count)

    def asks(self, count: int) -> list[Lot]:
        """The best levels to buy from, at most `count`."""
        return self._levels(self.ask, self.tick, count)

    def _levels(self, best: int, step: int, count: int) -> list[Lot]:
        prices = (best + step * number for number in range(count))
        return [Lot(price, self.quantity()) for price in prices if price > 0]


def decimal(value: int) -> bytes:
    """A number of `UNITS` as Binance writes it."""
    return b"%d.%08d" % divmod(value, UNITS)


def json_levels(levels: list[Lot]) -> bytes:
    """Levels as the inside of a JSON array."""
    return b",".join(b'["%b","%b"]' % (decimal(price), decimal(size)) for price, size in levels)
