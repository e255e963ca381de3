"""A summary of what a recorder has recorded."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.contract.metrics import ErrorKind, Phase, ReconnectReason
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.probe.connection.session import Session
from latency_sweep.probe.summary.collect import ProbeParts

if TYPE_CHECKING:
    from latency_sweep.contract.timeline import Run
    from latency_sweep.probe.feeds.binance_spot import BinanceSpot
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.measurement.recorder import ConnectionReceiver, Recorder
    from latency_sweep.probe.summary.records import ProbeSummary, StreamSummary

MS = 1_000_000


@pytest.fixture
async def parts(feed: BinanceSpot, recorder: Recorder, instruments: Instruments) -> ProbeParts:
    timeline = Timeline(NS_PER_SEC, 3600 * NS_PER_SEC, NS_PER_SEC)
    tls = ssl.create_default_context()
    session = Session([feed], timeline, recorder, instruments, tls=tls)
    session.connectivity.opened(feed, "0", "192.0.2.1")
    return ProbeParts("spot", feed.url, "socket", recorder, session, instruments)


def resolve(parts: ProbeParts) -> ProbeSummary:
    return parts.capture().resolve()


def of(summary: ProbeSummary, name: str) -> StreamSummary:
    return next(stream for stream in summary.streams if stream.stream == name)


def test_numbers_are_those_of_the_messages_of_the_run(
    parts: ProbeParts, recorder: Recorder, connection: ConnectionReceiver, run: Run, frames: Any
) -> None:
    recorder.begin_run(run)
    latencies_ms, own_ms = (10, 12, 11, 40), 2
    for number, latency_ms in enumerate(latencies_ms):
        sent = run.measure_start_ns + number * 1000 * MS
        received = sent + latency_ms * MS
        # The last of them may be a millisecond late.
        error_ns = MS if number == 3 else 0
        frame = frames.trade(number, sent)
        connection.record([frame], False, received, received + own_ms * MS, error_ns)
    before = run.measure_start_ns - NS_PER_SEC  # warm-up: counts nowhere but in the ids
    connection.record([frames.trade(4, before)], False, before + 999 * MS, before + 999 * MS)
    trade = of(resolve(parts), "trade")
    assert trade.messages == 4
    found = trade.latency
    assert found is not None
    assert found.minimum_sec == pytest.approx(0.010)
    assert found.maximum_sec == pytest.approx(0.040)
    # As Prometheus does: from the median up, ranks are counted from above.
    assert found.p50_sec == pytest.approx(0.012, rel=0.003)
    assert found.p99_sec == pytest.approx(0.040, rel=0.003)
    assert found.mean_sec == pytest.approx(0.01825)
    assert found.jitter_sec == pytest.approx((2 + 1 + 29) / 3 / 1000)
    assert found.exact_ratio == 0.75
    assert found.late_p99_sec == pytest.approx(0.001, rel=0.003)
    assert found.late_maximum_sec == pytest.approx(0.001)
    assert trade.own_p99_sec == pytest.approx(0.002, rel=0.003)
    assert of(resolve(parts), "bookTicker").latency is None


def test_few_inexact_timestamps_leave_99_percent_without_an_error(
    parts: ProbeParts, recorder: Recorder, connection: ConnectionReceiver, run: Run, frames: Any
) -> None:
    recorder.begin_run(run)
    for number in range(200):
        sent = run.measure_start_ns + number * MS
        error_ns = 5 * MS if number == 7 else 0
        connection.record([frames.trade(number, sent)], False, sent + MS, sent + MS, error_ns)
    found = of(resolve(parts), "trade").latency
    assert found is not None
    assert found.exact_ratio == pytest.approx(0.995)
    assert found.late_p99_sec == 0.0
    assert found.late_maximum_sec == pytest.approx(0.005)


def test_missing_ids_are_lost_and_those_that_come_after_all_are_not(
    parts: ProbeParts, recorder: Recorder, connection: ConnectionReceiver, run: Run, frames: Any
) -> None:
    recorder.begin_run(run)
    now = time.time_ns() // 1000 * 1000

    def receive(number: int) -> None:
        connection.record([frames.trade(number, now + number * 1000)], False, now + MS, now + MS)

    for number in (1, 2, 6, 7, 8):
        receive(number)
    recorder.expire(now, time.monotonic_ns() + 10 * NS_PER_SEC)
    assert (of(resolve(parts), "trade").lost, of(resolve(parts), "bookTicker").lost) == (3, None)
    receive(4)
    trade = of(resolve(parts), "trade")
    assert (trade.lost, trade.loss_ratio) == (2, 2 / 8)


def test_the_rate_is_that_since_the_connection_and_ends_with_the_measurement(
    parts: ProbeParts, recorder: Recorder, run: Run
) -> None:
    recorder.begin_run(run)
    just_connected = resolve(parts)
    assert just_connected.planned_sec == 70
    assert 0 <= just_connected.measured_sec < 9  # not the ten since the measurement began


def test_a_finished_run_is_shown_until_the_next_one_is_measured(
    parts: ProbeParts, recorder: Recorder, connection: ConnectionReceiver, run: Run, frames: Any
) -> None:
    assert resolve(parts).run is None
    recorder.begin_run(run)
    sent = run.measure_start_ns
    connection.record([frames.trade(1, sent)], False, sent + MS, sent + MS)
    later = type(run)(run.end_ns, run.end_ns + MS, run.end_ns + 2 * MS, run.end_ns + 3 * MS)
    recorder.begin_run(later)
    assert (resolve(parts).run, resolve(parts).messages) == (run.label, 1)
    recorder.begin_run(None)
    assert recorder.newest_measured(later.end_ns)[0] == later
    recorder.begin_run(type(run)(sent - 3 * MS, sent - 2 * MS, sent - MS, sent))
    assert resolve(parts).messages == 0


def test_phase_clocks_errors_and_reconnects(
    parts: ProbeParts, recorder: Recorder, instruments: Instruments
) -> None:
    empty = resolve(parts)
    assert (empty.clock, empty.exchange_clock, empty.last_error) == (None, None, None)
    assert (empty.phase, empty.connected, empty.was_connected) == (Phase.WAIT, True, True)
    instruments.clock_synchronized.labels("chrony").set(1)
    instruments.clock_error_bound.labels("chrony").set(0.0001)
    instruments.exchange_clock_offset.labels("spot").set(-0.002)
    instruments.exchange_clock_error_bound.labels("spot").set(0.0005)
    instruments.clock_steps.inc()
    instruments.reconnects.labels("spot", ReconnectReason.STALLED.value).inc(2)
    instruments.reconnects.labels("spot", ReconnectReason.SCHEDULE.value).inc(5)
    recorder.count_error(ErrorKind.CONNECT_FAILED, "dns: no such host")
    recorder.count_error(ErrorKind.TIME_ENDPOINT, "not about the feed")
    found = resolve(parts)
    assert found.clock is not None
    assert (found.clock.source, found.clock.error_bound_sec) == ("chrony", 0.0001)
    assert found.exchange_clock is not None
    assert found.exchange_clock.offset_sec == -0.002
    assert (found.clock_steps, found.reconnects) == (1, 2)
    assert found.last_error == "dns: no such host"


def test_a_clock_whose_bound_is_unknown_has_none(
    parts: ProbeParts, instruments: Instruments
) -> None:
    instruments.clock_synchronized.labels("auto").set(0)
    clock = resolve(parts).clock
    assert clock is not None
    assert (clock.synchronized, clock.error_bound_sec) == (False, None)
