"""Which ids were seen, where jumps are normal and several connections deliver the same ones."""

from __future__ import annotations

from collections import deque
from typing import Final

REMEMBERED: Final = 8192


class RecentIds:
    """Remembers the newest ids of rising ones and their event times, in bounded memory.

    Args:
        floor: all ids up to here count as seen.
    """

    __slots__ = ("_floor", "_ids", "_order")

    def __init__(self, floor: int = -1) -> None:
        self._floor = floor
        self._ids: dict[int, int | None] = {}
        self._order: deque[int] = deque()

    def has(self, number: int, event_ns: int | None = None) -> bool:
        """Whether an id was seen with this event time, or is too old to know."""
        if number <= self._floor and number not in self._ids:
            return True
        return number in self._ids and self._ids[number] == event_ns

    def is_first(self, number: int, event_ns: int | None = None) -> bool:
        """Whether an id arrives for the first time; records it."""
        if self.has(number, event_ns):
            return False
        if number not in self._ids:
            self._order.append(number)
        self._ids[number] = event_ns
        if len(self._order) > REMEMBERED:
            oldest = self._order.popleft()
            del self._ids[oldest]
            self._floor = max(self._floor, oldest)
        return True
