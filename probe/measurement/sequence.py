"""Sequence check: gaps, losses, duplicates and late arrivals from the ids of one channel.

Late is not lost: a missing id counts as lost only when it has not arrived within a grace period.
The invariant, for ids that go up one by one:
ids seen + lost - recovered + pending = last - first + 1.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

GRACE_NS: Final = 1_000_000_000
# Jumps beyond these are a new numbering, not billions of lost messages.
FORWARD_RESET: Final = 1_000_000_000
BACKWARD_RESET: Final = 1_000_000
# How long a lost message is remembered, so that it counts as recovered and not as a duplicate when
# it arrives after all. Without a limit every gap would take memory for good.
REMEMBER_NS: Final = 60_000_000_000
# Gaps remembered; beyond that the oldest expires.
MAX_GAPS: Final = 4096
_NONE_YET: Final = -1  # ids are not negative


class Seen(Enum):
    """What a message is among those before it."""

    NEW = "new"
    LATE = "late"  # it fills a gap
    REPEATED = "repeated"


class _Gap:
    """A range of missing ids, `first..last`; `deadline_ns` is None once it has expired.

    It may be forgotten at `forget_ns`.
    """

    __slots__ = ("deadline_ns", "first", "forget_ns", "last", "lost")

    def __init__(
        self, first: int, last: int, deadline_ns: int | None, forget_ns: int, *, lost: bool = False
    ) -> None:
        self.first = first
        self.last = last
        self.deadline_ns = deadline_ns
        self.forget_ns = forget_ns
        self.lost = lost


class SequenceCheck:
    """Follows the ids of one channel.

    Args:
        per_id: True where every message is one id, so that missing ids are missing messages.
            False where a message covers a range: each gap is then at least one message, and
            one is counted.
        grace_ns: how long a missing id may still arrive late, nanoseconds.

    Attributes:
        next_id: id that the next message starts with if nothing is missing, -1 at the beginning.
            Where a message starts just there and nothing is `pending_gaps`, moving this on says
            what `see` would: the hot path does so.
        pending_gaps: gaps that have not expired.
        gaps: jumps forward.
        lost: messages missing for longer than the grace period; in ranges at least so many, and one
            more when what comes too late shows that a gap was several.
        duplicates: messages whose ids had all been seen.
        out_of_order: messages that filled a gap after a later one had arrived. One that comes
            after the grace period counts here too, and stays counted as lost.
        recovered: messages that arrived after they had been counted as lost.
    """

    __slots__ = (
        "_first",
        "_grace_ns",
        "_missing",
        "_per_id",
        "duplicates",
        "gaps",
        "lost",
        "next_id",
        "out_of_order",
        "pending_gaps",
        "recovered",
    )

    def __init__(self, *, per_id: bool, grace_ns: int = GRACE_NS) -> None:
        self._per_id = per_id
        self._grace_ns = grace_ns
        self._first = 0  # meaningful once there is a next one
        self._missing: deque[_Gap] = deque()  # ordered by deadline, hence by first id
        self.next_id = _NONE_YET
        self.pending_gaps = 0
        self.gaps = 0
        self.lost = 0
        self.duplicates = 0
        self.out_of_order = 0
        self.recovered = 0

    @property
    def pending(self) -> int:
        """Messages missing that may still arrive in time."""
        return sum(self._messages(gap) for gap in self._missing if gap.deadline_ns is not None)

    def see(self, first: int, last: int, now_ns: int, here: Seen | None = None) -> Seen:
        """Record a message that covers the ids `first..last`, received at `now_ns`.

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
        expected = self.next_id
        seen = Seen.NEW
        if first == expected:
            self.next_id = last + 1
        elif expected == _NONE_YET:
            self._first, self.next_id = first, last + 1
        elif first > expected:
            self._jump(expected, first, now_ns)
            self.next_id = last + 1
        elif last >= expected:
            self.next_id = last + 1  # overlaps what was seen: nothing is missing
        elif last + 1 < expected - BACKWARD_RESET:
            self.restart()
            self._first, self.next_id = first, last + 1
        else:
            seen = self._see_old(first, last, now_ns, here)
        if self.pending_gaps:
            self.expire(now_ns)
        return seen

    def expire(self, now_ns: int) -> None:
        """Let gaps older than the grace period expire: their messages count as lost."""
        if not self.pending_gaps:
            return
        for gap in self._missing:
            if gap.deadline_ns is None:
                continue
            if gap.deadline_ns > now_ns:
                break
            self._expire_gap(gap)

    def restart(self) -> None:
        """Forget the position: the next message may have any id. Pending gaps expire."""
        for gap in self._missing:
            if gap.deadline_ns is not None:
                self._expire_gap(gap)
        self._missing.clear()
        self.next_id = _NONE_YET

    def _see_old(self, first: int, last: int, now_ns: int, here: Seen | None) -> Seen:
        if last < self._first:  # older than the first one seen: late, and nothing was lost by it
            if last + 1 < self._first:
                early = _Gap(last + 1, self._first - 1, None, now_ns + REMEMBER_NS)
                self._missing.appendleft(early)
            self._first = first
            self.out_of_order += here is not Seen.NEW
            return Seen.LATE
        if self._fill(first, last):
            self.out_of_order += here is not Seen.NEW
            return Seen.LATE
        if here is None or here is Seen.REPEATED:
            self.duplicates += 1
        return Seen.REPEATED

    def _jump(self, expected: int, first: int, now_ns: int) -> None:
        self.gaps += 1
        if first - expected >= FORWARD_RESET:
            self.restart()
            self._first = first
            return
        while self._missing and self._missing[0].deadline_ns is None:
            if self._missing[0].forget_ns > now_ns:
                break
            self._missing.popleft()
        deadline_ns = now_ns + self._grace_ns
        self._missing.append(_Gap(expected, first - 1, deadline_ns, deadline_ns + REMEMBER_NS))
        self.pending_gaps += 1
        if len(self._missing) > MAX_GAPS:
            oldest = self._missing.popleft()
            if oldest.deadline_ns is not None:
                self._expire_gap(oldest)

    def _fill(self, first: int, last: int) -> bool:
        """Take `first..last` out of the gaps; False if none of it was missing."""
        touched = [gap for gap in self._missing if gap.first <= last and gap.last >= first]
        for gap in touched:
            position = self._missing.index(gap)
            del self._missing[position]
            self.pending_gaps -= gap.deadline_ns is not None
            parts = ((gap.first, first - 1), (last + 1, gap.last))
            rests = [(start, end) for start, end in parts if start <= end]
            for start, end in reversed(rests):
                rest = _Gap(start, end, gap.deadline_ns, gap.forget_ns, lost=gap.lost)
                self._missing.insert(position, rest)
                self.pending_gaps += gap.deadline_ns is not None
            if gap.lost:
                # A gap in ranges counts as one message, recovered when nothing of it is missing.
                # Two rests have become two gaps, of which each is recovered by itself.
                self.recovered += self._per_id or not rests
                self.lost += not self._per_id and len(rests) > 1
        return bool(touched)

    def _expire_gap(self, gap: _Gap) -> None:
        self.lost += self._messages(gap)
        gap.deadline_ns = None
        gap.lost = True
        self.pending_gaps -= 1

    def _messages(self, gap: _Gap) -> int:
        return gap.last - gap.first + 1 if self._per_id else 1
