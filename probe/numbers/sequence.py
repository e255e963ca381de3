"""Sequence check: gaps, losses, duplicates and late arrivals from the ids of one channel.

Late is not lost: a missing id counts as lost only when it has not arrived within a grace period.
The invariant, for ids that go up one by one: ids seen + lost + pending = last - first + 1.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

GRACE_NS: Final = 1_000_000_000
# Jumps beyond these are a new numbering, not billions of lost messages.
FORWARD_RESET: Final = 1_000_000_000
BACKWARD_RESET: Final = 1_000_000
# Holes remembered; beyond it the oldest pending one is given up as lost.
MAX_HOLES: Final = 4096


class Seen(Enum):
    """What a message is among those before it."""

    NEW = "new"
    LATE = "late"  # it fills a hole
    REPEATED = "repeated"


class _Hole:
    """A range of missing ids, `first..last`; `deadline_ns` None once counted as lost."""

    __slots__ = ("deadline_ns", "first", "last")

    def __init__(self, first: int, last: int, deadline_ns: int | None) -> None:
        self.first = first
        self.last = last
        self.deadline_ns = deadline_ns


class SequenceCheck:
    """Follows the ids of one channel.

    Args:
        per_id: True where every message is one id, so that missing ids are missing messages.
            False where a message covers a range: each hole is then at least one message, and
            one is counted.
        grace_ns: how long a missing id may still arrive late, nanoseconds.

    Attributes:
        gaps: jumps forward.
        lost: messages missing for longer than the grace period.
        duplicates: messages whose ids had all been seen.
        out_of_order: messages that filled a hole after a later one had arrived. One that comes
            after the grace period counts here too, and stays counted as lost.
    """

    __slots__ = (
        "_first",
        "_grace_ns",
        "_holes",
        "_last",
        "_pending",
        "_per_id",
        "duplicates",
        "gaps",
        "lost",
        "out_of_order",
    )

    def __init__(self, *, per_id: bool, grace_ns: int = GRACE_NS) -> None:
        self._per_id = per_id
        self._grace_ns = grace_ns
        self._first = 0  # meaningful once there is a last one
        self._last: int | None = None
        self._holes: deque[_Hole] = deque()  # ordered by deadline, hence by first id
        self._pending = 0
        self.gaps = 0
        self.lost = 0
        self.duplicates = 0
        self.out_of_order = 0

    @property
    def pending(self) -> int:
        """Messages missing that may still arrive in time."""
        return sum(self._messages(h) for h in self._holes if h.deadline_ns is not None)

    def see(self, first: int, last: int, now_ns: int, here: Seen | None = None) -> Seen:
        """Take note of a message that covers the ids `first..last`, received at `now_ns`.

        Args:
            first: first id it covers.
            last: last id it covers.
            now_ns: when it was received, nanoseconds.
            here: what it is among the messages of its own connection, where several connections
                feed one check. What is late or repeated only because another connection was
                faster is neither out of order nor a duplicate.

        Returns:
            What it is among all messages seen by this check.
        """
        previous = self._last
        seen = Seen.NEW
        if previous is None:
            self._first, self._last = first, last
        elif first == previous + 1:
            self._last = last
        elif first > previous + 1:
            self._jump(previous, first, now_ns)
            self._last = last
        elif last > previous:
            self._last = last  # overlaps what was seen: nothing is missing
        elif last < previous - BACKWARD_RESET:
            self.restart()
            self._first, self._last = first, last
        else:
            seen = self._see_old(first, last, here)
        if self._pending:
            self.settle(now_ns)
        return seen

    def settle(self, now_ns: int) -> None:
        """Count as lost what has been missing for longer than the grace period."""
        if not self._pending:
            return
        for hole in self._holes:
            if hole.deadline_ns is None:
                continue
            if hole.deadline_ns > now_ns:
                break
            self._give_up(hole)

    def restart(self) -> None:
        """Forget the position: the next message may have any id. What is pending is lost."""
        for hole in self._holes:
            if hole.deadline_ns is not None:
                self._give_up(hole)
        self._holes.clear()
        self._last = None

    def _see_old(self, first: int, last: int, here: Seen | None) -> Seen:
        if last < self._first:  # older than the first one seen: late, and nothing was lost by it
            if last + 1 < self._first:
                self._holes.appendleft(_Hole(last + 1, self._first - 1, None))
            self._first = first
            self.out_of_order += here is not Seen.NEW
            return Seen.LATE
        if self._fill(first, last):
            self.out_of_order += here is not Seen.NEW
            return Seen.LATE
        if here is None or here is Seen.REPEATED:
            self.duplicates += 1
        return Seen.REPEATED

    def _jump(self, previous: int, first: int, now_ns: int) -> None:
        self.gaps += 1
        if first - previous > FORWARD_RESET:
            self.restart()
            self._first = first
            return
        self._holes.append(_Hole(previous + 1, first - 1, now_ns + self._grace_ns))
        self._pending += 1
        if len(self._holes) > MAX_HOLES:
            oldest = self._holes.popleft()
            if oldest.deadline_ns is not None:
                self._give_up(oldest)

    def _fill(self, first: int, last: int) -> bool:
        """Take `first..last` out of the holes; False if none of it was missing."""
        touched = [h for h in self._holes if h.first <= last and h.last >= first]
        for hole in touched:
            position = self._holes.index(hole)
            del self._holes[position]
            self._pending -= hole.deadline_ns is not None
            parts = ((hole.first, first - 1), (last + 1, hole.last))
            for start, end in reversed(parts):
                if start <= end:
                    self._holes.insert(position, _Hole(start, end, hole.deadline_ns))
                    self._pending += hole.deadline_ns is not None
        return bool(touched)

    def _give_up(self, hole: _Hole) -> None:
        self.lost += self._messages(hole)
        hole.deadline_ns = None
        self._pending -= 1

    def _messages(self, hole: _Hole) -> int:
        return hole.last - hole.first + 1 if self._per_id else 1
