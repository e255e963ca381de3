"""Axes: where a value lies between the ends, in per cent, and where the ticks are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

# A range wider than this factor is drawn on a logarithmic axis.
_LOG_FROM: Final = 4.0
# Room between the outermost values and the ends of the axis.
_ROOM: Final = 0.04
_DECADE: Final = (1.0, 2.0, 5.0)
_FEWEST_TICKS: Final = 3
_FEW_TICKS: Final = 4
_MANY_TICKS: Final = 7
# Half the length of an axis around a single value, seconds.
_NARROWEST: Final = 1e-6
# Values no further apart, in seconds or as a ratio, are one: no tick could tell them apart.
_SAME: Final = 1e-9
# So many decades are more than any axis can show in full.
_MOST_DECADES: Final = 24.0


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `low` to `high`, linear or logarithmic."""

    low: float
    high: float
    log: bool

    @classmethod
    def over(cls, values: Iterable[float | None]) -> Self:
        """An axis that holds all finite values, logarithmic where they differ by much."""
        known = [v for v in values if v is not None and math.isfinite(v)]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        if low > 0 and high / low >= _LOG_FROM and high - low > _SAME:
            start, end = math.log10(low), math.log10(high)
            start = max(start, end - _MOST_DECADES)
            room = _ROOM * (end - start)
            return cls(10 ** (start - room), 10 ** min(end + room, 300.0), log=True)
        return cls.linear(known)

    @classmethod
    def linear(cls, values: Iterable[float]) -> Self:
        """A linear axis that holds all finite values."""
        known = [v for v in values if math.isfinite(v)]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        if high - low <= _SAME * max(1.0, abs(low), abs(high)):
            low, high = low - abs(low) / 10 - _NARROWEST, high + abs(high) / 10 + _NARROWEST
        room = _ROOM * (high - low)
        return cls(low - room, high + room, log=False)

    def at(self, value: float) -> float:
        """Position in per cent of the axis; values beyond its ends lie on them."""
        value = min(max(value, self.low), self.high)
        if self.log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(part, 0.0), 1.0), 3)

    def ticks(self) -> list[float]:
        """Round numbers along the axis, about four to seven of them."""
        found = self._log_ticks() if self.log else []
        return found if len(found) >= _FEWEST_TICKS else self._linear_ticks()

    def _log_ticks(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for digits in (_DECADE, (1.0, 3.0), (1.0,)):
            ticks = [d * 10.0**e for e in range(first, last + 1) for d in digits]
            ticks = [tick for tick in ticks if self.low <= tick <= self.high]
            if len(ticks) <= _MANY_TICKS:
                return ticks
        return ticks[:: math.ceil(len(ticks) / _MANY_TICKS)]

    def _linear_ticks(self) -> list[float]:
        rough = (self.high - self.low) / _FEW_TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(d * power for d in (*_DECADE, 10.0) if d * power >= rough)
        first = math.ceil(self.low / step)
        ticks = [
            round(step * n, 15)
            for n in range(first, first + 2 * _MANY_TICKS)
            if step * n <= self.high
        ]
        # Rounding may have carried the outermost over an end.
        return [min(max(tick, self.low), self.high) for tick in ticks]
