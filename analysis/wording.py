"""Numbers as people read them in a sentence."""

from __future__ import annotations


def ms(seconds: float) -> str:
    """Milliseconds with three significant digits or more: `0.183 ms`, `12.4 ms`, `1250 ms`."""
    value = seconds * 1e3
    if abs(value) >= 1000:  # noqa: PLR2004 - no decimals from four digits on
        return f"{value:.0f} ms"
    return f"{value:.3g} ms"


def percent(ratio: float) -> str:
    """Per cent with three significant digits: `95 %`, `0.0123 %`."""
    value = ratio * 100
    return f"{value:.0f} %" if abs(value) >= 1000 else f"{value:.3g} %"  # noqa: PLR2004 - see `ms`


def duration(hours: float) -> str:
    """A duration in the unit that suits it: `40 s`, `12 min`, `3.0 h`."""
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.1f} h"


def count(number: int, noun: str = "") -> str:
    """A number with thousands separated, and its noun in the right form: `12,000 samples`."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def enumeration(names: list[str] | tuple[str, ...], *, conjunction: str = "and") -> str:
    """Names in a row: `a`, `a and b`, `a, b and c`."""
    if len(names) <= 1:
        return "".join(names)
    return f"{', '.join(names[:-1])} {conjunction} {names[-1]}"
