"""Delivery: which connection gets which message, when it leaves, and what is lost on the way.

A message that departs at D is written no earlier than D plus one draw of the site's latency, and
never before the message queued ahead of it on the same connection (TCP keeps order). Messages that
depart together travel together: they share one draw, else a burst would always be as late as the
slowest of many draws. The send timestamp is taken right before the write.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter, deque
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from latency_sweep.lab.exchange.ground_truth.writer import GroundTruthWriter, MessageOutcome
from latency_sweep.lab.exchange.latency import SiteLatency, scalar_random
from latency_sweep.lab.exchange.sources.lateness import Lateness

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from latency_sweep.lab.exchange.config import ExchangeConfig, MarketName, PerKind, SiteConfig
    from latency_sweep.lab.exchange.markets.events import EventSource, MarketEvent

NS_PER_SEC: Final = 1e9
ALL_KINDS: Final = "*"
# Queued in place of data: close the transport here.
END: Final = b""


class StallMode(Enum):
    """How a connection stalls: `HOLD` keeps everything for later, `DROP` loses messages."""

    HOLD = "hold"
    DROP = "drop"


class _Fate(Enum):
    SEND = 0
    DROP = 1
    REPEAT = 2
    HOLD_BACK = 3


class _Faults:
    """Draws what happens to a message, by the kind of its stream."""

    def __init__(self, name: str, site: SiteConfig, seed: int) -> None:
        self._rng = scalar_random(seed, "faults", name)
        self._shares: list[tuple[_Fate, PerKind]] = [
            (fate, share)
            for fate, share in (
                (_Fate.DROP, site.loss),
                (_Fate.REPEAT, site.duplicates),
                (_Fate.HOLD_BACK, site.reordering),
            )
            if share
        ]

    def next(self, kind: str) -> _Fate:
        for fate, share in self._shares:
            probability = share.get(kind, share.get(ALL_KINDS, 0.0))
            if probability and self._rng.random() < probability:
                return fate
        return _Fate.SEND


class SiteState:
    """The state of one site: its latency, its faults, its ground truth and its counters.

    Attributes:
        name: of the site.
        latency: from the exchange to it, whatever the market.
        faults: what happens to messages on the way.
        ground_truth: writer of the site's ground truth, or None.
        outcomes: number of messages by outcome.
        connections: number of open connections.
        disconnects: number of ended connections by reason.
        refusing: markets that take no new connections.
        lateness: how late recorded frames left for it, its own latency included.
    """

    def __init__(
        self, name: str, config: ExchangeConfig, ground_truth_path: Path | None, start_ns: int
    ) -> None:
        """The site `name` of a configuration; the ground truth goes to `ground_truth_path`, if any.

        Raises:
            OSError: the file of the ground truth cannot be made.
        """
        site = config.sites[name]
        self.name = name
        self.latency = SiteLatency(name, site, config.seed, start_ns)
        self.faults = _Faults(name, site, config.seed)
        self.ground_truth = (
            GroundTruthWriter(ground_truth_path, config.clock_offset_ns)
            if ground_truth_path
            else None
        )
        self.outcomes: Counter[MessageOutcome] = Counter()
        self.connections = 0
        self.disconnects: Counter[str] = Counter()
        self.refusing: set[MarketName] = set()
        self.lateness = Lateness()
        self._replayed = config.replayed_market if config.replay is not None else None

    def record(
        self,
        market: MarketName,
        connection: int,
        event: MarketEvent,
        send_ns: int,
        outcome: MessageOutcome,
    ) -> None:
        """Count a message and record it in the ground truth."""
        self.outcomes[outcome] += 1
        if market == self._replayed and outcome is MessageOutcome.SENT:
            self.lateness.add(event.depart_ns, send_ns)
        if self.ground_truth is not None:
            self.ground_truth.record(market, connection, event, send_ns, outcome)


class OutboxTransport(Protocol):
    """What the delivery needs of a connection's transport."""

    def write(self, data: bytes, /) -> None:
        """Send, or buffer, the data."""

    def close(self) -> None:
        """Close after sending what is buffered."""


