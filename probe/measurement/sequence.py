"""Sequence check: gaps, losses, duplicates and late arrivals from the ids of one numbering.

Late is not lost: a missing id counts as lost only when it has not arrived within a grace period.
The invariant, for ids that go up one by one:
ids seen + lost - recovered + pending = last - first + 1.

A check follows one numbering. Whether a message belongs to it, `Numbering` decides, from what the
check knows: which event times its newest ids had, and how fast they went up.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from itertools import repeat
from typing import Final, NamedTuple

from latency_sweep.contract.missing_ids import IdRange
from latency_sweep.probe.measurement.run_losses import LossesByRun

GRACE_NS: Final = 1_000_000_000
# How long a lost message is remembered, so that it counts as recovered and not as a duplicate when
# it arrives after all. Without a limit every gap would take memory for good.
REMEMBER_NS: Final = 60_000_000_000
# Gaps remembered; beyond that the oldest expires.
MAX_GAPS: Final = 4096
# Event times remembered, of the newest ids: 10 KB for each busy channel.
TIMES_KEPT: Final = 256
NONE_YET: Final = -1  # ids are not negative
# How many ids a jump may skip and still be a loss: a burst, and what ten times the rate seen makes
# in the event time passed and a second more. The second is because event times do not bound a
# burst: a sender that was held up sends what came together meanwhile under one event time, and a
# connection may end within that. Any market may become busy while it cannot be seen, so no rate is
# taken for less. Whatever is doubtful is thus lost: that is seen, and `analyze` finds it missing
# everywhere.
_BURST: Final = 10_000
# A message of a range covers thousands of ids, as symbols share them: a few lost ones are a jump.
_BURST_OF_RANGES: Final = 1_000_000
_RATE_MARGIN: Final = 10
_LEAST_PER_SEC: Final = 10_000
_HELD_UP_NS: Final = 1_000_000_000
# The newest messages show a rate from this time on; all of them from a second on.
_RECENTLY_NS: Final = 100_000_000
_NS_PER_SEC: Final = 1_000_000_000


class Seen(Enum):
    """What a message is among those before it."""

    NEW = "new"
    LATE = "late"  # it fills a gap
    REPEATED = "repeated"


class _Gap:
    """A range of missing ids, `first..last`; `deadline_ns` is None once it has expired.

    It may be forgotten at `forget_ns`. `event_ns` is when the message after it was sent.
    """

    __slots__ = ("deadline_ns", "event_ns", "first", "forget_ns", "last", "lost")

    def __init__(
        self,
        first: int,
        last: int,
        deadline_ns: int | None,
        forget_ns: int,
        event_ns: int | None = None,
        *,
        lost: bool = False,
    ) -> None:
        self.first = first
        self.last = last
        self.deadline_ns = deadline_ns
        self.forget_ns = forget_ns
        self.event_ns = event_ns
        self.lost = lost


class _Jump(NamedTuple):
    """The newest jump forward, until it is undone or forgotten."""

    expected: int
    first: int
    next_id: int  # after the message that jumped
    before_ns: int | None  # event time of the message before


class SequenceCounts:
    """What the checks of one channel have counted, in all its numberings.

    Attributes:
        gaps: jumps forward.
        lost: messages missing for longer than the grace period; in ranges at least so many, and one
            more when what comes too late shows that a gap was several.
        duplicates: messages whose ids had all been seen.
        out_of_order: messages that filled a gap after a later one had arrived. One that comes
            after the grace period counts here too, and stays counted as lost.
        recovered: messages that arrived after they had been counted as lost, or were never missing.
        restarts: new numberings.
        by_run: which ids were lost, by run.
    """

    __slots__ = ("by_run", "duplicates", "gaps", "lost", "out_of_order", "recovered", "restarts")

    def __init__(self) -> None:
        self.gaps = 0
        self.lost = 0
        self.duplicates = 0
        self.out_of_order = 0
        self.recovered = 0
        self.restarts = 0
        self.by_run = LossesByRun()


class SequenceCheck:
    """Follows the ids of one channel within one numbering.

    Args:
        per_id: True where every message is one id, so that missing ids are missing messages.
            False where a message covers a range: each gap is then at least one message, and
            one is counted.
        grace_ns: how long a missing id may still arrive late, nanoseconds.
        counts: what to add to; its own by default.

    Attributes:
        next_id: id that the next message starts with if nothing is missing, -1 at the beginning.
            Where a message starts just there and nothing is `unsettled`, moving this on and
            appending to `times` does what `see` would: the hot path does so.
        unsettled: gaps that have not expired, and one for each reason to have every message seen.
        times: event times of the newest messages, in the order of their ids; where each message is
            one id, None for an id that is missing.
        start_ns: event time of the first message, Unix nanoseconds; None before it.
        epoch: number of its numbering, see `Numbering`; -1 before it belongs to one.
        counts: what it has counted.
    """

    __slots__ = (
        "_first",
        "_grace_ns",
        "_jump",
        "_missing",
        "_per_id",
        "counts",
        "epoch",
        "next_id",
        "start_ns",
        "times",
        "unsettled",
    )

    def __init__(
        self, *, per_id: bool, grace_ns: int = GRACE_NS, counts: SequenceCounts | None = None
    ) -> None:
        self._per_id = per_id
        self._grace_ns = grace_ns
        self._first = 0  # meaningful once there is a next one
        self._missing: deque[_Gap] = deque()  # ordered by deadline, hence by first id
        self._jump: _Jump | None = None
        self.counts = SequenceCounts() if counts is None else counts
        self.next_id = NONE_YET
        self.unsettled = 0
        self.times: deque[int | None] = deque(maxlen=TIMES_KEPT)
        self.start_ns: int | None = None
        self.epoch = -1

    @property
    def gaps(self) -> int:
        """See `SequenceCounts`."""
        return self.counts.gaps

    @property
    def lost(self) -> int:
        """See `SequenceCounts`."""
        return self.counts.lost

    @property
    def duplicates(self) -> int:
        """See `SequenceCounts`."""
        return self.counts.duplicates

    @property
    def out_of_order(self) -> int:
        """See `SequenceCounts`."""
        return self.counts.out_of_order

    @property
    def recovered(self) -> int:
        """See `SequenceCounts`."""
        return self.counts.recovered

    @property
    def restarts(self) -> int:
        """See `SequenceCounts`."""
        return self.counts.restarts

    @property
    def pending(self) -> int:
        """Messages missing that may still arrive in time."""
        return sum(self._messages(gap) for gap in self._missing if gap.deadline_ns is not None)

    @property
    def followed(self) -> IdRange | None:
        """Ids of which each has arrived or is known to be lost; None if there are none."""
        pending = (gap.first for gap in self._missing if gap.deadline_ns is not None)
        last = min(pending, default=self.next_id) - 1
        return None if last < self._first else IdRange(self._first, last)

    def see(
        self,
        first: int,
        last: int,
        now_ns: int,
        here: Seen | None = None,
        event_ns: int | None = None,
    ) -> Seen:
        """Record a message that covers the ids `first..last`.

        Args:
            first: first id it covers.
            last: last id it covers.
            now_ns: when it was received, on a monotonic clock, nanoseconds.
            here: what it is among the messages of its own connection, where several connections
                feed one check. What is late or repeated only because another connection was
                faster is neither out of order nor a duplicate.
            event_ns: when the exchange sent it, Unix nanoseconds.

        Returns:
            What it is among all messages seen by this check.
        """
        expected = self.next_id
        seen = Seen.NEW
        if expected == NONE_YET:
            self._first, self.start_ns = first, event_ns
        if expected == NONE_YET or first <= expected <= last:  # may overlap: nothing is missing
            self.next_id = last + 1
            self.times.append(event_ns)
        elif first > expected:
            self._skip(expected, first, last, now_ns, event_ns)
            self.times.append(event_ns)
        else:
            seen = self._see_old(first, last, now_ns, here)
            if seen is Seen.LATE:
                self._remember_late(first, event_ns)
        if self.unsettled:
            self.expire(now_ns)
        return seen

    def expire(self, now_ns: int) -> None:
        """Let gaps older than the grace period expire: their messages count as lost."""
        if not self.unsettled:
            return
        for gap in self._missing:
            if gap.deadline_ns is None:
                continue
            if gap.deadline_ns > now_ns:
                break
            self._expire_gap(gap)

    def expire_all(self) -> None:
        """Let all pending gaps expire at once: nothing can fill them any more."""
        for gap in self._missing:
            if gap.deadline_ns is not None:
                self._expire_gap(gap)

    def restart(self) -> None:
        """Forget the position: the next message may have any id. Pending gaps expire."""
        self.expire_all()
        self._reset()

    def split(self) -> SequenceCheck:
        """Forget the position and return another check that goes on from it.

        Pending gaps stay pending there. Both add to the same counts.
        """
        rest = SequenceCheck(per_id=self._per_id, grace_ns=self._grace_ns, counts=self.counts)
        rest._first, rest._missing, rest.next_id = self._first, self._missing, self.next_id
        rest.times, rest.start_ns, rest.epoch = self.times, self.start_ns, self.epoch
        rest.unsettled = sum(gap.deadline_ns is not None for gap in self._missing)
        self.unsettled -= rest.unsettled
        self._missing, self.times = deque(), deque(maxlen=TIMES_KEPT)
        self._reset()
        return rest

    def fits(self, first: int, last: int, event_ns: int) -> bool:
        """Whether a message behind the newest one may be of this numbering, by its event time.

        Within a numbering event times do not go down while ids go up. So what was sent after the
        newest message is none of those before it, and what is remembered has its event time.
        """
        times = self.times
        newest = times[-1] if times else None
        if newest is None:
            return True
        if event_ns > newest:
            return False
        if self._per_id:
            index = len(times) - (self.next_id - first)
            if index >= 0:
                return times[index] is None or times[index] == event_ns
        elif event_ns in times or any(g.first <= last and g.last >= first for g in self._missing):
            return True
        return event_ns <= next(time for time in times if time is not None)

    def remembers(self, first: int, last: int, event_ns: int) -> bool:
        """Whether an id is remembered with its event time, where each message is one id."""
        index = len(self.times) - (self.next_id - first)
        return self._per_id and index >= 0 and last < self.next_id and self.times[index] == event_ns

    def can_skip(self, skipped: int, event_ns: int) -> bool:
        """Whether so many ids may have been skipped by the event time given, at the rate seen."""
        burst = _BURST if self._per_id else _BURST_OF_RANGES
        if skipped <= burst:
            return True
        times, start_ns = self.times, self.start_ns
        newest = times[-1] if times else None
        if newest is None or start_ns is None:
            return False
        oldest = next(time for time in times if time is not None)
        per_sec = max(
            _LEAST_PER_SEC,
            _RATE_MARGIN * _rate_per_sec(self.next_id - self._first, newest - start_ns),
            _RATE_MARGIN * _rate_per_sec(len(times), newest - oldest, _RECENTLY_NS),
        )
        return skipped <= burst + (event_ns - newest + _HELD_UP_NS) * per_sec / _NS_PER_SEC

    def was_sent(self, event_ns: int) -> bool:
        """Whether a message before the newest had just this event time."""
        return event_ns in self.times and event_ns != self.times[-1]

    def take_for_next(self, following: int, event_ns: int) -> None:
        """Let a message whose id was wrong be the one expected, not lost.

        Args:
            following: first id of the message after it.
            event_ns: when the exchange sent it, Unix nanoseconds.
        """
        if following > self.next_id:
            self.next_id = self.next_id + 1 if self._per_id else following
            self.times.append(event_ns)

    def undo_jump(self, first: int) -> int | None:
        """Take back the newest jump where nothing has followed it and `first` lies inside it.

        What it made look missing is pending no more, or recovered where it was counted as lost.

        Returns:
            Event time of the message that jumped, 0 if unknown; None if there is nothing to undo.
        """
        jump = self._jump
        gap = self._missing[-1] if self._missing else None
        if (
            jump is None
            or gap is None
            or self.next_id != jump.next_id
            or (gap.first, gap.last) != (jump.expected, jump.first - 1)
            or not gap.first <= first <= gap.last
        ):
            return None
        self._missing.pop()
        if gap.lost:
            self.counts.recovered += self._messages(gap)
            ids = IdRange(gap.first, gap.last)
            self.counts.by_run.take_back(ids, self._messages(gap), gap.event_ns)
        else:
            self.unsettled -= 1
        jumped_ns = self.times[-1]
        self.times.pop()
        while self.times and self.times[-1] is None:
            self.times.pop()
        if not self.times:
            self.times.append(jump.before_ns)
        self.next_id = jump.expected
        self._jump = None
        return jumped_ns or 0

    def _reset(self) -> None:
        self._missing.clear()
        self.times.clear()
        self._jump = None
        self.next_id = NONE_YET
        self.start_ns = None

    def _remember_late(self, first: int, event_ns: int | None) -> None:
        times = self.times
        if self._per_id:
            index = len(times) - (self.next_id - first)
            if index >= 0:
                times[index] = event_ns
        elif times:
            newest = times.pop()
            times.extend((event_ns, newest))

    def _see_old(self, first: int, last: int, now_ns: int, here: Seen | None) -> Seen:
        if last < self._first:  # older than the first one seen: late, and nothing was lost by it
            if last + 1 < self._first:
                early = _Gap(last + 1, self._first - 1, None, now_ns + REMEMBER_NS)
                self._missing.appendleft(early)
            self._first = first
            self.counts.out_of_order += here is not Seen.NEW
            return Seen.LATE
        if self._fill(first, last):
            self.counts.out_of_order += here is not Seen.NEW
            return Seen.LATE
        if here is None or here is Seen.REPEATED:
            self.counts.duplicates += 1
        return Seen.REPEATED

    def _skip(
        self, expected: int, first: int, last: int, now_ns: int, event_ns: int | None
    ) -> None:
        self.counts.gaps += 1
        self.counts.by_run.end_before(event_ns, IdRange(self._first, expected - 1))
        self.next_id = last + 1
        before_ns = self.times[-1] if self.times else None
        self._jump = _Jump(expected, first, last + 1, before_ns)
        if self._per_id:
            if first - expected < TIMES_KEPT:
                self.times.extend(repeat(None, first - expected))
            else:
                self.times.clear()
        while self._missing and self._missing[0].deadline_ns is None:
            if self._missing[0].forget_ns > now_ns:
                break
            self._missing.popleft()
        deadline_ns = now_ns + self._grace_ns
        forget_ns = deadline_ns + REMEMBER_NS
        self._missing.append(_Gap(expected, first - 1, deadline_ns, forget_ns, event_ns))
        self.unsettled += 1
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
            self.unsettled -= gap.deadline_ns is not None
            parts = ((gap.first, first - 1), (last + 1, gap.last))
            rests = [IdRange(start, end) for start, end in parts if start <= end]
            for start, end in reversed(rests):
                rest = _Gap(start, end, gap.deadline_ns, gap.forget_ns, gap.event_ns, lost=gap.lost)
                self._missing.insert(position, rest)
                self.unsettled += gap.deadline_ns is not None
            if gap.lost:
                # A gap in ranges counts as one message, recovered when nothing of it is missing.
                # Two rests have become two gaps, of which each is recovered by itself.
                self.counts.recovered += self._per_id or not rests
                self.counts.lost += not self._per_id and len(rests) > 1
                less = 1 if self._per_id else 1 - len(rests)
                ids = IdRange(gap.first, gap.last)
                self.counts.by_run.recover(ids, rests, less, gap.event_ns)
        return bool(touched)

    def _expire_gap(self, gap: _Gap) -> None:
        self.counts.lost += self._messages(gap)
        ids = IdRange(gap.first, gap.last)
        self.counts.by_run.lose(ids, self._messages(gap), gap.event_ns)
        gap.deadline_ns = None
        gap.lost = True
        self.unsettled -= 1

    def _messages(self, gap: _Gap) -> int:
        return gap.last - gap.first + 1 if self._per_id else 1


def _rate_per_sec(count: int, duration_ns: int, least_ns: int = _NS_PER_SEC) -> float:
    """Ids a second; what took less than the least time is no faster than in that."""
    return count * _NS_PER_SEC / max(duration_ns, least_ns)
