"""Detects a stalled stream: a connection that answers pings and brings no messages.

The exchange may do so without ever closing, after a fault of its own or on a wrong route. A market
that is quiet looks the same, so silence only raises a suspicion, and a second connection decides,
see `probe.connection.trial`. How long is suspicious follows the pauses that there have been.
"""

from __future__ import annotations

from typing import Final

# A pause this many times as long as the longest so far is suspicious. Where messages come at
# random, the longest of a thousand pauses is seven times the mean, and three times that as good as
# never happens (exp(-21)).
PAUSES: Final = 3.0
# However quiet the market has been, a stalled stream is suspected within this time.
MAX_LIMIT_SEC: Final = 900.0
# What one pause can teach at most: enough for the greatest limit.
MAX_LEARNT_SEC: Final = MAX_LIMIT_SEC / PAUSES
# A pause is remembered for one to two of these: a quiet night until the next one.
MEMORY_SEC: Final = 24 * 3600.0


class PauseMemory:
    """The longest pause of a feed between two messages, whichever connections brought them.

    It is bounded twice: one pause teaches `MAX_LEARNT_SEC` at most, and is forgotten one to two
    `MEMORY_SEC` later, so that a market closed for hours does not blind the detector for good.
    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._newer_sec = 0.0
        self._older_sec = 0.0
        self._newer_since: float | None = None

    def learn(self, pause_sec: float, now: float) -> None:
        """There has been a pause, which ended now."""
        self._forget(now)
        self._newer_sec = max(self._newer_sec, min(pause_sec, MAX_LEARNT_SEC))

    def longest_sec(self, now: float) -> float:
        """The longest pause that is remembered, seconds; 0 for none."""
        self._forget(now)
        return max(self._newer_sec, self._older_sec)

    def limit_sec(self, now: float, min_limit_sec: float) -> float:
        """A longer pause is suspicious, seconds.

        Args:
            now: the time.
            min_limit_sec: no shorter pause is, whatever is remembered.
        """
        return min(max(min_limit_sec, PAUSES * self.longest_sec(now)), MAX_LIMIT_SEC)

    def _forget(self, now: float) -> None:
        if self._newer_since is None:
            self._newer_since = now
        periods = int((now - self._newer_since) // MEMORY_SEC)
        if periods > 0:
            self._older_sec = self._newer_sec if periods == 1 else 0.0
            self._newer_sec = 0.0
            self._newer_since += periods * MEMORY_SEC


class StallDetector:
    """Follows the messages of one line, through all its connections. Times are monotonic seconds.

    Args:
        memory: the pauses of the feed, which its lines share.
        min_limit_sec: no shorter pause is suspicious.
    """

    def __init__(self, memory: PauseMemory, min_limit_sec: float) -> None:
        self._memory = memory
        self._min_limit_sec = min_limit_sec
        self._silent_since: float | None = None  # None while there is no connection
        self._watched_since = 0.0
        self._undecided_trials = 0

    def connected(self, now: float) -> None:
        """A connection is in use from now on; a pause goes on if one was before."""
        if self._silent_since is None:
            self._silent_since = now
        self._watched_since = now

    def disconnected(self) -> None:
        """There is no connection: what the market sends now is missed, and makes no pause."""
        self._silent_since = None

    def excuse(self, seconds: float) -> None:
        """The program was suspended for so long, and could not have seen a message."""
        self._watched_since += seconds
        if self._silent_since is not None:
            self._silent_since += seconds

    def heard(self, now: float) -> None:
        """A connection that is healthy brought a message: the pause was the market's."""
        if self._silent_since is not None:
            self._memory.learn(now - self._silent_since, now)
        self._silent_since = self._watched_since = now
        self._undecided_trials = 0

    def stalled(self, silent_sec: float, now: float) -> None:
        """The pause was the connection's: only what its trial was silent for is the market's.

        Args:
            silent_sec: from the trial's opening to its first message.
            now: when that came.
        """
        self._memory.learn(silent_sec, now)
        self._silent_since = self._watched_since = now
        self._undecided_trials = 0

    def undecided(self) -> None:
        """A trial ended before any connection brought a message."""
        self._undecided_trials += 1

    def limit_sec(self, now: float) -> float:
        """A pause longer than this is suspicious, seconds."""
        return self._memory.limit_sec(now, self._min_limit_sec)

    def trial_sec(self, now: float) -> float:
        """How long a trial may be silent before another one takes its place, seconds.

        It doubles with each that brought nothing: the exchange counts attempts to connect.
        """
        return min(self.limit_sec(now) * 2.0 ** min(self._undecided_trials, 30), MAX_LIMIT_SEC)

    def pause_sec(self, now: float) -> float:
        """Since the newest message, or since the connection in use was opened, seconds."""
        return now - self._watched_since

    def is_suspect(self, now: float) -> bool:
        """Whether a second connection should be tried."""
        return self.pause_sec(now) > self.limit_sec(now)
