"""Connections that deliver the same messages, of which the first arrival counts.

A message is timestamped on the connection it is read from first. While another has bytes that
nobody has read yet, its copy may have come before on that one.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latency_sweep.probe.net.timestamp_error import TimestampError


class Siblings:
    """The open sockets of one feed: parallel ones, and those that replace another."""

    __slots__ = ("_bounds", "_poll")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._bounds: dict[int, TimestampError] = {}

    def __len__(self) -> int:
        return len(self._bounds)

    def join(self, descriptor: int, bound: TimestampError) -> None:
        """Add a socket that is being read."""
        self._bounds[descriptor] = bound
        self._poll.register(descriptor, select.POLLIN)

    def leave(self, descriptor: int) -> None:
        """Remove a socket before it is closed."""
        if self._bounds.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def unread_since_ns(self, descriptor: int) -> int | None:
        """Since when a copy of what was just read may wait on another socket, Unix nanoseconds.

        Args:
            descriptor: the socket it was read from.

        Returns:
            The time; None if nothing waits.
        """
        asked_ns = time.time_ns()
        ready = {readable for readable, _ in self._poll.poll(0)}
        waiting = []
        for other, bound in self._bounds.items():
            if other == descriptor:
                continue
            if other in ready:
                waiting.append(bound.since_ns)
            else:
                bound.found_empty(asked_ns)
        return min(waiting, default=None)
