"""A market, generated or recorded, that waits while this process gets no processor.

Without it a stall of the machine would delay every event that was due meanwhile, at all sites: a
property of the machine, not of the simulated network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.lab.exchange.markets.events import EventSource, MarketEvent

# Lateness below this is that of timers, and stays in the latencies.
TOLERANCE_NS: Final = 1_000_000
_NS_PER_US: Final = 1_000


class PausingSource:
    """Another source's events, postponed by all pauses so far; an `events.Source`.

    Attributes:
        paused_ns: the pauses so far.
    """

    def __init__(
        self, source: EventSource, *, step_ns: int = _NS_PER_US, at_most_ns: int | None = None
    ) -> None:
        """No pause yet.

        Args:
            source: the events.
            step_ns: pauses are multiples of it, as are the times that are postponed.
            at_most_ns: how long all pauses together may be; what is late beyond is late.
        """
        self._source = source
        self._step_ns = step_ns
        self._at_most_ns = at_most_ns
        self.paused_ns = 0

    def next_ns(self) -> int | None:
        """Unix nanoseconds of the next event."""
        due_ns = self._source.next_ns()
        return None if due_ns is None else due_ns + self.paused_ns

    def take_due(self, now_ns: int) -> Sequence[MarketEvent]:
        """The events due at `now_ns`; asking too late pauses the market."""
        due_ns = self.next_ns()
        if due_ns is not None and now_ns - due_ns > TOLERANCE_NS:
            # Rounded up: an event that is not due yet can be on time, a late one cannot.
            paused_ns = self.paused_ns - (due_ns - now_ns) // self._step_ns * self._step_ns
            if self._at_most_ns is None or paused_ns <= self._at_most_ns:
                self.paused_ns = paused_ns
        events = self._source.take_due(now_ns - self.paused_ns)
        if self.paused_ns:
            for event in events:
                event.postpone(self.paused_ns)
        return events
