"""How far the timestamp of a read may be from when its older bytes were received.

The kernel gives one timestamp with each read, that of the last segment in it. What came before in
the same read came after the socket was last found empty: it is late by no more than the time
between the two.
"""

from __future__ import annotations

from typing import Final

# From the timestamp to the socket's queue: one turn of the kernel's network processing.
KERNEL_QUEUE_NS: Final = 100_000
# The same from a timestamp of the card, with its interrupt moderation.
CARD_QUEUE_NS: Final = 1_000_000


class TimestampError:
    """The bound for the reads of one socket; all times are Unix nanoseconds.

    Args:
        empty_ns: when nothing had been received yet.
        queue_ns: how long a segment may be on its way from its timestamp to the socket: one that
            was there already when the socket was found empty is as much earlier.
    """

    __slots__ = ("_queue_ns", "_since_ns")

    def __init__(self, empty_ns: int, queue_ns: int) -> None:
        self._queue_ns = queue_ns
        self._since_ns = empty_ns - queue_ns

    @property
    def since_ns(self) -> int:
        """What has not been read yet came after this."""
        return self._since_ns

    def found_empty(self, asked_ns: int) -> None:
        """Note a read that took all there was, or found nothing.

        Args:
            asked_ns: the time before it: what arrives during a read may be left for the next.
        """
        self._since_ns = asked_ns - self._queue_ns

    def is_overtaken(self, timestamp_ns: int) -> bool:
        """Whether the last segment of a read had come before the socket was last found empty.

        It then waited for one that was lost or overtaken, which came later than the timestamp says.
        """
        return timestamp_ns < self._since_ns

    def bound_ns(self, timestamp_ns: int, read_ns: int) -> int:
        """How far from the timestamp the older bytes of a read may have been received, nanoseconds.

        Args:
            timestamp_ns: of the last of them.
            read_ns: when they had been read.

        Returns:
            1 or more.
        """
        since_ns = self._since_ns
        if timestamp_ns < since_ns:
            return max(read_ns - timestamp_ns, 1)
        return max(timestamp_ns - since_ns, 1)
