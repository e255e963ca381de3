"""From messages to numbers: what each one adds to the counters and histograms of its channel."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from probe.contract import metrics
from probe.contract.metrics import ErrorKind
from probe.contract.timeline import NS_PER_SEC
from probe.feeds.base import Event, FrameError, Ids, Notice
from probe.numbers.sequence import SequenceCheck

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
        messages: messages received.
        payload_bytes: their size.
        negative: messages stamped later than they were received.
        last_stamp_ns: receive stamp of the newest one, or 0.
        sequence: the check of its ids, or None where they can show nothing.
        histograms: those of the run being measured, or None.
        previous_latency_ns: latency of the previous message of this run and connection.
        heard: whether a message has come on this connection.
    """

    __slots__ = (
        "channel",
        "heard",
        "histograms",
        "last_stamp_ns",
        "messages",
        "negative",
        "payload_bytes",
        "previous_latency_ns",
        "sequence",
    )

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.messages = 0
        self.payload_bytes = 0
        self.negative = 0
        self.last_stamp_ns = 0
        self.sequence = (
            None
            if channel.ids is Ids.NONE
            else SequenceCheck(per_id=channel.ids is Ids.CONSECUTIVE)
        )
        self.histograms: RunHistograms | None = None
        self.previous_latency_ns: int | None = None
        self.heard = False


class Recorder:
    """Turns every message of one feed into observations.

    A message belongs to a run by its event time, not by when it arrived: so all places measure
    the very same events, and a message that is late by seconds still counts. Messages without
    an event time belong to it by their receive stamp.

    Args:
        feed: decodes the messages.
        instruments: take the observations.
        on_shutdown: called when the exchange announces that it will close the connection.
    """

    def __init__(
        self, feed: Feed, instruments: Instruments, on_shutdown: Callable[[], None]
    ) -> None:
        self._feed = feed
        self._instruments = instruments
        self._on_shutdown = on_shutdown
        self._decode = feed.decode
        self._start_ns = 0
        self._end_ns = 0
        self._run: Run | None = None
        self._previous_run: Run | None = None
        self._logged: dict[ErrorKind, int] = {}
        self.states: Sequence[ChannelState] = [ChannelState(c) for c in feed.channels]
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

    def expire(self, now_ns: int) -> None:
        """Drop what is no longer to be exposed, and count what has been missing too long."""
        if self._run is not None and now_ns >= self._run.measure_start_ns:
            self._forget_previous_run()
        for state in self.states:
            if state.sequence is not None:
                state.sequence.settle(now_ns)

    def begin_connection(self, *, planned: bool) -> None:
        """Prepare for the first message of a new connection.

        Args:
            planned: the probe itself replaced the connection, so that what was sent in between
                is not lost. After any other end, it is.
        """
        for state in self.states:
            state.heard = False
            state.previous_latency_ns = None
            if planned and state.sequence is not None:
                state.sequence.restart()

    def silent_channels(self) -> list[Channel]:
        """Channels without any message on this connection."""
        return [state.channel for state in self.states if not state.heard]

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
            self.count_error(error.kind, str(error))
        except Exception as error:  # noqa: BLE001 - one bad message must not end a measurement
            self.count_error(ErrorKind.INTERNAL, repr(error))

    def count_error(self, kind: ErrorKind, detail: str) -> None:
        """Count a fault, and log the first ones of its kind."""
        self._instruments.errors.labels(self._feed.market, kind.value).inc()
        logged = self._logged.get(kind, 0)
        if logged < _LOGGED_PER_KIND:
            self._logged[kind] = logged + 1
            last = "; further ones are only counted" if logged + 1 == _LOGGED_PER_KIND else ""
            _LOG.warning("%s: %s%s", kind.value, detail, last)

    def _record(self, event: Event, size: int, stamp_ns: int, read_ns: int) -> None:
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
        state.messages += 1
        state.payload_bytes += size
        state.last_stamp_ns = stamp_ns
        state.heard = True
        if state.sequence is not None:
            state.sequence.see(event.first_id, event.last_id, stamp_ns)
        self.samples.append(Sample(event, stamp_ns))
        if event_ns is None:
            if self._start_ns <= stamp_ns < self._end_ns and state.histograms is not None:
                state.histograms.receive_delay.observe((read_ns - stamp_ns) * 1e-9)
            return
        if latency_ns < 0:
            state.negative += 1
        if self._start_ns <= event_ns < self._end_ns and state.histograms is not None:
            self._observe(state, state.histograms, event, latency_ns)
            state.histograms.receive_delay.observe((read_ns - stamp_ns) * 1e-9)

    @staticmethod
    def _observe(
        state: ChannelState, histograms: RunHistograms, event: Event, latency_ns: int
    ) -> None:
        assert histograms.latency is not None
        assert histograms.variation is not None
        assert event.event_ns is not None
        histograms.latency.observe(latency_ns * 1e-9)
        if state.previous_latency_ns is not None:
            histograms.variation.observe(abs(latency_ns - state.previous_latency_ns) * 1e-9)
        state.previous_latency_ns = latency_ns
        if event.trade_ns is not None and histograms.exchange_delay is not None:
            histograms.exchange_delay.observe((event.event_ns - event.trade_ns) * 1e-9)

    def _histograms_of(self, channel: Channel, run: Run) -> RunHistograms:
        labels = (self._feed.market, channel.stream, channel.symbol, run.label)
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
