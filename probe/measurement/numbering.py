"""Which numbering a message belongs to: what is missing, what is a copy, and what began anew.

Exchanges renumber: a test network is reset, a symbol listed again, a market comes back from
maintenance. Ids alone cannot tell that from losses and copies, ids and event times together can:

- Within a numbering event times do not go down while ids go up. A redundant message has the id and
  the event time of its original.
- An id that does not fit is a suspect. It has arrived and counts as received; what it means, the
  next message says. If that goes on from the suspect, a new numbering has begun. If it goes on from
  what was before, the suspect's id was wrong: an error. Where it leaves one message missing, that
  message was the suspect: it is not lost.
- A jump too small to be suspected is a gap until the next messages go on from before it. Then it
  was such an error too, and what it made look missing is recovered.
- Numberings before go on being followed for a while: a connection may lag behind another that has
  delivered the new one already.

A renumbering by one id, or upward by no more than an outage may have cost, cannot be told from an
error or a gap. It is counted as such: nothing lost is hidden. `analyze` finds such ids missing
everywhere.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from latency_sweep.probe.measurement.arrival import Arrival
from latency_sweep.probe.measurement.sequence import (
    NONE_YET,
    REMEMBER_NS,
    Seen,
    SequenceCheck,
    SequenceCounts,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.probe.measurement.run_losses import LossesByRun

# Numberings before the newest that are followed; beyond that the oldest is given up early.
_PAST: Final = 4


class Numbered(NamedTuple):
    """What numbers a message.

    Attributes:
        first: first id it covers.
        last: last id it covers.
        event_ns: when the exchange sent it, Unix nanoseconds.
    """

    first: int
    last: int
    event_ns: int


class _Suspect(NamedTuple):
    """A message that does not fit, and the check of the connection that delivered it."""

    message: Numbered
    check: SequenceCheck


class _Past(NamedTuple):
    """A numbering before the newest, followed until `forget_ns`."""

    check: SequenceCheck
    forget_ns: int


class Numbering:
    """Follows the ids of one channel through all its numberings and connections.

    Args:
        per_id: see `SequenceCheck`.
        on_stray: called for each id that was wrong, with a sentence about it.

    Attributes:
        current: the check of the newest numbering; always the same object.
    """

    def __init__(self, *, per_id: bool, on_stray: Callable[[str], None]) -> None:
        self._on_stray = on_stray
        self._counts = SequenceCounts()
        self.current = SequenceCheck(per_id=per_id, counts=self._counts)
        self.current.epoch = 0
        self._past: deque[_Past] = deque()  # the newest first
        self._suspect: _Suspect | None = None

    @property
    def losses(self) -> LossesByRun:
        """Which ids of which run were lost."""
        return self._counts.by_run

    @property
    def pending(self) -> int:
        """Messages missing that may still arrive in time."""
        return self.current.pending + sum(past.check.pending for past in self._past)

    def expire(self, now_ns: int) -> None:
        """Let old gaps expire, and forget numberings whose time is over."""
        self.current.expire(now_ns)
        for past in self._past:
            past.check.expire(now_ns)
        while self._past and now_ns >= self._past[-1].forget_ns:
            self._forget_oldest()

    def is_next_copy(self, first: int, last: int, event_ns: int, check: SequenceCheck) -> bool:
        """Whether `see` would just find a copy, in the order of its connection; records it then.

        That is what half of all messages are where two connections deliver them.
        """
        current = self.current
        if (
            first != check.next_id
            or check.epoch != current.epoch
            or check.unsettled
            or current.unsettled
            or not current.remembers(first, last, event_ns)
        ):
            return False
        check.next_id = last + 1
        return True

    def see(self, message: Numbered, now_ns: int, check: SequenceCheck) -> Arrival:
        """Record a message.

        Args:
            message: what numbers it.
            now_ns: when it was received, on a monotonic clock, nanoseconds.
            check: of the messages of its own connection.
        """
        self.expire(now_ns)
        suspect = self._suspect
        if suspect is not None:
            if message == suspect.message:
                if check is not suspect.check:
                    return Arrival.REDUNDANT
                self._counts.duplicates += 1
                return Arrival.COUNTED
            # Other connections may lag: what they bring says something if it was sent later.
            if check is suspect.check or message.event_ns > suspect.message.event_ns:
                self._decide(suspect, message, now_ns)
        return self._place(message, now_ns, check)

    def _place(self, message: Numbered, now_ns: int, check: SequenceCheck) -> Arrival:
        current = self.current
        past = self._past_of(message, check) if self._past else None
        if past is not None:
            return _record(message, past, now_ns, check)
        if current.next_id == NONE_YET or _belongs(message, current):
            return _record(message, current, now_ns, check)
        if current.was_sent(message.event_ns):
            self._stray(message.first)
            return Arrival.STRAY
        if self._suspect is None:
            current.unsettled += 1
        else:
            self._stray(self._suspect.message.first)
        self._suspect = _Suspect(message, check)
        return Arrival.COUNTED

    def _decide(self, suspect: _Suspect, following: Numbered, now_ns: int) -> None:
        """Say what a suspect was, if the message after it shows that."""
        current, (first, last, event_ns) = self.current, following
        onward, anew = first - current.next_id, first - suspect.message.last - 1
        goes_on = last >= current.next_id and current.can_skip(onward, event_ns)
        begins = (
            first > suspect.message.first
            and last > suspect.message.last
            and current.can_skip(anew, event_ns)
        )
        if begins and not (goes_on and abs(onward) <= abs(anew)):
            self._clear_suspect()
            jumped_ns = current.undo_jump(suspect.message.first)
            if jumped_ns is None:
                self._restart(now_ns, suspect.message.event_ns)
            else:
                current.take_for_next(suspect.message.first, jumped_ns)
                self._on_stray("an id went up and back again between two messages")
            _record(suspect.message, current, now_ns, suspect.check)
        elif goes_on:
            self._clear_suspect()
            self._stray(suspect.message.first)
            current.take_for_next(first, suspect.message.event_ns)

    def _restart(self, now_ns: int, event_ns: int) -> None:
        self._counts.restarts += 1
        followed = self.current.followed
        if followed is not None:
            self._counts.by_run.end_before(event_ns, followed)
        self._past.appendleft(_Past(self.current.split(), now_ns + REMEMBER_NS))
        self.current.epoch += 1
        self.current.unsettled += 1  # for each in the past
        if len(self._past) > _PAST:
            self._forget_oldest()

    def _past_of(self, message: Numbered, check: SequenceCheck) -> SequenceCheck | None:
        """The numbering that a message is of, where that is not the newest.

        Only a connection that has not yet reached the newest one delivers such.
        """
        if check.epoch == self.current.epoch or _is_since_start(message, self.current):
            return None
        of_time = (past for past in self._past if _is_since_start(message, past.check))
        check_then = next(of_time, self._past[-1]).check
        return check_then if _belongs(message, check_then) else None

    def _forget_oldest(self) -> None:
        self._past.pop().check.expire_all()
        self.current.unsettled -= 1

    def _clear_suspect(self) -> None:
        self._suspect = None
        self.current.unsettled -= 1

    def _stray(self, number: int) -> None:
        expected = self.current.next_id
        self._on_stray(f"id {number} where {expected} was expected, and the next ones go on there")


def _is_since_start(message: Numbered, numbering: SequenceCheck) -> bool:
    return numbering.start_ns is None or message.event_ns >= numbering.start_ns


def _belongs(message: Numbered, numbering: SequenceCheck) -> bool:
    """Whether a message may be of a numbering."""
    first, last, event_ns = message
    if last < numbering.next_id:
        return numbering.fits(first, last, event_ns)
    return numbering.can_skip(first - numbering.next_id, event_ns)


def _record(
    message: Numbered, numbering: SequenceCheck, now_ns: int, check: SequenceCheck
) -> Arrival:
    """Record a message in its numbering and in what its connection has delivered of that."""
    first, last, event_ns = message
    if check.epoch < numbering.epoch:
        check.restart()
        check.epoch = numbering.epoch
    here = check.see(first, last, now_ns) if check.epoch == numbering.epoch else Seen.NEW
    seen = numbering.see(first, last, now_ns, here, event_ns)
    # What its own connection repeats is a duplicate and counted as such.
    if seen is Seen.REPEATED and here is not Seen.REPEATED:
        return Arrival.REDUNDANT
    return Arrival.COUNTED
