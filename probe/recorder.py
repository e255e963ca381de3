"""From messages to numbers: what each one adds to the counters and histograms of its channel."""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from probe.contract import metrics
from probe.contract.metrics import ErrorKind
from probe.contract.timeline import NS_PER_SEC
from probe.feeds.base import Event, FrameError, Ids, Notice
from probe.numbers.recent_ids import RecentIds
from probe.numbers.sequence import Seen, SequenceCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probe.contract.timeline import Run
    from probe.feeds.base import Channel, Feed
    from probe.instruments import Instruments
    from probe.numbers.histogram import NativeHistogram

_LOG = logging.getLogger(__name__)
SAMPLES_KEPT: Final = 1000
# An event time further than this from the clock is in another unit, not late.
MAX_AGE_NS: Final = 86_400 * NS_PER_SEC
_LOGGED_PER_KIND: Final = 10


class Sample(NamedTuple):
    """One received message, for `/samples`. Times are Unix nanoseconds."""

    event: Event
    stamp_ns: int


class RunHistograms(NamedTuple):
    """The histograms one channel fills during one run."""

    latency: NativeHistogram | None
    variation: NativeHistogram | None
    exchange_delay: NativeHistogram | None
    receive_delay: NativeHistogram


class ChannelState:
    """Counters and position of one channel since the probe started.

    Attributes:
        channel: which one.
        messages: messages received; copies of a parallel connection are not among them.
        payload_bytes: their size.
        negative: messages stamped later than they were received.
        last_stamp_ns: receive stamp of the newest one, or 0.
        newest_id: highest id received, or -1.
        sequence: the check of its ids, or None where they can show nothing.
        overlapping: whether several connections bring it, where there is no sequence.
        recent: ids received since they overlap, or None.
        histograms: those of the run being measured, or None.
        previous_latency_ns: latency of the previous message of this run, or None.
    """

    __slots__ = (
        "channel",
        "histograms",
        "last_stamp_ns",
        "messages",
        "negative",
        "newest_id",
        "overlapping",
        "payload_bytes",
        "previous_latency_ns",
        "recent",
        "sequence",
    )

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.messages = 0
        self.payload_bytes = 0
        self.negative = 0
        self.last_stamp_ns = 0
        self.newest_id = -1
        self.sequence = (
            None
            if channel.ids is Ids.NONE
            else SequenceCheck(per_id=channel.ids is Ids.CONSECUTIVE)
        )
        self.overlapping = False
        self.recent: RecentIds | None = None
        self.histograms: RunHistograms | None = None
        self.previous_latency_ns: int | None = None


class Line:
    """Counters of one of several parallel connections, through all its replacements.

    Attributes:
        name: value of the `connection` label.
        wins: messages it delivered first.
        copies: messages that another had delivered before.
        shared_stamps: messages that share the stamp of their read with one before them.
        unstamped: messages for which the kernel gave no stamp.
        latency: histogram of the run being measured, of every copy; None if there is one line.
    """

    __slots__ = ("copies", "latency", "name", "shared_stamps", "unstamped", "wins")

    def __init__(self, name: str) -> None:
        self.name = name
        self.wins = 0
        self.copies = 0
        self.shared_stamps = 0
        self.unstamped = 0
        self.latency: NativeHistogram | None = None


