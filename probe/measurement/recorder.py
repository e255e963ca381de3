"""From messages to metrics: what each adds to the counters and histograms of its channel."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from latency_sweep.contract import metrics
from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.probe.feeds.base import DecodesBursts, Event, FrameError, Notice
from latency_sweep.probe.measurement.arrival import Arrival
from latency_sweep.probe.measurement.burst_columns import values_of
from latency_sweep.probe.measurement.channel_state import (
    ChannelState,
    Line,
    RunHistograms,
    is_per_id,
)
from latency_sweep.probe.measurement.error_log import ErrorLog
from latency_sweep.probe.measurement.newest_samples import NewestSamples
from latency_sweep.probe.measurement.numbering import Numbered
from latency_sweep.probe.measurement.sequence import NONE_YET, SequenceCheck
from latency_sweep.probe.net.limits import (
    MAX_UNUSABLE_FRAMES_PER_SEC,
    FrameRateLimit,
    LimitExceededError,
)
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from latency_sweep.contract.timeline import Run
    from latency_sweep.nativehist.histogram import NativeHistogram
    from latency_sweep.probe.feeds.base import Burst, Channel, EventRun, Feed
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.measurement.jumping_ids import JumpingIds, JumpingPosition

_LOG: Final = logs.logger(__name__)
# An event time further than this from the clock is in another unit, not late.
MAX_AGE_NS: Final = 86_400 * NS_PER_SEC
_MIN_AGE_NS: Final = -MAX_AGE_NS
# From how many messages of a read on it pays to look for runs of ids.
_BURST: Final = 8
# Messages after which the histograms fold what was appended.
_FOLD_EVERY: Final = 512


class Recorder:
    """Turns every message of one market into observations.

    A message belongs to a run by its event time, not by when it arrived: so all candidates
    measure the very same events, and a message that is late by seconds still counts. Messages
    without an event time belong to it by their receive timestamp. Of redundant messages the first
    to arrive counts.

    Args:
        market: value of the `market` label.
        channels: all channels, in the order of their indexes.
        instruments: take the observations.
        lines: parallel connections of each stream.

    Attributes:
        states: of each channel, by its index.
        lines: their counters.
        samples: the newest messages, for `/samples`.
        measured_ns: start and end of what the run measures, Unix nanoseconds; both 0 without one.
        newest_errors: detail of the newest error of each kind, the newest kind last.
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
        self._run: Run | None = None
        self._previous_run: Run | None = None
        self._error_log = ErrorLog()
        self._open: Counter[str] = Counter()  # connections of each feed, by its URL
        self.states: Sequence[ChannelState] = [
            ChannelState(channel, partial(self._count_stray, channel)) for channel in channels
        ]
        self.lines: Sequence[Line] = [Line(str(number)) for number in range(lines)]
        self.samples = NewestSamples()
        self.measured_ns = (0, 0)
        self.newest_errors: dict[ErrorKind, str] = {}
        self._histograms: Sequence[NativeHistogram] = ()
        self._exposed: list[tuple[Channel, str, RunHistograms]] = []  # with the run's label
        self._unfolded = 0

    @property
    def run(self) -> Run | None:
        """The run being recorded, or None while waiting for the next."""
        return self._run

    def begin_run(self, run: Run | None) -> None:
        """Record a run from its first event on, or with None record no run until the next.

        The previous run's series stay until this one's measurement starts.
        """
        self._forget_previous_run()
        if run != self._run:  # else this is a second attempt to begin it
            self._previous_run, self._run = self._run, run
        self.measured_ns = (run.measure_start_ns, run.measure_end_ns) if run else (0, 0)
        for state in self.states:
            state.histograms = self._histograms_of(state.channel, run) if run else None
            if run and state.numbering is not None:
                state.numbering.losses.begin(run)
            state.previous_latency_ns = None
            if run is not None and state.histograms is not None:
                self._exposed.append((state.channel, run.label, state.histograms))
        self._histograms = [
            histogram
            for state in self.states
            if state.histograms is not None
            for histogram in state.histograms.all
        ]
        if len(self.lines) > 1:
            family = self._instruments.per_run[metrics.CONNECTION_LATENCY.name]
            for line in self.lines:
                line.latency = family.labels(self._market, line.name, run.label) if run else None

    def newest_samples(self) -> Sequence[tuple[Event, int]]:
        """The newest messages with their receive timestamps, Unix nanoseconds."""
        return self.samples.newest()

    def newest_measured(self, now_ns: int) -> tuple[Run | None, Sequence[RunHistograms | None]]:
        """The newest run whose measurement has begun, else the one that is next, or None.

        With its histograms by the index of each channel.

        Args:
            now_ns: Unix time, nanoseconds.
        """
        run, previous = self._run, self._previous_run
        if previous is not None and (run is None or now_ns < run.measure_start_ns):
            run = previous
        found: list[RunHistograms | None] = [None] * len(self.states)
        for channel, label, histograms in self._exposed:
            if run is not None and label == run.label:
                found[channel.index] = histograms
        return run, found

    def exact_timestamps(self) -> list[tuple[Channel, str, int]]:
        """Channel, label of the run, and messages with an exact timestamp, of each exposed run."""
        return [
            (channel, run, exact)
            for channel, run, histograms in self._exposed
            if (exact := histograms.exact_timestamps) is not None
        ]

    def expire(self, now_ns: int, monotonic_ns: int) -> None:
        """Drop series that are no longer exposed, and let old gaps expire.

        Args:
            now_ns: Unix time, nanoseconds: runs begin and end by it.
            monotonic_ns: the time of a clock that nobody sets, nanoseconds: gaps expire by it.
        """
        if self._run is not None and now_ns >= self._run.measure_start_ns:
            self._forget_previous_run()
        for state in self.states:
            if state.numbering is not None:
                state.numbering.expire(monotonic_ns)

    def interrupted(self, feed: Feed) -> None:
        """A feed lost its last connection: messages before and after it are not consecutive.

        What is missed meanwhile shows as a gap in the ids, and is lost.
        """
        for channel in feed.channels:
            self.states[channel.index].previous_latency_ns = None

    def receiver(
        self,
        feed: Feed,
        line: Line,
        on_shutdown: Callable[[], None],
        on_answer: Callable[[FrameError | None], None] = lambda _: None,
    ) -> ConnectionReceiver:
        """What a new connection of a line delivers its messages to.

        Args:
            feed: decodes them.
            line: the line the connection belongs to.
            on_shutdown: called when the exchange announces that it will close the connection.
            on_answer: called when it answers a message of ours, with the error if it refuses it.
        """
        self._open[feed.url] += 1
        if self._open[feed.url] > 1:
            for jumping in self._jumping(feed):
                jumping.overlap()
        return ConnectionReceiver(self, feed, line, on_shutdown, on_answer)

    def closed(self, feed: Feed) -> None:
        """A connection that had a receiver is gone, or never came about."""
        self._open[feed.url] -= 1
        if self._open[feed.url] <= 1:
            for jumping in self._jumping(feed):
                jumping.end_overlap()

    def count_error(self, kind: ErrorKind, detail: str, fault: BaseException | None = None) -> None:
        """Count an error, and log it unless there have been many of its kind in this minute.

        Args:
            kind: the label it is counted under.
            detail: a sentence about it.
            fault: the program's own, whose traceback is logged, or None.
        """
        self._instruments.errors.labels(self._market, kind.value).inc()
        self.newest_errors.pop(kind, None)
        self.newest_errors[kind] = detail
        if self._error_log.admit(kind):
            last = self._error_log.is_last(kind)
            extra = {
                "kind": kind.value,
                "detail": detail,
                "run": None if self._run is None else self._run.label,
                "note": "further ones within this minute are only counted" if last else None,
            }
            _LOG.warning("feed error", extra=extra, exc_info=fault)

    def report_unlogged_errors(self) -> None:
        """Log how many errors were only counted; to be called now and then."""
        for kind, number in self._error_log.ended():
            if number:
                extra = {"kind": kind.value, "number": number}
                _LOG.warning("feed errors that were only counted", extra=extra)

    def fold(self, recorded: int) -> None:
        """Let histograms fold what has been appended to them, a few at a time.

        Those of a channel fill alike, and folding one takes about 0.1 ms: all at once would delay
        the reader.

        Args:
            recorded: messages since the last call.
        """
        self._unfolded += recorded
        if self._unfolded < _FOLD_EVERY:
            return
        budget = 1 + recorded // _FOLD_EVERY
        for histogram in self._histograms:
            budget -= histogram.maybe_fold()
            if not budget:
                return
        self._unfolded = 0

    def _count_stray(self, channel: Channel, detail: str) -> None:
        self.count_error(ErrorKind.BAD_ID, f"{channel.stream} of {channel.symbol}: {detail}")

    def _jumping(self, feed: Feed) -> list[JumpingIds]:
        found = [self.states[channel.index].jumping for channel in feed.channels]
        return [jumping for jumping in found if jumping is not None]

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
            timestamp_error=child(metrics.TIMESTAMP_ERROR, exists=channel.has_event_time),
        )

    def _forget_previous_run(self) -> None:
        if self._previous_run is None:
            return
        _LOG.debug("series of a previous run dropped", extra={"run": self._previous_run.label})
        for histogram in self._instruments.per_run.values():
            histogram.remove_matching({metrics.RUN: self._previous_run.label})
        label = self._previous_run.label
        for state in self.states:
            if state.numbering is not None:
                state.numbering.losses.forget(label)
        self._exposed = [exposed for exposed in self._exposed if exposed[1] != label]
        self._previous_run = None


