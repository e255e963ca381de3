"""Which timestamp belongs to which bytes of a TCP stream, from the headers of its segments.

The kernel keeps one timestamp for all segments that wait in a socket's queue together, that of the
newest. Seen on their way in, each segment still has its own.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import Final

_SEQUENCE_NUMBERS: Final = 1 << 32
# Segments remembered that came before one that is missing; a receive window holds fewer.
_MAX_AHEAD: Final = 4096


class SegmentTimestamps:
    """The timestamps of a stream's segments until they are read.

    A byte can be used no sooner than all before it, so its timestamp is the newest of them: a
    segment overtaken by others lends them its own, later one. Of a byte that is
    received again the first reception counts, as it does for the kernel.

    Args:
        first: sequence number of the first byte of the stream: that of the SYN, plus one.
    """

    __slots__ = ("_ahead", "_end", "_first", "_known_from", "_segments", "_timestamp_ns")

    def __init__(self, first: int) -> None:
        self._first = first
        self._end = 0  # offset up to which all bytes have come
        self._known_from = 0  # offset from which on every segment was seen
        self._timestamp_ns = 0  # the newest timestamp of them
        self._segments: deque[tuple[int, int]] = (
            deque()
        )  # end and timestamp, ascending, not yet read
        self._ahead: list[tuple[int, int, int]] = []  # start, end and timestamp, after a gap

    def add(self, sequence: int, size: int, timestamp_ns: int) -> None:
        """Record a segment.

        Args:
            sequence: its 32-bit sequence number.
            size: bytes of data in it.
            timestamp_ns: when it was received, Unix nanoseconds.
        """
        # Offsets never wrap: of all with this sequence number the nearest to the end is meant.
        ahead = (sequence - self._first - self._end) % _SEQUENCE_NUMBERS
        if ahead >= _SEQUENCE_NUMBERS // 2:
            ahead -= _SEQUENCE_NUMBERS
        start = self._end + ahead
        end = start + size
        if end <= self._end or size <= 0:
            return
        if start > self._end:
            insort(self._ahead, (start, end, timestamp_ns))
            del self._ahead[_MAX_AHEAD:]
            return
        self._append(end, timestamp_ns)
        self._join()

    @property
    def end(self) -> int:
        """Offset up to which all bytes have come, or have been read or skipped."""
        return self._end

    def skip(self, end: int) -> None:
        """Pass over bytes that have been read.

        Args:
            end: offset after the last of them.
        """
        segments = self._segments
        while segments and segments[0][0] <= end:
            segments.popleft()
        if self._end < end:
            self._end = self._known_from = end
            self._join()

    def read(self, start: int, end: int) -> list[tuple[int, int]] | None:
        """The timestamps of bytes that have been read.

        Args:
            start: offset of the first of them in the stream.
            end: offset after the last.

        Returns:
            Pieces of the range in order, each by its end and timestamp; None if a segment of it was
            not seen.
        """
        segments = self._segments
        while segments and segments[0][0] <= start:
            segments.popleft()
        known = self._end >= end and start >= self._known_from
        pieces = []
        while segments and segments[0][0] <= end:
            pieces.append(segments.popleft())
        if known and (not pieces or pieces[-1][0] < end):
            pieces.append((end, segments[0][1]))
        self.skip(end)  # the program has them, so nothing before is still to come
        return pieces if known else None

    def _append(self, end: int, timestamp_ns: int) -> None:
        self._timestamp_ns = max(self._timestamp_ns, timestamp_ns)
        self._segments.append((end, self._timestamp_ns))
        self._end = end

    def _join(self) -> None:
        """Append what came ahead and has its place now."""
        ahead = self._ahead
        while ahead and ahead[0][0] <= self._end:
            _, end, timestamp_ns = ahead.pop(0)
            if end > self._end:
                self._append(end, timestamp_ns)
