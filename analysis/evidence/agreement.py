"""Which of several witnesses of one value are wrong, if more than half of them are right.

Each witness says that the value lies in an interval. Intervals without a common point cannot all
be right; what more than half of them cover holds the value if more than half are right (Marzullo,
Maintaining the Time in a Distributed System, 1984; RFC 5905, section 11.2.1).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# With fewer witnesses that contradict one another, none is in the minority.
_FEWEST: Final = 3


class Span(NamedTuple):
    """An interval, ends included; where `low` is greater than `high` it contradicts itself."""

    low: float
    high: float

    def meets(self, other: Span) -> bool:
        """Whether some value lies in both."""
        return max(self.low, other.low) <= min(self.high, other.high)

    def beyond(self, other: Span) -> float:
        """How far this one lies from the other; 0 where they meet."""
        return max(0.0, self.low - other.high, other.low - self.high)


class Agreement(NamedTuple):
    """What witnesses say together.

    Attributes:
        span: where the value lies; None if the witnesses do not settle it.
        wrong: by how much the span of each witness that is proven wrong misses it.
        contested: witnesses of which some are wrong, and it cannot be said which.
    """

    span: Span | None
    wrong: Mapping[int, float]
    contested: frozenset[int]


def agree(witnesses: Mapping[int, Span]) -> Agreement:
    """What witnesses say together.

    Only those that contradict one another are counted: one whose interval is so wide that it
    meets all others supports none of them.

    Args:
        witnesses: what each says, by number.
    """
    quarrelling = {
        one: span
        for one, span in witnesses.items()
        if any(not span.meets(other) for other in witnesses.values())
    }
    if not quarrelling:
        return Agreement(_common(witnesses), {}, frozenset())
    covered = _covered_by_most(quarrelling) if len(quarrelling) >= _FEWEST else None
    if covered is None:
        return Agreement(None, {}, frozenset(quarrelling))
    wrong = {
        one: span.beyond(covered) for one, span in quarrelling.items() if not span.meets(covered)
    }
    # A witness contradicted by one that is not proven wrong stays in question.
    right = {one: span for one, span in quarrelling.items() if one not in wrong}
    contested = {
        one for one, span in right.items() if any(not span.meets(other) for other in right.values())
    }
    if contested:
        return Agreement(None, wrong, frozenset(contested))
    kept = {one: span for one, span in witnesses.items() if one not in wrong}
    return Agreement(_common(kept), wrong, frozenset())


def _common(witnesses: Mapping[int, Span]) -> Span | None:
    if not witnesses:
        return None
    return Span(
        max(span.low for span in witnesses.values()), min(span.high for span in witnesses.values())
    )


def _covered_by_most(witnesses: Mapping[int, Span]) -> Span | None:
    """The smallest interval with all points that more than half of the witnesses cover."""
    spans = list(witnesses.values())
    low, high = math.inf, -math.inf
    for point in (end for span in spans for end in span):
        if 2 * sum(span.low <= point <= span.high for span in spans) > len(spans):
            low, high = min(low, point), max(high, point)
    return Span(low, high) if low <= high else None
