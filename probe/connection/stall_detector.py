"""When a connection that is alive brings no messages any more: a stalled stream, or a wrong route.

The exchange may answer pings and send nothing else, without ever closing. How long is too long
depends on the market, so it is evaluated by the pauses that there were.
"""

from __future__ import annotations

from typing import Final

# Silence this many times as long as the longest pause so far is none of the market's own.
PAUSES: Final = 10.0
LONGEST_PATIENCE_SEC: Final = 3600.0


class StallDetector:
    """Follows the messages of one line, through all its connections. Times are monotonic seconds.

    Args:
        patience_sec: no shorter silence is suspicious.
    """

    def __init__(self, patience_sec: float) -> None:
        self._patience_sec = patience_sec
        self._longest_pause_sec = 0.0
        self._silent_connections = 0
        self._newest_ns = 0
        self._since = 0.0

    def opened(self, now: float) -> None:
        """A connection was opened; it counts as silent until it brings a message."""
        self._silent_connections += 1
        self._newest_ns = 0
        self._since = now

    def excuse(self, seconds: float) -> None:
        """The program stood still for so long, and could not have seen a message."""
        self._since += seconds

    def note(self, now: float, newest_ns: int) -> None:
        """The newest message of the connection has this timestamp, 0 for none; ask often."""
        if newest_ns == self._newest_ns:
            return
        if self._newest_ns:
            self._longest_pause_sec = max(self._longest_pause_sec, now - self._since)
        self._newest_ns = newest_ns
        self._since = now
        self._silent_connections = 0

    def is_suspicious(self, now: float) -> bool:
        """Whether another connection should be tried.

        Where fresh ones bring nothing either, the next one is tried ever later.
        """
        if self._newest_ns:
            limit_sec = max(self._patience_sec, PAUSES * self._longest_pause_sec)
        else:
            limit_sec = self._patience_sec * 2.0 ** min(self._silent_connections - 1, 30)
        return now - self._since > min(limit_sec, LONGEST_PATIENCE_SEC)
