"""Whether a silent connection is stalled or its market quiet: a second one beside it decides.

Both stay open until one brings a message. What then comes on both shows that the old one was
healthy, and what comes on one only shows that the other is stalled.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from latency_sweep.probe.connection.opened import Opened

# How much later than the first of two connections the other may bring the same message.
SETTLE_SEC: Final = 3.0


class Finding(Enum):
    """What a trial has shown."""

    QUIET = auto()  # both bring messages
    STALLED = auto()  # only the fresh one does
    TRIAL_STALLED = auto()  # only the old one does


class StallTrial:
    """A fresh connection beside a silent one.

    Args:
        fresh: the connection just opened.
        old: the one that is silent.
        now: monotonic seconds.

    Attributes:
        fresh: the connection.
        first_heard: when the first of the two brought a message, monotonic seconds; None before.
    """

    def __init__(self, fresh: Opened, old: Opened, now: float) -> None:
        self.fresh = fresh
        self.first_heard: float | None = None
        self._old = old
        self._since = now
        self._fresh_heard = self._old_heard = False
        old.has_news()  # what came before does not count

    def excuse(self, seconds: float) -> None:
        """The program was suspended for so long: what came meanwhile waits to be read."""
        self._since += seconds
        if self.first_heard is not None:
            self.first_heard += seconds

    def look(self, now: float) -> Finding | None:
        """What is known by now, monotonic seconds; None while nothing is."""
        self._fresh_heard |= self.fresh.has_news()
        self._old_heard |= self._old.has_news()
        if not (self._fresh_heard or self._old_heard):
            return None
        if self.first_heard is None:
            self.first_heard = now
        if self._fresh_heard and self._old_heard:
            return Finding.QUIET
        if now - self.first_heard < SETTLE_SEC:
            return None
        return Finding.STALLED if self._fresh_heard else Finding.TRIAL_STALLED

    @property
    def silent_sec(self) -> float:
        """From its beginning to the first message of either, seconds; 0 before there is one."""
        return 0.0 if self.first_heard is None else self.first_heard - self._since

    def is_over(self, now: float, trial_sec: float) -> bool:
        """Whether neither has brought a message for as long as a trial may last, seconds."""
        return self.first_heard is None and now - self._since > trial_sec
