"""A generated market that waits while this process gets no processor.

Without it a stall of the machine would make every event late that should have happened meanwhile,
at all places alike: a property of the machine, not of the network that is simulated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.local.exchange.events import Event, Source

# Lateness below this is that of timers, and stays in the latencies.
TOLERANCE_NS: Final = 1_000_000
_NS_PER_US: Final = 1_000


class PausingSource:
    """Another source's events, postponed by all pauses so far; an `events.Source`."""

    def __init__(self, source: Source) -> None:
        """No pause yet."""
        self._source = source
        self.paused_ns = 0

    def next_ns(self) -> int | None:
        """Unix nanoseconds of the next event."""
        due_ns = self._source.next_ns()
        return None if due_ns is None else due_ns + self.paused_ns

    def take_due(self, now_ns: int) -> Sequence[Event]:
        """The events due at `now_ns`; who asks too late has paused the market."""
        due_ns = self.next_ns()
        if due_ns is not None and now_ns - due_ns > TOLERANCE_NS:
            late_ns = now_ns - due_ns
            self.paused_ns += late_ns - late_ns % _NS_PER_US  # times are whole microseconds
        events = self._source.take_due(now_ns - self.paused_ns)
        if self.paused_ns:
            for event in events:
                event.postpone(self.paused_ns)
        return events
