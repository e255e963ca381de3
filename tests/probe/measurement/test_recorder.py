"""What each message adds to the numbers of its channel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.contract import metrics
from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.probe.measurement.newest_samples import SAMPLES_KEPT
from latency_sweep.probe.measurement.recorder import MAX_AGE_NS, Recorder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from latency_sweep.contract.metrics import Metric
    from latency_sweep.contract.timeline import Run
    from latency_sweep.nativehist.snapshot import HistogramSnapshot
    from latency_sweep.probe.feeds.binance_spot import BinanceSpot
    from latency_sweep.probe.measurement.channel_state import ChannelState
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.measurement.recorder import ConnectionReceiver

MS = 1_000_000


def state_of(recorder: Recorder, stream: str) -> ChannelState:
    return next(state for state in recorder.states if state.channel.stream == stream)


def histogram(
    instruments: Instruments, metric: Metric, run: Run, stream: str = "trade"
) -> HistogramSnapshot:
    child = instruments.per_run[metric.name].labels("spot", stream, "BTCUSDT", run.label)
    return child.snapshot()


def errors(registry: CollectorRegistry, kind: ErrorKind) -> float | None:
    labels = {"market": "spot", "kind": kind.value}
    return registry.get_sample_value("feed_errors_total", labels)


def series_names(instruments: Instruments, metric: Metric) -> set[str]:
    family = instruments.per_run[metric.name].collect()[0]
    return {series.labels[metrics.RUN] for series in family.series}


def test_latency_is_receive_timestamp_minus_event_time(
    recorder: Recorder,
    instruments: Instruments,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    recorder.begin_run(run)
    event = run.measure_start_ns + 5 * MS
    connection.record([frames.trade(1, event)], False, event + 3 * MS, event + 4 * MS)
    latency = histogram(instruments, metrics.LATENCY, run)
    assert latency.count == 1
    assert latency.sum == pytest.approx(0.003, abs=1e-6)


def test_each_latency_has_an_exact_timestamp_or_a_bound_on_its_error(
    recorder: Recorder,
    instruments: Instruments,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    recorder.begin_run(run)
    event = run.measure_start_ns
    connection.record([frames.trade(1, event)], False, event + MS, event + MS, 0)
    batch = [frames.trade(number, event) for number in range(2, 12)]
    connection.record(batch, False, event + MS, event + MS, 3 * MS)
    connection.record([frames.trade(12, event)], False, event + MS, event + MS, 5 * MS)
    early = run.measure_start_ns - MS
    connection.record([frames.trade(13, early)], False, event, event, 5 * MS)
    connection.record([frames.book_ticker(7)], False, event + MS, event + MS, MS)
    bounds = histogram(instruments, metrics.TIMESTAMP_ERROR, run)
    assert bounds.count == 11
    assert bounds.sum == pytest.approx(0.035)
    assert histogram(instruments, metrics.LATENCY, run).count == 12
    exact = {channel.stream: count for channel, _, count in recorder.exact_timestamps()}
    assert exact["trade"] == 1
    assert "bookTicker" not in exact  # it has no event time, so no latency


def test_exact_timestamps_are_exposed_as_long_as_their_runs_latencies(
    recorder: Recorder,
    instruments: Instruments,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    recorder.begin_run(run)
    event = run.measure_start_ns
    connection.record([frames.trade(1, event)], False, event + MS, event + MS, 0)
    start_ns = run.end_ns
    following = type(run)(*(start_ns + second * NS_PER_SEC for second in range(4)))
    recorder.begin_run(following)
    found = {label: count for _, label, count in recorder.exact_timestamps() if count}
    assert found == {run.label: 1}
    recorder.expire(following.measure_start_ns, 0)
    assert {label for _, label, _ in recorder.exact_timestamps()} == {following.label}
    assert series_names(instruments, metrics.LATENCY) == {following.label}


def test_receive_delay_is_the_programs_own(
    recorder: Recorder,
    instruments: Instruments,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    recorder.begin_run(run)
    event = run.measure_start_ns
    connection.record([frames.trade(1, event)], False, event + 3 * MS, event + 5 * MS)
    assert histogram(instruments, metrics.RECEIVE_DELAY, run).sum == pytest.approx(0.002)


def test_exchange_delay_is_kept_apart(
    recorder: Recorder,
    instruments: Instruments,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    recorder.begin_run(run)
    event = run.measure_start_ns
    frame = frames.trade(1, event, trade_ns=event - 7 * MS)
    connection.record([frame], False, event + 3 * MS, event + 3 * MS)
    assert histogram(instruments, metrics.EXCHANGE_DELAY, run).sum == pytest.approx(0.007)
    assert histogram(instruments, metrics.LATENCY, run).sum == pytest.approx(0.003, abs=1e-6)


def test_delay_variation_compares_neighbours(
    recorder: Recorder,
    instruments: Instruments,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    recorder.begin_run(run)
    for number, latency_ms in enumerate((3, 5, 1)):
        event = run.measure_start_ns + number * 10 * MS
        timestamp = event + latency_ms * MS
        connection.record([frames.trade(number, event)], False, timestamp, timestamp)
    variation = histogram(instruments, metrics.DELAY_VARIATION, run)
    assert variation.count == 2
    assert variation.sum == pytest.approx(0.002 + 0.004, abs=1e-5)


def test_neighbours_on_different_connections_are_not_compared(
    recorder: Recorder,
    instruments: Instruments,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
    feed: BinanceSpot,
) -> None:
    recorder.begin_run(run)
    event = run.measure_start_ns
    connection.record([frames.trade(1, event)], False, event, event)
    recorder.interrupted(feed)
    connection = recorder.receiver(feed, recorder.lines[0], lambda: None)
    connection.record([frames.trade(2, event)], False, event + MS, event + MS)
    assert histogram(instruments, metrics.DELAY_VARIATION, run).count == 0


@pytest.mark.parametrize(("offset_ns", "counted"), [(-1000, 0), (0, 1), (1000, 1)])
def test_membership_of_a_run_starts_with_the_event_time(
    offset_ns: int,
    counted: int,
    recorder: Recorder,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    recorder.begin_run(run)
    event = run.measure_start_ns + offset_ns
    connection.record([frames.trade(1, event)], False, event + 50 * MS, event + 50 * MS)
    histograms = state_of(recorder, "trade").histograms
    assert histograms is not None
    assert histograms.latency is not None
    assert histograms.latency.snapshot().count == counted


def test_a_late_message_still_belongs_to_its_run(
    recorder: Recorder,
    instruments: Instruments,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    """A backlog at the end of the measurement is measured, not cut off."""
    recorder.begin_run(run)
    event = run.measure_end_ns - MS
    timestamp = run.measure_end_ns + 6_000 * MS
    connection.record([frames.trade(1, event)], False, timestamp, timestamp)
    assert histogram(instruments, metrics.LATENCY, run).sum == pytest.approx(6.001, abs=1e-5)


def test_negative_latency_is_counted_and_recorded_as_it_is(
    recorder: Recorder,
    instruments: Instruments,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    recorder.begin_run(run)
    event = run.measure_start_ns + 10 * MS
    connection.record([frames.trade(1, event)], False, event - 4 * MS, event)
    assert state_of(recorder, "trade").negative == 1
    assert histogram(instruments, metrics.LATENCY, run).sum == pytest.approx(-0.004, abs=1e-5)


def test_book_ticker_never_yields_a_latency(
    recorder: Recorder,
    instruments: Instruments,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    recorder.begin_run(run)
    timestamp = run.measure_start_ns + MS
    connection.record([frames.book_ticker(7)], False, timestamp, timestamp + MS)
    assert state_of(recorder, "bookTicker").messages == 1
    streams = {
        series.labels["stream"]
        for metric in (metrics.LATENCY, metrics.DELAY_VARIATION, metrics.EXCHANGE_DELAY)
        for series in instruments.per_run[metric.name].collect()[0].series
    }
    assert "bookTicker" not in streams
    assert histogram(instruments, metrics.RECEIVE_DELAY, run, "bookTicker").count == 1


def test_jumps_of_book_ticker_ids_are_no_gaps(
    recorder: Recorder, run: Run, frames: Any, connection: ConnectionReceiver
) -> None:
    recorder.begin_run(run)
    for number in (1, 50, 4000):
        connection.record([frames.book_ticker(number)], False, run.end_ns, run.end_ns)
    assert state_of(recorder, "bookTicker").sequence is None


def test_while_waiting_messages_are_counted_but_not_measured(
    recorder: Recorder,
    instruments: Instruments,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    recorder.begin_run(None)
    event = run.measure_start_ns
    connection.record([frames.trade(1, event)], False, event, event)
    assert state_of(recorder, "trade").messages == 1
    assert series_names(instruments, metrics.LATENCY) == set()


def test_a_run_starts_all_its_series_at_zero(
    recorder: Recorder, instruments: Instruments, run: Run
) -> None:
    recorder.begin_run(run)
    assert histogram(instruments, metrics.LATENCY, run).count == 0
    assert series_names(instruments, metrics.LATENCY) == {run.label}


def test_the_previous_run_stays_until_the_next_measurement(
    recorder: Recorder, instruments: Instruments, run: Run
) -> None:
    length = run.end_ns - run.start_ns
    following = type(run)(
        run.end_ns,
        run.measure_start_ns + length,
        run.measure_end_ns + length,
        run.end_ns + length,
    )
    recorder.begin_run(run)
    recorder.begin_run(following)
    recorder.expire(following.measure_start_ns - 1, 0)
    assert series_names(instruments, metrics.LATENCY) == {run.label, following.label}
    recorder.expire(following.measure_start_ns, 0)
    assert series_names(instruments, metrics.LATENCY) == {following.label}


def test_what_is_missed_while_disconnected_is_lost(
    recorder: Recorder, run: Run, frames: Any, connection: ConnectionReceiver, feed: BinanceSpot
) -> None:
    now = run.measure_start_ns
    connection.record([frames.trade(1, now)], False, now, now)
    recorder.interrupted(feed)
    connection = recorder.receiver(feed, recorder.lines[0], lambda: None)
    connection.record([frames.trade(10, now)], False, now, now)
    recorder.expire(now, time.monotonic_ns() + 10**10)
    sequence = state_of(recorder, "trade").sequence
    assert sequence is not None
    assert (sequence.gaps, sequence.lost) == (1, 8)


def test_a_bad_frame_is_counted_and_changes_nothing_else(
    recorder: Recorder, registry: CollectorRegistry, run: Run, connection: ConnectionReceiver
) -> None:
    recorder.begin_run(run)
    connection.record([b"garbage"], False, 1, 1)
    connection.record([b"\x00"], True, 1, 1)
    assert errors(registry, ErrorKind.BAD_JSON) == 1
    assert errors(registry, ErrorKind.BINARY_FRAME) == 1
    assert sum(state.messages for state in recorder.states) == 0


def test_an_event_time_in_another_unit_is_an_error_not_a_latency(
    recorder: Recorder,
    registry: CollectorRegistry,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    recorder.begin_run(run)
    now = run.measure_start_ns
    connection.record([frames.trade(1, now // 1000)], False, now, now)
    assert errors(registry, ErrorKind.BAD_FIELD) == 1
    assert state_of(recorder, "trade").messages == 0


@pytest.mark.parametrize("others", [0, 9])
@pytest.mark.parametrize("away_ns", [2 * MAX_AGE_NS, -2 * MAX_AGE_NS])
def test_a_trade_time_beyond_sense_is_an_error_and_the_rest_counts(
    recorder: Recorder,
    instruments: Instruments,
    registry: CollectorRegistry,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
    others: int,
    away_ns: int,
) -> None:
    recorder.begin_run(run)
    now = run.measure_start_ns
    batch = [frames.trade(number, now) for number in range(1, 1 + others)]
    batch.append(frames.trade(1 + others, now, trade_ns=now + away_ns))
    connection.record(batch, False, now, now)
    assert errors(registry, ErrorKind.BAD_TRADE_TIME) == 1
    assert state_of(recorder, "trade").messages == len(batch)
    assert histogram(instruments, metrics.LATENCY, run).count == len(batch)
    assert histogram(instruments, metrics.EXCHANGE_DELAY, run).count == others


def test_ids_that_begin_anew_in_a_burst_are_all_received(
    recorder: Recorder, run: Run, frames: Any, connection: ConnectionReceiver
) -> None:
    now = run.measure_start_ns
    ids = [*range(5000, 5100), *range(1, 51)]
    batch = [frames.trade(number, now + 1000 * when) for when, number in enumerate(ids)]
    for start in range(0, len(batch), 10):
        connection.record(batch[start : start + 10], False, now + MS, now + MS)
    state = state_of(recorder, "trade")
    assert (state.messages, state.restarts) == (150, 1)
    assert state.sequence is not None
    assert (state.sequence.lost, state.sequence.duplicates, state.sequence.next_id) == (0, 0, 51)


def test_a_clock_that_is_set_makes_nothing_lost(
    recorder: Recorder, run: Run, frames: Any, connection: ConnectionReceiver
) -> None:
    now = run.measure_start_ns
    for number, timestamp_ns in ((1, now), (3, now), (4, now + 3600 * NS_PER_SEC), (2, now)):
        connection.record([frames.trade(number, now)], False, timestamp_ns, timestamp_ns)
    sequence = state_of(recorder, "trade").sequence
    assert sequence is not None
    assert (sequence.lost, sequence.out_of_order) == (0, 1)


def test_a_wrong_id_is_counted_as_an_error(
    recorder: Recorder,
    registry: CollectorRegistry,
    run: Run,
    frames: Any,
    connection: ConnectionReceiver,
) -> None:
    now = run.measure_start_ns
    for number in (1, 2, 500_000_000, 4, 5):
        connection.record([frames.trade(number, now)], False, now, now)
    recorder.expire(now, time.monotonic_ns() + 10**10)
    state = state_of(recorder, "trade")
    assert state.sequence is not None
    assert (state.messages, state.sequence.lost, state.restarts) == (5, 0, 0)
    assert errors(registry, ErrorKind.BAD_ID) == 1


def test_a_fault_of_our_own_ends_no_measurement(
    recorder: Recorder,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    connection: ConnectionReceiver,
) -> None:
    def broken(_: bytes, *, binary: bool) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(connection, "_decode", broken)
    connection.record([b"{}"], False, 1, 1)
    assert errors(registry, ErrorKind.INTERNAL) == 1


def test_an_announced_shutdown_is_passed_on(
    recorder: Recorder, shutdowns: list[bool], connection: ConnectionReceiver
) -> None:
    connection.record([b'{"e":"serverShutdown","E":1}'], False, 1, 1)
    assert shutdowns == [True]


def test_only_the_newest_samples_are_kept(
    recorder: Recorder, run: Run, frames: Any, connection: ConnectionReceiver
) -> None:
    now = run.measure_start_ns
    for number in range(SAMPLES_KEPT + 10):
        connection.record([frames.trade(number, now)], False, now, now)
    samples = recorder.newest_samples()
    assert [event.first_id for event, _ in samples] == list(range(10, SAMPLES_KEPT + 10))


def test_only_the_newest_samples_of_bursts_are_kept(
    recorder: Recorder, run: Run, frames: Any, connection: ConnectionReceiver
) -> None:
    now = run.measure_start_ns
    for start in range(0, SAMPLES_KEPT + 300, 100):
        burst = [frames.trade(number, now) for number in range(start, start + 100)]
        connection.record(burst, False, now, now)
    samples = recorder.newest_samples()
    assert [event.first_id for event, _ in samples] == list(range(300, SAMPLES_KEPT + 300))


def test_channels_without_a_message_are_known(
    recorder: Recorder, run: Run, frames: Any, connection: ConnectionReceiver
) -> None:
    now = run.measure_start_ns
    connection.record([frames.trade(1, now)], False, now, now)
    silent = {channel.stream for channel in connection.channels_without_message()}
    assert silent == {"aggTrade", "depth@100ms", "bookTicker"}


@pytest.fixture
def pair(feed: BinanceSpot, instruments: Instruments) -> Recorder:
    """A recorder of two parallel connections."""
    return Recorder("spot", feed.channels, instruments, lines=2)


def test_of_two_copies_the_first_counts(
    pair: Recorder, feed: BinanceSpot, instruments: Instruments, run: Run, frames: Any
) -> None:
    fast, slow = (pair.receiver(feed, line, lambda: None) for line in pair.lines)
    pair.begin_run(run)
    event = run.measure_start_ns
    fast.record([frames.trade(1, event)], False, event + MS, event + MS)
    slow.record([frames.trade(1, event)], False, event + 5 * MS, event + 5 * MS)
    assert state_of(pair, "trade").messages == 1
    assert histogram(instruments, metrics.LATENCY, run).sum == pytest.approx(0.001)
    assert [(line.first_arrivals, line.redundant) for line in pair.lines] == [(1, 0), (0, 1)]


def test_every_copy_shows_in_its_connections_own_histogram(
    pair: Recorder, feed: BinanceSpot, run: Run, frames: Any
) -> None:
    fast, slow = (pair.receiver(feed, line, lambda: None) for line in pair.lines)
    pair.begin_run(run)
    event = run.measure_start_ns
    fast.record([frames.trade(1, event)], False, event + MS, event + MS)
    slow.record([frames.trade(1, event)], False, event + 5 * MS, event + 5 * MS)
    sums = [line.latency.snapshot().sum for line in pair.lines if line.latency is not None]
    assert sums == [pytest.approx(0.001), pytest.approx(0.005)]


def test_copies_of_messages_without_sequence_are_recognised_too(
    pair: Recorder, feed: BinanceSpot, run: Run, frames: Any
) -> None:
    fast, slow = (pair.receiver(feed, line, lambda: None) for line in pair.lines)
    now = run.measure_start_ns
    for number in (5, 9):
        fast.record([frames.book_ticker(number)], False, now, now)
    for number in (5, 9, 12):
        slow.record([frames.book_ticker(number)], False, now, now)
    assert state_of(pair, "bookTicker").messages == 3
    assert [(line.first_arrivals, line.redundant) for line in pair.lines] == [(2, 0), (1, 2)]


def test_an_id_that_goes_back_makes_no_copy_new(
    pair: Recorder, feed: BinanceSpot, run: Run, frames: Any
) -> None:
    first = pair.receiver(feed, pair.lines[0], lambda: None)
    now = run.measure_start_ns
    for number in (10, 8):
        first.record([frames.book_ticker(number)], False, now, now)
    second = pair.receiver(feed, pair.lines[1], lambda: None)
    second.record([frames.book_ticker(10)], False, now, now)
    assert [(line.first_arrivals, line.redundant) for line in pair.lines] == [(2, 0), (0, 1)]


def test_copies_are_recognised_until_the_connection_that_is_left_has_caught_up(
    pair: Recorder, feed: BinanceSpot, run: Run, frames: Any
) -> None:
    fast, slow = (pair.receiver(feed, line, lambda: None) for line in pair.lines)
    now = run.measure_start_ns
    for number in (5, 9):
        fast.record([frames.book_ticker(number)], False, now, now)
    pair.closed(feed)
    for number in (7, 9, 12):
        slow.record([frames.book_ticker(number)], False, now, now)
    assert [(line.first_arrivals, line.redundant) for line in pair.lines] == [(2, 0), (2, 1)]
    jumping = state_of(pair, "bookTicker").jumping
    assert jumping is not None
    assert jumping.recent is None


def test_a_true_duplicate_is_no_copy(
    pair: Recorder, feed: BinanceSpot, run: Run, frames: Any
) -> None:
    only = pair.receiver(feed, pair.lines[0], lambda: None)
    now = run.measure_start_ns
    for _ in range(2):
        only.record([frames.trade(1, now)], False, now, now)
    sequence = state_of(pair, "trade").sequence
    assert sequence is not None
    assert sequence.duplicates == 1
    assert pair.lines[0].redundant == 0
    assert state_of(pair, "trade").messages == 2


def test_what_one_connection_loses_the_other_brings(
    pair: Recorder, feed: BinanceSpot, run: Run, frames: Any
) -> None:
    first, second = (pair.receiver(feed, line, lambda: None) for line in pair.lines)
    now = run.measure_start_ns
    for number in (1, 3):
        first.record([frames.trade(number, now)], False, now, now)
    for number in (1, 2, 3):
        second.record([frames.trade(number, now)], False, now, now)
    pair.expire(now, time.monotonic_ns() + 10**10)
    sequence = state_of(pair, "trade").sequence
    assert sequence is not None
    assert (sequence.lost, sequence.out_of_order) == (0, 0)
    assert state_of(pair, "trade").messages == 3


def test_a_single_connection_has_no_histogram_of_its_own(
    recorder: Recorder, instruments: Instruments, run: Run
) -> None:
    recorder.begin_run(run)
    assert recorder.lines[0].latency is None
    assert series_names(instruments, metrics.CONNECTION_LATENCY) == set()


def test_a_copy_that_is_late_on_its_own_connection_is_still_a_copy(
    pair: Recorder, feed: BinanceSpot, run: Run, frames: Any
) -> None:
    fast, slow = (pair.receiver(feed, line, lambda: None) for line in pair.lines)
    now = run.measure_start_ns
    for number in (1, 2, 3):
        fast.record([frames.trade(number, now)], False, now, now)
    for number in (1, 3, 2):
        slow.record([frames.trade(number, now)], False, now, now)
    sequence = state_of(pair, "trade").sequence
    assert sequence is not None
    assert (sequence.duplicates, sequence.out_of_order) == (0, 0)
    assert pair.lines[1].redundant == 3


def test_messages_of_one_read_share_their_timestamp(
    recorder: Recorder, run: Run, frames: Any, connection: ConnectionReceiver
) -> None:
    now = run.measure_start_ns
    for number, timestamp_ns in enumerate((now, now, now, now + MS)):
        connection.record([frames.trade(number, now)], False, timestamp_ns, timestamp_ns + MS)
    assert recorder.lines[0].shared_timestamps == 2
    assert recorder.lines[0].without_timestamp == 0


def test_messages_that_the_kernel_did_not_timestamp_are_counted(
    recorder: Recorder, run: Run, frames: Any, connection: ConnectionReceiver
) -> None:
    now = run.measure_start_ns
    connection.record([frames.trade(1, now)], False, now, now)
    assert recorder.lines[0].without_timestamp == 1
