"""Messages that come in one read add up to what they would one by one."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from latency_sweep.contract import experiment
from latency_sweep.contract.timeline import NS_PER_SEC, Run
from latency_sweep.probe.feeds.binance_spot import BinanceSpot
from latency_sweep.probe.measurement.instruments import PER_RUN, Instruments
from latency_sweep.probe.measurement.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Sequence

STREAMS = ["trade", "aggTrade", "depth@100ms", "bookTicker"]
NOW_NS = time.time_ns() // 1000 * 1000
RUN = Run(
    start_ns=NOW_NS - 2 * NS_PER_SEC,
    measure_start_ns=NOW_NS,
    measure_end_ns=NOW_NS + NS_PER_SEC,
    end_ns=NOW_NS + 2 * NS_PER_SEC,
)
# Ids that mostly go up one by one, event times around both ends of the measurement.
STEPS = st.sampled_from([1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2, -1])
OFFSETS_NS = st.one_of(
    st.integers(0, 10**6), st.sampled_from([-(10**6), NS_PER_SEC, 0, NS_PER_SEC - 1000, 10**18])
)
KINDS = st.sampled_from(["trade"] * 12 + ["bookTicker", "garbage", "ack"])
MESSAGES = st.lists(st.tuples(KINDS, STEPS, OFFSETS_NS), max_size=40)


def feed() -> BinanceSpot:
    return BinanceSpot("ws://127.0.0.1:1", ["BTCUSDT"], STREAMS)


def trade(number: int, event_us: int) -> bytes:
    data = {"e": "trade", "E": event_us, "s": "BTCUSDT", "t": number, "T": event_us - 5}
    return json.dumps({"stream": "btcusdt@trade", "data": data}, separators=(",", ":")).encode()


def make_frames(messages: Sequence[tuple[str, int, int]]) -> list[bytes]:
    number = 1000
    frames = []
    for kind, step, offset_ns in messages:
        number += step
        frames.append(
            {
                "trade": trade(number, (NOW_NS + offset_ns) // 1000),
                "bookTicker": b'{"stream":"btcusdt@bookTicker","data":{"u":%d}}' % number,
                "garbage": b"garbage",
                "ack": b'{"result":null,"id":1}',
            }[kind]
        )
    return frames


def outcome(reads: Sequence[Sequence[bytes]], *, one_by_one: bool, lines: int) -> dict[str, Any]:
    """Everything that a recorder says after the reads of two connections, in turns."""
    source = feed()
    registry = CollectorRegistry()
    instruments = Instruments(registry, experiment.load().histogram, "spot")
    recorder = Recorder("spot", source.channels, instruments, lines=lines)
    recorder.begin_run(RUN)
    receivers = [recorder.receiver(source, line, lambda: None) for line in recorder.lines]
    for number, read in enumerate(reads):
        timestamp_ns = NOW_NS + number * 10**6
        receiver = receivers[number % lines]
        for batch in [[frame] for frame in read] if one_by_one else [read]:
            receiver.record(batch, False, timestamp_ns, timestamp_ns + 5000, number % 3 * 1000)
    recorder.expire(NOW_NS + 10 * NS_PER_SEC, time.monotonic_ns() + 10 * NS_PER_SEC)
    histograms = {}
    for metric in PER_RUN:
        for series in instruments.per_run[metric.name].collect()[0].series:
            snapshot = series.snapshot
            key = metric.name, tuple(series.labels.items())
            histograms[key] = (
                snapshot.count,
                snapshot.sum,
                snapshot.positive,
                snapshot.negative,
                snapshot.zero_count,
                snapshot.classic_counts,
            )
    return {
        "histograms": histograms,
        "samples": recorder.newest_samples(),
        "lines": [
            (li.first_arrivals, li.redundant, li.shared_timestamps, li.without_timestamp)
            for li in recorder.lines
        ],
        "errors": [
            registry.get_sample_value("feed_errors_total", {"market": "spot", "kind": kind})
            for kind in ("bad_json", "bad_field", "internal")
        ],
        "states": [
            (
                state.messages,
                state.payload_bytes,
                state.negative,
                state.last_timestamp_ns,
                state.previous_latency_ns,
                state.sequence
                and (
                    state.sequence.gaps,
                    state.sequence.lost,
                    state.sequence.duplicates,
                    state.sequence.out_of_order,
                ),
            )
            for state in recorder.states
        ],
    }


@given(st.lists(MESSAGES, max_size=4), st.integers(1, 2))
def test_any_batch_counts_as_its_messages_one_by_one(
    reads: list[list[tuple[str, int, int]]], lines: int
) -> None:
    framed = [make_frames(read) for read in reads]
    single = outcome(framed, one_by_one=True, lines=lines)
    assert outcome(framed, one_by_one=False, lines=lines) == single


@given(st.integers(1, 60), st.integers(-(10**6), 10**6))
def test_a_burst_of_trades_counts_as_its_messages_one_by_one(count: int, start_ns: int) -> None:
    reads = [make_frames([("trade", 1, start_ns + 1000 * at) for at in range(count)])] * 2
    single = outcome(reads, one_by_one=True, lines=1)
    assert outcome(reads, one_by_one=False, lines=1) == single


def test_a_burst_of_trades_is_decoded_as_a_run() -> None:
    frames = make_frames([("trade", 1, 1000 * at) for at in range(10)])
    run = feed().decode_run(frames, binary=False)
    assert run is not None
    assert [run.at(at) for at in range(10)] == [feed().decode(f, binary=False) for f in frames]


@pytest.mark.parametrize("other", [("trade", 2, 0), ("bookTicker", 1, 0), ("garbage", 1, 0)])
def test_what_is_no_run_is_left_to_one_by_one(other: tuple[str, int, int]) -> None:
    frames = make_frames([("trade", 1, 0), ("trade", 1, 0), other, ("trade", 1, 0)])
    assert feed().decode_run(frames, binary=False) is None
