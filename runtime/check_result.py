"""What a check of a `doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class CheckStatus(StrEnum):
    """How a check ended."""

    PASS = "PASS"  # noqa: S105 - no password
    WARN = "WARN"  # measures, but worse than it could
    FAIL = "FAIL"  # what is measured here cannot be trusted
    SKIP = "SKIP"  # could not be checked here; `found` says why


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of a doctor's report.

    Attributes:
        name: what was checked.
        status: how it ended.
        found: what is.
        expected: what should be.
        action: what to do; empty where nothing is to be done.
    """

    name: str
    status: CheckStatus
    found: str
    expected: str
    action: str = ""


def plural(number: int, noun: str) -> str:
    """The number and its noun, in the plural where it must be."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"


# 999.5 ms and more are shown as a second.
_ROUNDED_UP: Final = 0.9995


def duration(seconds: float) -> str:
    """Three significant digits in the unit a reader thinks in."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= size * _ROUNDED_UP:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"