class Recorder:
    """Turns every message of one market into observations.

    A message belongs to a run by its event time, not by when it arrived: so all places measure
    the very same events, and a message that is late by seconds still counts. Messages without
    an event time belong to it by their receive stamp. Of several copies, the first one counts.

    Args:
        market: value of the `market` label.
        channels: all channels, in the order of their indexes.
        instruments: take the observations.
        lines: parallel connections of each stream.
    """

    def __init__(
        self,
        market: str,
        channels: Sequence[Channel],
        instruments: Instruments,
        *,
        lines: int = 1,
    ) -> None:
        self._market = market
        self._instruments = instruments
        self._start_ns = 0
        self._end_ns = 0
        self._run: Run | None = None
        self._previous_run: Run | None = None
        self._logged: dict[ErrorKind, int] = {}
        self._open: Counter[str] = Counter()  # connections of each feed, by its URL
        self.states: Sequence[ChannelState] = [ChannelState(channel) for channel in channels]
        self.lines: Sequence[Line] = [Line(str(number)) for number in range(lines)]
        self.samples: deque[Sample] = deque(maxlen=SAMPLES_KEPT)

    @property
    def run(self) -> Run | None:
        """The run being recorded, or None while waiting for the next."""
        return self._run

    def begin_run(self, run: Run | None) -> None:
        """Record a run from its first event on, or with None record no run until the next.

        The previous run's series stay until this one's measurement starts.
        """
        self._forget_previous_run()
        self._previous_run, self._run = self._run, run
        self._start_ns = run.measure_start_ns if run else 0
        self._end_ns = run.measure_end_ns if run else 0
        for state in self.states:
            state.histograms = self._histograms_of(state.channel, run) if run else None
            state.previous_latency_ns = None
        if len(self.lines) > 1:
            family = self._instruments.per_run[metrics.CONNECTION_LATENCY.name]
            for line in self.lines:
                line.latency = family.labels(self._market, line.name, run.label) if run else None

    def expire(self, now_ns: int) -> None:
        """Drop what is no longer to be exposed, and count what has been missing too long."""
        if self._run is not None and now_ns >= self._run.measure_start_ns:
            self._forget_previous_run()
        for state in self.states:
            if state.sequence is not None:
                state.sequence.settle(now_ns)

    def interrupted(self, feed: Feed) -> None:
        """A feed lost its last connection: messages before and after are no neighbours.

        What is missed meanwhile shows as a gap in the ids, and is lost.
        """
        for channel in feed.channels:
            self.states[channel.index].previous_latency_ns = None

    def receiver(
        self, feed: Feed, line: Line, on_shutdown: Callable[[], None]
    ) -> ConnectionReceiver:
        """What a new connection of a line delivers its messages to.

        Args:
            feed: decodes them.
            line: the line the connection belongs to.
            on_shutdown: called when the exchange announces that it will close the connection.
        """
        self._open[feed.url] += 1
        if self._open[feed.url] > 1:
            for state in self._without_sequence(feed):
                state.overlapping = True
                state.recent = state.recent or RecentIds(state.newest_id)
        return ConnectionReceiver(self, feed, line, on_shutdown)

    def closed(self, feed: Feed) -> None:
        """A connection that had a receiver is gone, or never came about."""
        self._open[feed.url] -= 1
        if self._open[feed.url] <= 1:
            for state in self._without_sequence(feed):
                state.overlapping = False

    def count_error(self, kind: ErrorKind, detail: str) -> None:
        """Count a fault, and log the first ones of its kind."""
        self._instruments.errors.labels(self._market, kind.value).inc()
        logged = self._logged.get(kind, 0)
        if logged < _LOGGED_PER_KIND:
            self._logged[kind] = logged + 1
            last = "; further ones are only counted" if logged + 1 == _LOGGED_PER_KIND else ""
            _LOG.warning("%s: %s%s", kind.value, detail, last)

    def record(self, event: Event, size: int, stamp_ns: int, read_ns: int, here: Seen) -> bool:
        """Record one message.

        Args:
            event: what it says.
            size: bytes of its payload.
            stamp_ns: kernel receive stamp, Unix nanoseconds.
            read_ns: when the program had read it, Unix nanoseconds.
            here: what it is among the messages of its own connection.

        Returns:
            Whether it counts; False for a copy of what another connection brought before.

        Raises:
            FrameError: its event time cannot be right.
        """
        state = self.states[event.channel.index]
        event_ns = event.event_ns
        latency_ns = 0
        if event_ns is not None:
            latency_ns = stamp_ns - event_ns
            if not -MAX_AGE_NS < latency_ns < MAX_AGE_NS:
                raise FrameError(
                    ErrorKind.BAD_FIELD,
                    f"event time {event_ns} ns is {latency_ns / 1e9:.0f} s from the clock",
                )
        if not _is_first_copy(state, event, stamp_ns, here):
            return False
        state.messages += 1
        state.payload_bytes += size
        state.last_stamp_ns = stamp_ns
        self.samples.append(Sample(event, stamp_ns))
        if latency_ns < 0:
            state.negative += 1
        member_ns = stamp_ns if event_ns is None else event_ns
        if self._start_ns <= member_ns < self._end_ns and state.histograms is not None:
            state.histograms.receive_delay.observe((read_ns - stamp_ns) * 1e-9)
            if event_ns is not None:
                _observe(state, state.histograms, event, latency_ns)
        return True

    def measures(self, event: Event) -> bool:
        """Whether an event belongs to the measurement of the current run."""
        return event.event_ns is not None and self._start_ns <= event.event_ns < self._end_ns

    def _without_sequence(self, feed: Feed) -> list[ChannelState]:
        states = [self.states[channel.index] for channel in feed.channels]
        return [state for state in states if state.sequence is None]

    def _histograms_of(self, channel: Channel, run: Run) -> RunHistograms:
        labels = (self._market, channel.stream, channel.symbol, run.label)
        per_run = self._instruments.per_run

        def child(metric: metrics.Metric, *, exists: bool = True) -> NativeHistogram | None:
            return per_run[metric.name].labels(*labels) if exists else None

        return RunHistograms(
            latency=child(metrics.LATENCY, exists=channel.has_event_time),
            variation=child(metrics.DELAY_VARIATION, exists=channel.has_event_time),
            exchange_delay=child(metrics.EXCHANGE_DELAY, exists=channel.has_trade_time),
            receive_delay=per_run[metrics.RECEIVE_DELAY.name].labels(*labels),
        )

    def _forget_previous_run(self) -> None:
        if self._previous_run is None:
            return
        for histogram in self._instruments.per_run.values():
            histogram.remove_matching({metrics.RUN: self._previous_run.label})
        self._previous_run = None


