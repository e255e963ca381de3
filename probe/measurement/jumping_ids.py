"""Ids that only rise and jump as they like, like those of bookTicker: copies and new numberings.

Such ids show no loss. Spot's bookTicker has no event time either, so what tells a new numbering
from a copy is the order: on one connection ids do not go down. Where an id goes down, it is a
suspect until the next message on that connection: if that goes on from the suspect, a new
numbering has begun (or, if the suspect lies beyond the id before the highest one, the highest one
was wrong); if it goes on from the highest id, the suspect's id was wrong. Where there is an event
time, an id that goes down with it is old, not new.

A connection that is new starts from the highest id at its opening: what it delivers was sent later.
A new numbering with higher ids looks like a jump, and no more than a jump is made of it: nothing
can be missed or be taken for a copy by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.probe.measurement.arrival import Arrival
from latency_sweep.probe.measurement.recent_ids import RecentIds

if TYPE_CHECKING:
    from collections.abc import Callable


class JumpingPosition:
    """Where one connection is.

    Attributes:
        epoch: number of the numbering it has reached.
        newest: highest id it has delivered of that, or what was the highest at its opening.
        newest_ns: its event time, or None.
        before: the one before the highest.
        suspect: id and event time of a message that went down, not yet decided on; or None.
        has_message: whether it has delivered any.
        has_risen: whether `newest` is of a message that it has delivered.
    """

    __slots__ = ("before", "epoch", "has_message", "has_risen", "newest", "newest_ns", "suspect")

    def __init__(self, epoch: int, newest: int, newest_ns: int | None) -> None:
        self.epoch = epoch
        self.newest = self.before = newest
        self.newest_ns = newest_ns
        self.suspect: tuple[int, int | None] | None = None
        self.has_message = False
        self.has_risen = False

    def move_to(self, epoch: int, number: int, event_ns: int | None) -> None:
        """Start from a message it has delivered."""
        self.epoch = epoch
        self.newest = self.before = number
        self.newest_ns = event_ns
        self.has_risen = True


class JumpingIds:
    """Follows the ids of one channel through all its numberings and connections.

    Args:
        on_stray: called for each id that was wrong, with a sentence about it.

    Attributes:
        restarts: new numberings.
        recent: ids received since several connections deliver them; None where one does.
    """

    __slots__ = (
        "_candidates",
        "_epoch",
        "_newest",
        "_newest_ns",
        "_on_stray",
        "_overlapping",
        "_previous",
        "recent",
        "restarts",
    )

    def __init__(self, on_stray: Callable[[str], None]) -> None:
        self._on_stray = on_stray
        self._epoch = 0
        self._newest = -1
        self._newest_ns: int | None = None
        self._overlapping = False
        self._previous: RecentIds | None = None
        self._candidates = RecentIds()  # suspects of any connection
        self.recent: RecentIds | None = None
        self.restarts = 0

    def overlap(self) -> None:
        """From now on several connections deliver the messages."""
        self._overlapping = True
        self.recent = self.recent or RecentIds()

    def end_overlap(self) -> None:
        """From now on one connection does; it may still have to catch up with the other."""
        self._overlapping = False

    def position(self) -> JumpingPosition:
        """Where a connection that opens now starts."""
        return JumpingPosition(self._epoch, self._newest, self._newest_ns)

    def see(self, number: int, event_ns: int | None, position: JumpingPosition) -> Arrival:
        """Record a message.

        Args:
            number: its id.
            event_ns: when the exchange sent it, Unix nanoseconds; None where it does not say.
            position: of the connection that delivered it.
        """
        position.has_message = True
        if position.suspect is not None:
            if position.suspect == (number, event_ns):
                return Arrival.COUNTED
            self._decide(position.suspect, number, position)
        if number > position.newest:
            position.before, position.newest = position.newest, number
            position.newest_ns, position.has_risen = event_ns, True
            return self._see_new(number, event_ns, position.epoch)
        if self._is_old(number, event_ns, position):
            is_own = position.has_risen or not self._overlapping
            return Arrival.COUNTED if is_own else Arrival.REDUNDANT
        return self._see_lower(number, event_ns, position)

    def _see_new(self, number: int, event_ns: int | None, epoch: int) -> Arrival:
        is_current = epoch == self._epoch
        recent = self.recent if is_current else self._previous
        if recent is not None and not recent.is_first(number, event_ns):
            return Arrival.REDUNDANT
        if is_current and number > self._newest:
            self._newest, self._newest_ns = number, event_ns
            if not self._overlapping:
                self.recent = None  # the connection that is left has caught up with the other
        return Arrival.COUNTED

    def _is_old(self, number: int, event_ns: int | None, position: JumpingPosition) -> bool:
        if event_ns is not None and position.newest_ns is not None:
            return event_ns <= position.newest_ns
        return number in {position.newest, position.before}

    def _see_lower(self, number: int, event_ns: int | None, position: JumpingPosition) -> Arrival:
        if position.epoch < self._epoch and self._is_current(number, event_ns):
            position.move_to(self._epoch, number, event_ns)
            return self._see_new(number, event_ns, self._epoch)
        position.suspect = (number, event_ns)
        is_beyond_before = number > position.before and position.epoch == self._epoch
        seen = self.recent if is_beyond_before else self._candidates
        if seen is None or seen.is_first(number, event_ns):
            return Arrival.COUNTED
        return Arrival.REDUNDANT

    def _is_current(self, number: int, event_ns: int | None) -> bool:
        """Whether an id is known or next in the numbering that another connection has reached."""
        return number > self._newest or (
            self.recent is not None and self.recent.has(number, event_ns)
        )

    def _decide(
        self, suspect: tuple[int, int | None], number: int, position: JumpingPosition
    ) -> None:
        """Say what a suspect was, now that its connection has delivered the next message."""
        position.suspect = None
        lower, lower_ns = suspect
        if not lower < number <= position.newest:
            if lower <= position.before:  # else it was just overtaken by the one before it
                self._stray(lower)
            self._candidates = RecentIds()
        elif lower > position.before:
            self._stray(position.newest)
            self._candidates = RecentIds()
            if self._newest == position.newest and position.epoch == self._epoch:
                self._newest, self._newest_ns = lower, lower_ns
            position.move_to(position.epoch, lower, lower_ns)
        else:
            if position.epoch == self._epoch:
                self._restart(lower, lower_ns)
            position.move_to(self._epoch, lower, lower_ns)

    def _restart(self, number: int, event_ns: int | None) -> None:
        self.restarts += 1
        self._epoch += 1
        self._previous = self.recent
        if self.recent is not None:
            self.recent = self._candidates
        self._candidates = RecentIds()
        self._newest, self._newest_ns = number, event_ns

    def _stray(self, number: int) -> None:
        self._on_stray(f"id {number} fits neither the ids around it nor a new numbering")
