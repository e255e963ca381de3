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
from latency_sweep.probe.feeds.base import Event
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
SYMBOLS = ["BTCUSDT", "ETHUSDT"]
KINDS = st.sampled_from(
    ["BTCUSDT"] * 12 + ["ETHUSDT"] * 6 + ["bookTicker", "garbage", "ack", "odd"]
)
MESSAGES = st.lists(st.tuples(KINDS, STEPS, OFFSETS_NS), max_size=40)


def feed() -> BinanceSpot:
    return BinanceSpot("ws://127.0.0.1:1", SYMBOLS, STREAMS)


def trade(number: int, event_us: int, symbol: str = "BTCUSDT") -> bytes:
    data = {"e": "trade", "E": event_us, "s": symbol, "t": number, "T": event_us - 5}
    frame = {"stream": f"{symbol.lower()}@trade", "data": data}
    return json.dumps(frame, separators=(",", ":")).encode()


def oddly_written(frame: bytes) -> bytes:
    """The same JSON as Binance would not write it: its beginning does not show the channel."""
    return frame.replace(b":", b" : ", 1)


def make_frames(messages: Sequence[tuple[str, int, int]]) -> list[bytes]:
    numbers = dict.fromkeys(SYMBOLS, 1000)
    frames = []
    for kind, step, offset_ns in messages:
        symbol = kind if kind in SYMBOLS else SYMBOLS[0]
        numbers[symbol] += step
        number = numbers[symbol]
        frame = trade(number, (NOW_NS + offset_ns) // 1000, symbol)
        frames.append(
            {
                **dict.fromkeys(SYMBOLS, frame),
                "odd": oddly_written(frame),
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


@given(
    st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=60),
    st.integers(-(10**6), 10**6),
    st.integers(1, 2),
)
def test_a_burst_of_trades_counts_as_its_messages_one_by_one(
    symbols: list[str], start_ns: int, lines: int
) -> None:
    messages = [(symbol, 1, start_ns + 1000 * at) for at, symbol in enumerate(symbols)]
    reads = [make_frames(messages)] * 2
    single = outcome(reads, one_by_one=True, lines=lines)
    assert outcome(reads, one_by_one=False, lines=lines) == single


def test_a_burst_is_decoded_channel_by_channel() -> None:
    kinds = ["BTCUSDT", "ETHUSDT", "BTCUSDT", "bookTicker"] * 4
    frames = make_frames([(kind, int(kind in SYMBOLS), 1000 * at) for at, kind in enumerate(kinds)])
    burst = feed().decode_burst(frames, binary=False)
    assert burst is not None
    decoded = [feed().decode(frame, binary=False) for frame in frames]
    positions = {run.channel: iter(range(20)) for run in burst.runs.values()}
    for group, event in zip(burst.groups, decoded, strict=True):
        assert isinstance(event, Event)
        run = burst.runs.get(group)
        assert (run is None) == (event.channel.stream == "bookTicker")
        if run is not None:
            assert run.at(next(positions[run.channel])) == event
    assert sum(run.payload_bytes for run in burst.runs.values()) == sum(
        len(frame) for frame, kind in zip(frames, kinds, strict=True) if kind != "bookTicker"
    )


@pytest.mark.parametrize("other", [("BTCUSDT", 2, 0), ("BTCUSDT", 0, 0)])
def test_ids_that_do_not_go_up_one_by_one_are_no_run(other: tuple[str, int, int]) -> None:
    frames = make_frames([("BTCUSDT", 1, 0), ("BTCUSDT", 1, 0), other, ("BTCUSDT", 1, 0)])
    assert feed().decode_burst(frames, binary=False) is None


@pytest.mark.parametrize("other", ["garbage", "odd", "ack"])
def test_where_a_channel_is_uncertain_all_is_left_to_one_by_one(other: str) -> None:
    frames = make_frames([("BTCUSDT", 1, 0)] * 8 + [(other, 1, 0)] + [("BTCUSDT", 1, 0)] * 8)
    assert feed().decode_burst(frames, binary=False) is None
    assert feed().decode_burst(frames[:8], binary=False) is not None


def test_a_channel_written_in_two_ways_is_left_to_one_by_one() -> None:
    spaced = [
        frame.replace(b',"data"', b', "data"', 1) for frame in make_frames([("BTCUSDT", 1, 0)] * 8)
    ]
    frames = [
        frame
        for pair in zip(make_frames([("BTCUSDT", 1, 0)] * 8), spaced, strict=True)
        for frame in pair
    ]
    assert feed().decode_burst(frames, binary=False) is None
