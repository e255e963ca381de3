"""Numbers as people read them in a sentence."""

from __future__ import annotations

from typing import Final

# From here on digits say nothing to a reader; powers of ten do.
_TOO_LONG_TO_READ: Final = 1e9

_SPOKEN: Final = {"tail_ratio": "p99.9 / p99"}


def ms(seconds: float) -> str:
    """Milliseconds with three significant digits or more: `0.183 ms`, `1250 ms`, `2e+15 ms`."""
    return f"{_readable(seconds * 1e3)} ms"


def percent(ratio: float) -> str:
    """Per cent with three significant digits or more: `95 %`, `0.0123 %`, `3440 %`."""
    return f"{_readable(ratio * 100)} %"


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


def constraint(name: str) -> str:
    """The name of a hard constraint as the reports write it: `p99.9 / p99` for `tail_ratio`."""
    return _SPOKEN.get(name, name)


def _readable(value: float) -> str:
    # No decimals from four digits on.
    return f"{value:.0f}" if 1000 <= abs(value) < _TOO_LONG_TO_READ else f"{value:.3g}"  # noqa: PLR2004
