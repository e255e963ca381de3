"""Numbers as the cells of a table: no unit where the heading has it, a dash where unknown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.results import Interval

UNKNOWN: Final = "-"
# Beyond these a plain decimal number would be all zeros, before or after its digits.
_SMALLEST_PLAIN: Final = 0.01
_LARGEST_PLAIN: Final = 1e7
_SHARE_WITHOUT_DECIMALS: Final = 1000


def milliseconds(seconds: float | None) -> str:
    """A duration in ms, at least three significant digits: `0.183`, `12.40`, `1250`."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    return _plain(seconds * 1e3)


def shift(seconds: float | None) -> str:
    """A difference in ms with its sign: `+0.512`."""
    text = milliseconds(seconds)
    return f"+{text}" if text != UNKNOWN and seconds is not None and seconds > 0 else text


def span(interval: Interval | None, *, signed: bool = False) -> str:
    """An interval of durations in ms: `3.02 to 3.20`; `?` is an end the data cannot bound."""
    if interval is None or (interval.low is None and interval.high is None):
        return UNKNOWN
    form = shift if signed else milliseconds
    low, high = (
        "?" if end is None or not math.isfinite(end) else form(end)
        for end in (interval.low, interval.high)
    )
    return f"{low} to {high}"


def share(ratio: float | None, *, signed: bool = False) -> str:
    """A ratio in per cent, three significant digits: `12.3 %`."""
    if ratio is None or not math.isfinite(ratio):
        return UNKNOWN
    value = ratio * 100
    digits = (
        f"{value:.0f}" if _SHARE_WITHOUT_DECIMALS <= abs(value) < _LARGEST_PLAIN else f"{value:.3g}"
    )
    return f"{'+' if signed and value > 0 else ''}{digits} %"


def decimal(value: float | None, places: int = 3) -> str:
    """A plain number with so many decimals."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.{places}f}" if abs(value) < _LARGEST_PLAIN else f"{value:.3g}"


def whole(value: float | None) -> str:
    """A count with thousands separated."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:,.0f}"


def probability(p: float | None) -> str:
    """A p-value as benchstat writes it, three decimals; smaller ones as `<0.001`."""
    if p is None or not math.isfinite(p):
        return "?"
    return f"{p:.3f}" if p >= 0.0005 else "<0.001"  # noqa: PLR2004 - half of the last digit


def evidence(p: float | None, runs: int | str) -> str:
    """What a difference rests on, in benchstat's manner: `(p=0.004 n=9)`."""
    text = probability(p)
    return f"(p{'' if text.startswith('<') else '='}{text} n={runs})"


def hours(value: float | None) -> str:
    """Hours with one decimal, two below ten minutes' worth."""
    if value is None:
        return UNKNOWN
    return decimal(value, 1 if value >= 1 else 2)


def _plain(value: float) -> str:
    size = abs(value)
    if size >= _LARGEST_PLAIN or 0 < size < _SMALLEST_PLAIN:
        return f"{value:.3g}"
    places = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0  # noqa: PLR2004
    return f"{value:.{places}f}"
