"""The ground truth's file: written, read back, and refused if it is something else."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from latency_sweep.lab.exchange.config import MARKET_NAMES
from latency_sweep.lab.exchange.ground_truth.reader import GroundTruthError, read_ground_truth
from latency_sweep.lab.exchange.ground_truth.writer import RECORD, GroundTruthWriter, MessageOutcome
from latency_sweep.lab.exchange.markets.events import JsonEvent

if TYPE_CHECKING:
    from pathlib import Path


def event(stream: str, number: int) -> JsonEvent:
    return JsonEvent(
        stream, ids=(number, number + 1), event_ns=1_000 * number, trade_ns=7, text=(b"",)
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokyo.truth"


def test_markets_with_equal_stream_names_are_kept_apart(path: Path) -> None:
    writer = GroundTruthWriter(path, clock_offset_ns=0)
    for market in MARKET_NAMES:
        writer.record(market, 1, event("btcusdt@trade", 10), 999, MessageOutcome.SENT)
    writer.close()
    table = read_ground_truth(path)
    assert table["market"].tolist() == list(MARKET_NAMES)
    assert set(table["stream"]) == {"btcusdt@trade"}


def test_what_is_recorded_is_read_back(path: Path) -> None:
    writer = GroundTruthWriter(path, clock_offset_ns=-5)
    writer.record("spot", 1, event("btcusdt@trade", 10), 999, MessageOutcome.SENT)
    writer.record("spot", 2, event("btcusdt@depth@100ms", 20), 0, MessageOutcome.DROPPED)
    writer.record("spot", 2, event("btcusdt@trade", 11), 1_000, MessageOutcome.DUPLICATE)
    writer.record("spot", 2, event("!miniTicker@arr", 0), 0, MessageOutcome.UNSENT)
    writer.close()
    table = read_ground_truth(path)
    assert table.to_dict("list") == {
        "connection": [1, 2, 2, 2],
        "market": ["spot"] * 4,
        "stream": ["btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@trade", "!miniTicker@arr"],
        "symbol": ["BTCUSDT", "BTCUSDT", "BTCUSDT", ""],
        "first_id": [10, 20, 11, 0],
        "last_id": [11, 21, 12, 1],
        "event_ns": [10_000, 20_000, 11_000, 0],
        "trade_ns": [7, 7, 7, 7],
        "send_ns": [999, 0, 1_000, 0],
        "outcome": ["sent", "dropped", "duplicate", "unsent"],
    }
    assert table.attrs["clock_offset_ns"] == -5


def test_a_file_without_messages_is_an_empty_table(path: Path) -> None:
    GroundTruthWriter(path, 0).close()
    assert read_ground_truth(path).empty


def test_a_record_that_is_not_whole_yet_is_left_out(path: Path) -> None:
    writer = GroundTruthWriter(path, 0)
    for number in range(3):
        writer.record("spot", 1, event("btcusdt@trade", number), 1, MessageOutcome.SENT)
    writer.close()
    path.write_bytes(path.read_bytes()[:-1])
    assert read_ground_truth(path)["first_id"].tolist() == [0, 1]


def test_only_flushed_records_are_in_the_file(path: Path) -> None:
    writer = GroundTruthWriter(path, 0)
    writer.record("spot", 1, event("btcusdt@trade", 1), 1, MessageOutcome.SENT)
    writer.flush()
    writer.record("spot", 1, event("btcusdt@trade", 2), 1, MessageOutcome.SENT)
    assert len(read_ground_truth(path)) == 1
    writer.close()
    assert len(read_ground_truth(path)) == 2


def test_a_long_run_is_written_as_it_goes(path: Path) -> None:
    writer = GroundTruthWriter(path, 0)
    for number in range(25_000):
        writer.record("spot", 1, event("btcusdt@trade", number), 1, MessageOutcome.SENT)
    assert len(read_ground_truth(path)) > 20_000
    writer.close()


def test_what_a_full_disk_does_not_take_is_told_and_not_forgotten(path: Path) -> None:
    writer = GroundTruthWriter(path, 0)
    for number in range(10):
        writer.record("spot", 1, event("btcusdt@trade", number), 1, MessageOutcome.SENT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk, there is room for a part: here for half of the third record.
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * RECORD.itemsize + 24, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    writer.close()
    assert read_ground_truth(path)["first_id"].tolist() == list(range(10))


@pytest.mark.parametrize("content", [b"", b"something else" * 10])
def test_another_file_is_refused_by_name(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(GroundTruthError, match=r"tokyo\.truth: not a ground truth file"):
        read_ground_truth(path)
