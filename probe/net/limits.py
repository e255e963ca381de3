"""What a server may ask of one connection before the connection is ended.

A server's frames and answers cost the probe memory and time. Those of an exchange stay far below
these limits; one that exceeds them is faulty or hostile.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from latency_sweep.contract.metrics import ErrorKind

# Binance pings every 20 s or 3 min; our own ping every 5 s is answered by a pong.
MAX_CONTROL_FRAMES_PER_SEC: Final = 1000
# Frames of fragmented messages. Binance sends none.
MAX_CONTINUATION_FRAMES_PER_SEC: Final = 1000
# Messages that measure nothing: empty, unsolicited or not decoded. One costs some microseconds, so
# as many as this in one read hold up the program for some ten milliseconds. A stream whose format
# changes stays below it.
MAX_UNUSABLE_FRAMES_PER_SEC: Final = 5000
# What the socket does not take because the server reads nothing: pings and pongs of hours.
MAX_UNSENT_BYTES: Final = 256 * 1024
# Answers before the final one, such as 103 Early Hints (RFC 9110, section 15.2).
MAX_INTERIM_RESPONSES: Final = 8
# Of all answers to an upgrade together.
MAX_RESPONSE_BYTES: Final = 65536
# A turn of the reader ends after the read that exceeds this.
MAX_TURN_NS: Final = 5_000_000


class LimitExceededError(Exception):
    """The server exceeded a limit.

    Attributes:
        kind: the `kind` of error it is counted under.
    """

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class FrameRateLimit:
    """Counts events in windows of a second.

    Args:
        per_sec: how many a window may have.
        kind: the `kind` of error that more are counted under.
        what: what is counted, for the sentence about it.
    """

    __slots__ = ("_count", "_kind", "_per_sec", "_until", "_what")

    def __init__(self, per_sec: int, kind: ErrorKind, what: str) -> None:
        self._per_sec = per_sec
        self._kind = kind
        self._what = what
        self._count = 0
        self._until = 0.0

    def count(self) -> None:
        """Count an event.

        Raises:
            LimitExceededError: too many in this second.
        """
        too_many = self.excess()
        if too_many is not None:
            raise too_many

    def excess(self) -> LimitExceededError | None:
        """Count an event; the error if there were too many in this second."""
        self._count += 1
        if 1 < self._count <= self._per_sec:
            return None
        now = time.monotonic()
        if self._count > self._per_sec and now < self._until:
            return LimitExceededError(
                self._kind, f"more than {self._per_sec} {self._what} in a second"
            )
        self._count = 1
        self._until = now + 1.0
        return None
