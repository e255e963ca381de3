"""Lost on the way or never sent: what the instances of a run say together about one channel.

An id that every instance misses was never sent; one that an instance received was sent, and the
others lost it. Each instance gives its missing ids as a table of fixed size. Two tables are
subtracted: what both miss cancels, and the few ranges that differ are read off, see
`contract.missing_ids`. From the differences to one of them, the base, follows what each misses:

    missing by all = missing by the base - union of what others received of it

In doubt a message is lost:

- Where too much differs to be read off, all that is missing at that instance counts as lost. The
  others are compared without it, as long as they are more than half of all, and as it misses no
  fewer messages than would be excused: with fewer it received some of those.
- An id counts as never sent only if two instances at least followed the ids around it. One that
  began later, or began a new numbering, says nothing about those before.
- A message that arrived after it had been counted as lost was sent.
- Where a message covers a range of ids, a gap counts as never sent only if all of it is.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from latency_sweep.contract.missing_ids import Difference, IdRange, MissingIds

Place = TypeVar("Place", bound="Hashable")


@dataclass(frozen=True, slots=True)
class ChannelLosses:
    """What one instance says about the losses of a channel in a run.

    Attributes:
        lost: messages counted as lost, those that arrived later included.
        missing: of these, messages that never arrived.
        followed: ids that each arrived or are known to be missing; None if not known.
        ids: the missing ids.
    """

    lost: int
    missing: int
    followed: IdRange | None
    ids: MissingIds

    @property
    def per_id(self) -> bool:
        """Whether every missing id is a missing message."""
        return self.ids.ids == self.missing

    @property
    def consistent(self) -> bool:
        """Whether its table holds what it counted."""
        return self.missing in (self.ids.ids, self.ids.ranges)


class Doubt(Enum):
    """Why it cannot be told whether what an instance misses was ever sent."""

    ALONE = "alone"  # no other instance followed those ids
    DIFFERENT = "different"  # too much differs between the instances


class Attribution(NamedTuple):
    """What became of the missing messages of one instance.

    Attributes:
        never_sent: messages that no instance received.
        doubtful: others that may never have been sent either, but count as lost.
        doubt: why that cannot be told; None if none is doubtful.
    """

    never_sent: int
    doubtful: int = 0
    doubt: Doubt | None = None


class _Compared(NamedTuple):
    """What an instance misses: something that all in its group do, and ranges that not all do."""

    losses: ChannelLosses
    common: int  # messages
    ranges: tuple[IdRange, ...]


def attribute(found: Mapping[Place, ChannelLosses]) -> dict[Place, Attribution]:
    """Tell lost from never sent, for every instance that followed a channel in a run.

    Args:
        found: what each of them says.
    """
    if all(losses.missing == 0 for losses in found.values()):
        return dict.fromkeys(found, Attribution(0))
    doubt = Doubt.ALONE if len(found) == 1 else Doubt.DIFFERENT
    # Whoever misses nothing shows that everything was sent.
    lossless = any(losses.missing == 0 for losses in found.values())
    result = {
        place: Attribution(0) if lossless else _doubtful(losses.missing, doubt)
        for place, losses in found.items()
    }
    group = _comparable(found)
    if group is None:
        return result
    never_sent, alone = _received_by_none([*group.values()])
    told = {
        place: _doubtful(
            _messages_in(compared, alone),
            Doubt.ALONE,
            never_sent=compared.common + _messages_in(compared, never_sent),
        )
        for place, compared in group.items()
    }
    most = max(attribution.never_sent for attribution in told.values())
    if any(losses.missing < most for place, losses in found.items() if place not in group):
        return result
    return result | told


def _doubtful(messages: int, doubt: Doubt, *, never_sent: int = 0) -> Attribution:
    return Attribution(never_sent, messages, doubt if messages else None)


def _comparable(found: Mapping[Place, ChannelLosses]) -> dict[Place, _Compared] | None:
    """More than half of the instances, whose differences can be read off; None if there are none.

    What they miss together is subtracted from the base that misses least.
    """
    order = sorted(found, key=lambda place: found[place].missing)
    for base in order:
        group = _compared_with(base, found)
        if len(group) >= 2 and 2 * len(group) > len(found):  # noqa: PLR2004 - to compare takes two
            return group
    return None


def _compared_with(base: Place, found: Mapping[Place, ChannelLosses]) -> dict[Place, _Compared]:
    if not found[base].consistent:
        return {}
    mine = found[base].ids
    differences: dict[Place, Difference] = {}
    for place, losses in found.items():
        difference = mine.difference(losses.ids) if losses.consistent else None
        if difference is not None:
            differences[place] = difference
    # What the base misses and another one does not.
    apart = {one for difference in differences.values() for one in difference.only_first}
    common = found[base].missing - _messages(found[base], apart)
    group = {
        place: _Compared(
            found[place],
            common,
            tuple(sorted({*apart.difference(difference.only_first), *difference.only_second})),
        )
        for place, difference in differences.items()
    }
    # Of each the sum is known: what does not add up was read off wrongly.
    return {
        place: compared
        for place, compared in group.items()
        if common + _messages(compared.losses, compared.ranges) == compared.losses.missing
    }


def _messages(losses: ChannelLosses, ranges: Iterable[IdRange]) -> int:
    return sum(one.length if losses.per_id else 1 for one in ranges)


_Spans = list[tuple[int, int]]
"""Begins and ends of ids, in order; an end is the first id that is no longer of it."""


def _received_by_none(group: Sequence[_Compared]) -> tuple[_Spans, _Spans]:
    """Ids that no instance received: those that several followed, and those that one did.

    Between two bounds all instances know the same.
    """
    known = {ids for compared in group for ids in compared.ranges}
    known |= {each.losses.followed for each in group if each.losses.followed is not None}
    bounds = sorted({ids.first for ids in known} | {ids.last + 1 for ids in known})
    several: _Spans = []
    one: _Spans = []
    for begin, end in pairwise(bounds):
        missing = [_covers(compared.ranges, begin) for compared in group]
        followed = [
            compared.losses.followed is not None
            and compared.losses.followed.first <= begin <= compared.losses.followed.last
            for compared in group
        ]
        received = any(there and not gone for there, gone in zip(followed, missing, strict=True))
        if not received and any(missing):
            (several if sum(missing) > 1 else one).append((begin, end))
    return several, one


def _covers(ranges: Sequence[IdRange], number: int) -> bool:
    """Whether an id is in one of some ranges, which are in order."""
    index = bisect_right(ranges, number, key=lambda one: one.first)
    return index > 0 and number <= ranges[index - 1].last


def _messages_in(compared: _Compared, spans: _Spans) -> int:
    """Messages of an instance's ranges that lie wholly in some spans."""
    count = 0
    for one in compared.ranges:
        shared = sum(max(0, min(end, one.last + 1) - max(begin, one.first)) for begin, end in spans)
        count += shared if compared.losses.per_id else shared == one.length
    return count