class Outbox:
    """What waits to be written on one connection, in the order of writing."""

    def __init__(
        self,
        site: SiteState,
        market: MarketName,
        connection: int,
        transport: OutboxTransport,
        dispatcher: Dispatcher,
    ) -> None:
        """An empty outbox of connection number `connection`."""
        self.site = site
        self.market = market
        self.connection = connection
        self.scheduled = False
        self._transport = transport
        self._dispatcher = dispatcher
        self._queue: deque[tuple[int, bytes, MarketEvent | None, MessageOutcome]] = deque()
        self._held_back: dict[str, tuple[bytes, MarketEvent]] = {}
        self._last_depart_ns = 0
        self._last_due_ns = 0
        self._congested = False
        self._stall: StallMode | None = None
        self._closed = False

    @property
    def due_ns(self) -> int | None:
        """When the first entry may be written; None if nothing can be written at all."""
        blocked = self._congested or self._stall is StallMode.HOLD
        return self._queue[0][0] if self._queue and not blocked else None

    def deliver(self, event: MarketEvent, frame: bytes) -> None:
        """Queue one market message with the site's latency and faults."""
        site = self.site
        fate = site.faults.next(event.kind)
        if fate is _Fate.DROP or self._stall is StallMode.DROP:
            site.record(self.market, self.connection, event, 0, MessageOutcome.DROPPED)
            return
        if fate is _Fate.HOLD_BACK and event.stream not in self._held_back:
            self._held_back[event.stream] = frame, event
            return
        self._push(event.depart_ns, frame, event, MessageOutcome.SENT)
        if fate is _Fate.REPEAT:
            self._queue.append((self._last_due_ns, frame, event, MessageOutcome.DUPLICATE))
        late = self._held_back.pop(event.stream, None)
        if late is not None:
            self._queue.append((self._last_due_ns, *late, MessageOutcome.SENT))

    def control(self, data: bytes) -> None:
        """Queue bytes that are no market message, with the site's latency."""
        self._push(time.time_ns(), data, None, MessageOutcome.SENT)

    def _push(
        self, depart_ns: int, data: bytes, event: MarketEvent | None, outcome: MessageOutcome
    ) -> None:
        if self._closed:
            return
        if depart_ns != self._last_depart_ns:
            due_ns = depart_ns + self.site.latency.next_ns(depart_ns)
            self._last_due_ns = max(self._last_due_ns, due_ns)
            self._last_depart_ns = depart_ns
        self._queue.append((self._last_due_ns, data, event, outcome))
        self._dispatcher.schedule(self)

    def send_due(self, now_ns: int) -> None:
        """Write everything due at `now_ns` at once and record it."""
        chunks: list[bytes] = []
        messages: list[tuple[MarketEvent, MessageOutcome]] = []
        end = False
        while not end and (due_ns := self.due_ns) is not None and due_ns <= now_ns:
            _, data, event, outcome = self._queue.popleft()
            chunks.append(data)
            if event is not None:
                messages.append((event, outcome))
            end = data == END
        if not chunks:
            return
        joined = b"".join(chunks)
        send_ns = time.time_ns()
        self._transport.write(joined)
        for event, outcome in messages:
            self.site.record(self.market, self.connection, event, send_ns, outcome)
        if end:
            self._transport.close()

    def discard(self) -> None:
        """Discard what is queued and queue nothing more; the connection has ended."""
        self._closed = True
        unsent = [event for _, _, event, outcome in self._queue if outcome is MessageOutcome.SENT]
        unsent += [event for _, event in self._held_back.values()]
        self._queue.clear()
        self._held_back.clear()
        for event in unsent:
            if event is not None:
                self.site.record(self.market, self.connection, event, 0, MessageOutcome.UNSENT)

    def set_congested(self, *, congested: bool) -> None:
        """Hold while the transport's buffer is full, so that send timestamps stay true."""
        self._congested = congested
        self._dispatcher.schedule(self)

    def set_stall(self, stall: StallMode | None) -> None:
        """Stall, or resume with None."""
        self._stall = stall
        self._dispatcher.schedule(self)


class Subscriber(Protocol):
    """A connection as the dispatcher sees it."""

    def receive(self, event: MarketEvent) -> None:
        """Take a message of a subscribed stream."""


class Dispatcher:
    """Carries events from the source to subscribers and outboxes to their transports, on time.

    It must run on an event loop whose timers are finer than a millisecond; see `server.new_loop`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """A dispatcher without a source; see `start`."""
        self.events = 0
        self._loop = loop
        self._source: EventSource | None = None
        self._subscribers: dict[str, dict[Subscriber, None]] = {}
        self._due: list[tuple[int, int, Outbox]] = []
        self._ticket = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._running = False

    def start(self, source: EventSource) -> None:
        """Begin to deliver the events of a source."""
        self._source = source
        self.rearm()

    def subscribe(self, subscriber: Subscriber, streams: set[str]) -> None:
        """From now on give the events of these streams to a subscriber."""
        for stream in streams:
            self._subscribers.setdefault(stream, {})[subscriber] = None

    def unsubscribe(self, subscriber: Subscriber, streams: set[str]) -> None:
        """Undo `subscribe`."""
        for stream in streams:
            self._subscribers.get(stream, {}).pop(subscriber, None)

    def schedule(self, outbox: Outbox) -> None:
        """Make sure an outbox is looked at when its first entry is due."""
        due_ns = outbox.due_ns
        if due_ns is None or outbox.scheduled:
            return
        outbox.scheduled = True
        heapq.heappush(self._due, (due_ns, next(self._ticket), outbox))
        self.rearm()

    def rearm(self) -> None:
        """Set the timer to whatever comes first."""
        if self._running:
            return
        wanted = [self._due[0][0]] if self._due else []
        source_ns = self._source.next_ns() if self._source else None
        if source_ns is not None:
            wanted.append(source_ns)
        if not wanted:
            return
        next_ns = min(wanted)
        if self._timer is not None:
            if self._timer_ns <= next_ns:
                return
            self._timer.cancel()
        delay_sec = max(0, next_ns - time.time_ns()) / NS_PER_SEC
        self._timer_ns = next_ns
        self._timer = self._loop.call_later(delay_sec, self._run_due)

    def stop(self) -> None:
        """Deliver no more events."""
        self._source = None
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run_due(self) -> None:
        self._timer = None
        self._running = True
        try:
            if self._source is not None:
                for event in self._source.take_due(time.time_ns()):
                    self.events += 1
                    for subscriber in tuple(self._subscribers.get(event.stream, ())):
                        subscriber.receive(event)
            now_ns = time.time_ns()
            while self._due and self._due[0][0] <= now_ns:
                outbox = heapq.heappop(self._due)[2]
                outbox.scheduled = False
                outbox.send_due(now_ns)
                self.schedule(outbox)
        finally:
            self._running = False
        self.rearm()
