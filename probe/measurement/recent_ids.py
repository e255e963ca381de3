"""Which ids were seen, where jumps are normal and several connections deliver the same ones."""

from __future__ import annotations

from collections import deque
from typing import Final

REMEMBERED: Final = 8192


class RecentIds:
    """Remembers the newest ids of rising ones, in bounded memory.

    Args:
        floor: all ids up to here count as seen.
    """

    __slots__ = ("_floor", "_ids", "_order")

    def __init__(self, floor: int) -> None:
        self._floor = floor
        self._ids: set[int] = set()
        self._order: deque[int] = deque()

    def is_first(self, number: int) -> bool:
        """Whether an id arrives for the first time; records it."""
        if number <= self._floor or number in self._ids:
            return False
        self._ids.add(number)
        self._order.append(number)
        if len(self._order) > REMEMBERED:
            oldest = self._order.popleft()
            self._ids.discard(oldest)
            self._floor = max(self._floor, oldest)
        return True