class ConnectionReceiver:
    """Takes the messages of one connection, from its upgrade to its end.

    Two connections overlap when one replaces the other or when they run in parallel, so what has
    been seen on this very connection is kept here: an id seen on it before is a duplicate or out
    of order; one that only another connection delivered before is redundant.
    """

    def __init__(
        self,
        recorder: Recorder,
        feed: Feed,
        line: Line,
        on_shutdown: Callable[[], None],
        on_answer: Callable[[FrameError | None], None],
    ) -> None:
        self._recorder = recorder
        self._feed = feed
        self._line = line
        self._on_shutdown = on_shutdown
        self._on_answer = on_answer
        self._decode = feed.decode
        self._decode_burst = feed.decode_burst if isinstance(feed, DecodesBursts) else None
        self._checks: list[SequenceCheck | None] = [
            None if state.numbering is None else SequenceCheck(per_id=is_per_id(state.channel))
            for state in recorder.states
        ]
        self._positions: list[JumpingPosition | None] = [
            None if state.jumping is None else state.jumping.position() for state in recorder.states
        ]
        self._previous_timestamp_ns = 0
        self._unusable_frames = FrameRateLimit(
            MAX_UNUSABLE_FRAMES_PER_SEC,
            ErrorKind.UNUSABLE_FRAMES,
            "messages that measure nothing, such as empty ones",
        )

    @property
    def newest_ns(self) -> int:
        """Receive timestamp of the newest message on this connection, 0 before the first."""
        return self._previous_timestamp_ns

    def channels_without_message(self) -> list[Channel]:
        """Channels without any message on this connection."""
        return [channel for channel in self._feed.channels if self._has_no_message(channel.index)]

    def record(
        self,
        frames: Sequence[bytes],
        binary: bool,  # noqa: FBT001 - called by position
        timestamp_ns: int,
        read_ns: int,
        error_ns: int = 0,
    ) -> None:
        """Record the complete messages of one read, each channel's in their order.

        Args:
            frames: their payloads.
            binary: whether they came in binary frames.
            timestamp_ns: kernel receive timestamp, Unix nanoseconds.
            read_ns: when the program had read it, Unix nanoseconds.
            error_ns: how far off the timestamp may be, nanoseconds; 0 if it is exact.

        Raises:
            LimitExceededError: too many in this second were of no use; those before are recorded.
        """
        read = self._recorder.samples.begin_read()
        placed: Iterable[tuple[int, bytes]] = enumerate(frames)
        if len(frames) >= _BURST and self._decode_burst is not None:
            burst = self._decode_burst(frames, binary=binary)
            if burst is not None:
                runs = self._record_burst(burst, read, timestamp_ns, read_ns, error_ns)
                if len(runs) == len(burst.runs) == len(set(burst.groups)):
                    return
                of_run = map(runs.__contains__, burst.groups)
                placed = [pair for pair, done in zip(placed, of_run, strict=True) if not done]
        self._record_each(placed, read, binary, timestamp_ns, read_ns, error_ns)

    def _record_each(  # noqa: C901, PLR0912, PLR0915, PLR0917 - the hot path: what is called for each message costs most
        self,
        placed: Iterable[tuple[int, bytes]],
        read: int,
        binary: bool,  # noqa: FBT001
        timestamp_ns: int,
        read_ns: int,
        error_ns: int,
    ) -> None:
        """Record messages one by one.

        Args:
            placed: position in the read and payload of each.
            read: number of the read.
            binary: see `record`.
            timestamp_ns: see `record`.
            read_ns: see `record`.
            error_ns: see `record`.

        Raises:
            LimitExceededError: see `record`.
        """
        recorder, decode, checks = self._recorder, self._decode, self._checks
        states, note_sample = recorder.states, recorder.samples.append
        start_ns, end_ns = recorder.measured_ns
        all_arrivals = self._line.latency
        own_delay_sec = (read_ns - timestamp_ns) * 1e-9
        recorded = redundant = 0
        too_many: LimitExceededError | None = None
        for position, frame in placed:
            try:
                event = decode(frame, binary=binary)
                if isinstance(event, Notice):
                    if too_many := self._unusable_frames.excess():
                        break
                    if event is Notice.SHUTDOWN:
                        self._on_shutdown()
                    else:
                        self._on_answer(None)
                    continue
                index = event.channel.index
                event_ns = event.event_ns
                if event_ns is None:
                    latency_ns = 0
                    measured = start_ns <= timestamp_ns < end_ns
                    trade_ns = None
                else:
                    latency_ns = timestamp_ns - event_ns
                    if not _MIN_AGE_NS < latency_ns < MAX_AGE_NS:
                        raise _not_a_time(event_ns, latency_ns)  # noqa: TRY301 - counted as decoding faults are
                    trade_ns = event.trade_ns
                    if trade_ns is not None and not _MIN_AGE_NS < event_ns - trade_ns < MAX_AGE_NS:
                        recorder.count_error(*_not_a_trade_time(event_ns, trade_ns))
                        trade_ns = None  # the rest of it is right
                    measured = start_ns <= event_ns < end_ns
                    if all_arrivals is not None and measured:
                        all_arrivals.observe(latency_ns * 1e-9)
                state, check = states[index], checks[index]
                sequence = state.sequence
                first_id = event.first_id
                if (
                    check is not None
                    and sequence is not None
                    and first_id == check.next_id == sequence.next_id
                    and not check.unsettled
                    and not sequence.unsettled
                ):
                    # What nearly every message is: the next one, and nothing is awaited.
                    check.next_id = sequence.next_id = event.last_id + 1
                    sequence.times.append(event_ns)
                else:
                    arrival = self._place(state, event)
                    if arrival is not Arrival.COUNTED:
                        if arrival is Arrival.REDUNDANT:
                            recorded += 1
                            redundant += 1
                        continue
                recorded += 1
                state.messages += 1
                state.payload_bytes += len(frame)
                state.last_timestamp_ns = timestamp_ns
                note_sample((read, position, event, timestamp_ns))
                if latency_ns < 0:
                    state.negative += 1
                histograms = state.histograms
                if not measured or histograms is None:
                    continue
                histograms.receive_delay.append(own_delay_sec)
                latency, variation = histograms.latency, histograms.variation
                if event_ns is None or latency is None or variation is None:
                    continue
                latency.append(latency_ns * 1e-9)
                if error_ns and histograms.timestamp_error is not None:
                    histograms.timestamp_error.append(error_ns * 1e-9)
                previous_ns = state.previous_latency_ns
                if previous_ns is not None:
                    variation.append(abs(latency_ns - previous_ns) * 1e-9)
                state.previous_latency_ns = latency_ns
                exchange_delay = histograms.exchange_delay
                if trade_ns is not None and exchange_delay is not None:
                    exchange_delay.append((event_ns - trade_ns) * 1e-9)
            except FrameError as error:
                recorder.count_error(error.kind, str(error))
                if error.usable is not None:
                    usable = ((position, error.usable),)
                    self._record_each(usable, read, binary, timestamp_ns, read_ns, error_ns)
                elif too_many := self._unusable_frames.excess():
                    break
                if error.kind is ErrorKind.EXCHANGE_ERROR:
                    self._on_answer(error)
            except Exception as error:  # noqa: BLE001 - one bad message must not end a measurement
                recorder.count_error(ErrorKind.INTERNAL, repr(error), error)
        self._count(recorded, redundant, timestamp_ns, read_ns)
        recorder.fold(recorded)
        if too_many is not None:
            raise too_many

    def _record_burst(
        self, burst: Burst, read: int, timestamp_ns: int, read_ns: int, error_ns: int
    ) -> Mapping[bytes, EventRun]:
        """Record the runs of a burst that are in order and alike; returns those.

        Columns cost a third of going message by message.
        """
        recorder, states = self._recorder, self._recorder.states
        runs = {group: run for group, run in burst.runs.items() if self._goes_on(run, timestamp_ns)}
        if not runs:
            return runs
        start_ns, end_ns = recorder.measured_ns
        recorded = 0
        observed: list[tuple[EventRun, int | None]] = []
        for run in runs.values():
            index, event_ns = run.channel.index, run.event_ns
            state, check, count = states[index], self._checks[index], len(event_ns)
            assert check is not None
            assert state.sequence is not None
            check.next_id = state.sequence.next_id = run.last_ids[-1] + 1
            state.sequence.times.extend(event_ns)
            state.messages += count
            state.payload_bytes += run.payload_bytes
            state.last_timestamp_ns = timestamp_ns
            state.negative += sum(map(timestamp_ns.__lt__, event_ns))
            recorded += count
            if start_ns <= event_ns[0] < end_ns and state.histograms is not None:
                observed.append((run, state.previous_latency_ns))
                state.previous_latency_ns = timestamp_ns - event_ns[-1]
        if observed:
            own_delay_sec = (read_ns - timestamp_ns) * 1e-9
            all_values = values_of(observed, timestamp_ns, own_delay_sec)
            for (run, _), values in zip(observed, all_values, strict=True):
                histograms = states[run.channel.index].histograms
                assert histograms is not None
                histograms.observe_run(values)
                if error_ns and histograms.timestamp_error is not None:
                    errors = array("d", [error_ns * 1e-9]) * len(run.event_ns)
                    histograms.timestamp_error.extend(errors)
                if self._line.latency is not None:
                    self._line.latency.extend_bytes(values.latency)
        recorder.samples.add_burst(read, burst, runs, recorded, timestamp_ns)
        self._count(recorded, 0, timestamp_ns, read_ns)
        recorder.fold(recorded)
        return runs

    def _goes_on(self, run: EventRun, timestamp_ns: int) -> bool:
        """Whether a run is what is expected next, and all of it is measured or none."""
        event_ns, trade_ns = run.event_ns, run.trade_ns
        start_ns, end_ns = self._recorder.measured_ns
        oldest_ns, newest_ns = min(event_ns), max(event_ns)
        index = run.channel.index
        check, sequence = self._checks[index], self._recorder.states[index].sequence
        return (
            check is not None
            and sequence is not None
            and run.first_ids[0] == check.next_id == sequence.next_id
            and not check.unsettled
            and not sequence.unsettled
            and (
                start_ns <= oldest_ns <= newest_ns < end_ns
                or newest_ns < start_ns
                or end_ns <= oldest_ns
            )
            and _MIN_AGE_NS < timestamp_ns - newest_ns <= timestamp_ns - oldest_ns < MAX_AGE_NS
            and (
                trade_ns is None
                or (
                    oldest_ns - max(trade_ns) > _MIN_AGE_NS
                    and newest_ns - min(trade_ns) < MAX_AGE_NS
                )
            )
        )

    def _place(self, state: ChannelState, event: Event) -> Arrival:
        """What a message is; records its ids for this connection and for all."""
        check, position = self._checks[event.channel.index], self._positions[event.channel.index]
        if position is not None and state.jumping is not None:
            return state.jumping.see(event.last_id, event.event_ns, position)
        assert check is not None
        assert state.numbering is not None
        first_id, last_id, event_ns = event.first_id, event.last_id, event.event_ns
        assert event_ns is not None  # wherever ids can show losses
        if state.numbering.is_next_copy(first_id, last_id, event_ns, check):
            return Arrival.REDUNDANT
        message = Numbered(first_id, last_id, event_ns)
        return state.numbering.see(message, time.monotonic_ns(), check)

    def _count(self, recorded: int, redundant: int, timestamp_ns: int, read_ns: int) -> None:
        """Count the messages of one read for the line."""
        if not recorded:
            return
        line = self._line
        line.redundant += redundant
        line.first_arrivals += recorded - redundant
        line.shared_timestamps += recorded - (timestamp_ns != self._previous_timestamp_ns)
        self._previous_timestamp_ns = timestamp_ns
        if timestamp_ns == read_ns:  # the kernel gave none, see `Transport`
            line.without_timestamp += recorded

    def _has_no_message(self, index: int) -> bool:
        check, position = self._checks[index], self._positions[index]
        if position is not None:
            return not position.has_message
        return check is None or check.next_id == NONE_YET


def _not_a_time(event_ns: int, latency_ns: int) -> FrameError:
    return FrameError(
        ErrorKind.BAD_FIELD,
        f"event time {event_ns} ns is {latency_ns / 1e9:.0f} s from the clock",
    )


def _not_a_trade_time(event_ns: int, trade_ns: int) -> tuple[ErrorKind, str]:
    apart_sec = (event_ns - trade_ns) / NS_PER_SEC
    return (
        ErrorKind.BAD_TRADE_TIME,
        f"trade time {trade_ns} ns is {apart_sec:.0f} s before the event time",
    )
