"""Detects a stalled stream: a connection that answers pings and brings no messages.

The exchange may do so without ever closing, after a fault of its own or on a wrong route. How long
is too long depends on the market, so the limit follows the pauses that there have been.
"""

from __future__ import annotations

from typing import Final

# A pause this many times as long as the longest so far is no quiet market.
PAUSES: Final = 10.0
MAX_LIMIT_SEC: Final = 3600.0


class StallDetector:
    """Follows the messages of one line, through all its connections. Times are monotonic seconds.

    Args:
        min_limit_sec: no shorter pause is a stalled stream.
    """

    def __init__(self, min_limit_sec: float) -> None:
        self._min_limit_sec = min_limit_sec
        self._longest_pause_sec = 0.0
        self._fruitless_connections = 0
        self._newest_ns = 0
        self._since = 0.0

    def opened(self, now: float) -> None:
        """A connection was opened; it counts as fruitless until it brings a message."""
        self._fruitless_connections += 1
        self._newest_ns = 0
        self._since = now

    def excuse(self, seconds: float) -> None:
        """The program was suspended for so long, and could not have seen a message."""
        self._since += seconds

    def note(self, now: float, newest_ns: int) -> None:
        """The newest message of the connection has this timestamp, 0 for none; ask often."""
        if newest_ns == self._newest_ns:
            return
        if self._newest_ns:
            self._longest_pause_sec = max(self._longest_pause_sec, now - self._since)
        self._newest_ns = newest_ns
        self._since = now
        self._fruitless_connections = 0

    @property
    def limit_sec(self) -> float:
        """A pause longer than this is a stalled stream.

        Where fresh connections bring nothing either, it doubles with each of them.
        """
        if self._newest_ns:
            limit_sec = max(self._min_limit_sec, PAUSES * self._longest_pause_sec)
        else:
            limit_sec = self._min_limit_sec * 2.0 ** min(self._fruitless_connections - 1, 30)
        return min(limit_sec, MAX_LIMIT_SEC)

    def pause_sec(self, now: float) -> float:
        """Since the newest message, or since the connection was opened."""
        return now - self._since

    def is_stalled(self, now: float) -> bool:
        """Whether another connection should be tried."""
        return self.pause_sec(now) > self.limit_sec