def _is_first_copy(state: ChannelState, event: Event, stamp_ns: int, here: Seen) -> bool:
    """Whether no other connection brought the message before; takes note of its ids."""
    if state.sequence is not None:
        seen = state.sequence.see(event.first_id, event.last_id, stamp_ns, here)
        if seen is Seen.REPEATED and here is not Seen.REPEATED:
            return False
    elif state.recent is not None:
        if not state.recent.is_first(event.last_id) and here is not Seen.REPEATED:
            return False
        if not state.overlapping and event.last_id > state.newest_id:
            state.recent = None  # the connection that is left has caught up with the other
    state.newest_id = max(state.newest_id, event.last_id)
    return True


def _observe(state: ChannelState, histograms: RunHistograms, event: Event, latency_ns: int) -> None:
    assert histograms.latency is not None
    assert histograms.variation is not None
    assert event.event_ns is not None
    histograms.latency.observe(latency_ns * 1e-9)
    if state.previous_latency_ns is not None:
        histograms.variation.observe(abs(latency_ns - state.previous_latency_ns) * 1e-9)
    state.previous_latency_ns = latency_ns
    if event.trade_ns is not None and histograms.exchange_delay is not None:
        histograms.exchange_delay.observe((event.event_ns - event.trade_ns) * 1e-9)


class ConnectionReceiver:
    """Takes the messages of one connection, from its upgrade to its end.

    Two connections overlap when one replaces the other or when they run in parallel, so what has
    been seen on this very connection is kept here: an id seen on it before is a duplicate or out
    of order; one that only another connection brought before is a copy.
    """

    def __init__(
        self, recorder: Recorder, feed: Feed, line: Line, on_shutdown: Callable[[], None]
    ) -> None:
        self._recorder = recorder
        self._feed = feed
        self._line = line
        self._on_shutdown = on_shutdown
        self._decode = feed.decode
        self._checks = {
            channel.index: SequenceCheck(per_id=channel.ids is Ids.CONSECUTIVE)
            for channel in feed.channels
            if channel.ids is not Ids.NONE
        }
        self._newest_ids: dict[int, int] = {}
        self._previous_stamp_ns = 0

    def silent_channels(self) -> list[Channel]:
        """Channels without any message on this connection."""
        return [c for c in self._feed.channels if c.index not in self._newest_ids]

    def on_message(self, frame: bytes, binary: bool, stamp_ns: int, read_ns: int) -> None:  # noqa: FBT001 - hot path, called by position
        """Record one complete message; never raises.

        Args:
            frame: its payload.
            binary: whether it came in a binary frame.
            stamp_ns: kernel receive stamp, Unix nanoseconds.
            read_ns: when the program had read it, Unix nanoseconds.
        """
        try:
            event = self._decode(frame, binary=binary)
            if isinstance(event, Notice):
                if event is Notice.SHUTDOWN:
                    self._on_shutdown()
                return
            self._record(event, len(frame), stamp_ns, read_ns)
        except FrameError as error:
            self._recorder.count_error(error.kind, str(error))
        except Exception as error:  # noqa: BLE001 - one bad message must not end a measurement
            self._recorder.count_error(ErrorKind.INTERNAL, repr(error))

    def _record(self, event: Event, size: int, stamp_ns: int, read_ns: int) -> None:
        index = event.channel.index
        check = self._checks.get(index)
        if check is not None:
            here = check.see(event.first_id, event.last_id, stamp_ns)
        else:
            newer = event.last_id > self._newest_ids.get(index, -1)
            here = Seen.NEW if newer else Seen.REPEATED
        if here is Seen.NEW:
            self._newest_ids[index] = event.last_id
        first = self._recorder.record(event, size, stamp_ns, read_ns, here)
        line = self._line
        if stamp_ns == self._previous_stamp_ns:
            line.shared_stamps += 1
        self._previous_stamp_ns = stamp_ns
        if stamp_ns == read_ns:  # the transport's stand-in
            line.unstamped += 1
        if first:
            line.wins += 1
        else:
            line.copies += 1
        if line.latency is not None and self._recorder.measures(event):
            assert event.event_ns is not None
            line.latency.observe((stamp_ns - event.event_ns) * 1e-9)
