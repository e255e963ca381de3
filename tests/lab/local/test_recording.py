from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.contract import experiment
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.lab.exchange.sources.replay import MAX_PAUSES_NS, ReplayError
from latency_sweep.lab.local.plan import EXPERIMENT
from latency_sweep.lab.local.recording import (
    RecordedChannel,
    RecordingError,
    RecordingSummary,
    first_run,
    inspect,
)

if TYPE_CHECKING:
    from pathlib import Path

START_US = 1_700_000_000_000_000
NOW_NS = 1_795_000_000 * NS_PER_SEC


def frame(stream: str, received_us: int, event: int | None) -> str:
    time = "" if event is None else f'"E":{event},'
    return f'{received_us} {{"stream":"{stream}","data":{{{time}"s":"BTCUSDT","u":1}}}}\n'


def write(file: Path, *frames: tuple[str, int, int | None]) -> Path:
    """Frames as (stream, microseconds after the start, latency in milliseconds or None)."""
    lines = [
        frame(
            stream,
            START_US + after_us,
            None if latency_ms is None else (START_US + after_us) // 1000 - latency_ms,
        )
        for stream, after_us, latency_ms in frames
    ]
    with gzip.open(file, "wt") as output:
        output.writelines(lines)
    return file


def recording(**changes: object) -> RecordingSummary:
    fields: dict[str, object] = {
        "file": "capture",
        "speed": 1.0,
        "frames": 2,
        "channels": (RecordedChannel("trade", "BTCUSDT"),),
        "earliest_ns": 0,
        "latest_ns": NS_PER_SEC,
        "duration_ns": NS_PER_SEC,
    }
    return RecordingSummary(**(fields | changes))  # type: ignore[arg-type] # fields of mixed types


def test_channels_are_those_of_the_frames(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.gz",
        ("btcusdt@trade", 0, 3),
        ("ethusdt@depth@100ms", 10, 3),
        ("btcusdt@trade", 20, 3),
        ("!miniTicker@arr", 30, 3),
        ("!bookTicker", 40, None),
    )
    found = inspect(file, speed=1.0)
    assert found.frames == 5
    assert found.channels == (
        ("trade", "BTCUSDT"),
        ("depth@100ms", "ETHUSDT"),
        ("!miniTicker@arr", ""),
        ("!bookTicker", ""),
    )


def test_event_times_reach_from_the_latest_frame_to_the_most_premature_one(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.gz",
        ("btcusdt@trade", 0, 40),
        ("btcusdt@trade", 1_000_000, -25),
        ("btcusdt@trade", 1_010_000, 5),
    )
    found = inspect(file, speed=1.0)
    assert (found.earliest_ns, found.latest_ns) == (-40_000_000, 1_025_000_000)


def test_speed_shortens_the_replay_and_not_the_latency(tmp_path: Path) -> None:
    file = write(tmp_path / "c.gz", ("btcusdt@trade", 0, 40), ("btcusdt@trade", 10_000_000, 40))
    found = inspect(file, speed=10.0)
    assert found.duration_ns == NS_PER_SEC
    assert (found.earliest_ns, found.latest_ns) == (-40_000_000, NS_PER_SEC - 40_000_000)


def test_the_recording_s_own_p99_is_known(tmp_path: Path) -> None:
    frames = [("btcusdt@trade", number * 1_000, 4) for number in range(99)]
    file = write(tmp_path / "c.gz", *frames, ("btcusdt@trade", 100_000, 40))
    assert inspect(file, speed=1.0).p99_sec == pytest.approx(0.004, rel=0.1)


def test_a_file_that_is_no_recording_is_told_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "capture"
    file.write_text("hello\n")
    with pytest.raises(ReplayError, match="capture, line 1: expected a receive time"):
        inspect(file, speed=1.0)


def test_a_damaged_archive_is_told_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "capture.gz"
    header = gzip.compress(b"")[:10]
    file.write_bytes(header + b"\xff" * 100)
    with pytest.raises(ReplayError, match=r"capture\.gz: cannot be read: Error -3 .*\.$"):
        inspect(file, speed=1.0)


def test_a_file_that_is_not_there_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"none: cannot be read: No such file or directory\.$"):
        inspect(tmp_path / "none", speed=1.0)


def test_only_what_was_recorded_is_asked_for() -> None:
    adapted = recording(
        channels=(RecordedChannel("depth@100ms", "ETHUSDT"), RecordedChannel("kline_1m", "ETHUSDT"))
    ).adapted(experiment.load(EXPERIMENT), NOW_NS)
    assert adapted.market_data.streams == ["depth@100ms"]
    assert adapted.market_data.symbols == ["ETHUSDT"]


def test_symbols_of_streams_that_are_not_measured_are_not_asked_for(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.gz",
        ("!miniTicker@arr", 0, 3),
        ("no-symbol@kline_1m", 10, 3),
        ("btcusdt@trade", 20, 3),
    )
    adapted = inspect(file, speed=1.0).adapted(experiment.load(EXPERIMENT), NOW_NS)
    assert adapted.market_data.symbols == ["BTCUSDT"]


def test_a_recording_of_other_streams_is_refused() -> None:
    other = recording(
        channels=(RecordedChannel("kline_1m", "BTCUSDT"), RecordedChannel("!bookTicker", ""))
    )
    with pytest.raises(
        RecordingError, match=r"none of the streams .* was recorded, but kline_1m, !bookTicker\.$"
    ):
        other.adapted(experiment.load(EXPERIMENT), NOW_NS)


def test_a_recording_of_an_impossible_symbol_is_refused() -> None:
    impossible = recording(channels=(RecordedChannel("trade", "BTC/USDT"),))
    with pytest.raises(
        RecordingError,
        match=r"^capture: cannot be measured: market_data\.symbols\.0: .*'BTC/USDT'\.$",
    ):
        impossible.adapted(experiment.load(EXPERIMENT), NOW_NS)


@given(
    earliest_ms=st.integers(-5_000, 5_000),
    length_ms=st.integers(0, 600_000),
    late_ms=st.integers(-5_000, 5_000),
    now_sec=st.integers(1_700_000_000, 1_900_000_000),
)
def test_one_run_measures_all_event_times_and_lasts_until_the_last_frame(
    earliest_ms: int, length_ms: int, late_ms: int, now_sec: int
) -> None:
    earliest, latest = earliest_ms * 1_000_000, (earliest_ms + length_ms) * 1_000_000
    made = recording(
        earliest_ns=earliest, latest_ns=latest, duration_ns=max(0, latest + late_ms * 1_000_000)
    )
    now_ns = now_sec * NS_PER_SEC
    timeline = Timeline.of(made.adapted(experiment.load(EXPERIMENT), now_ns).timing)
    run = first_run(timeline, now_ns)
    start_ns = made.start_ns(run)
    assert now_ns <= run.start_ns
    assert run.measure_start_ns <= start_ns + earliest
    assert start_ns + latest + MAX_PAUSES_NS < run.measure_end_ns
    assert start_ns + made.duration_ns + MAX_PAUSES_NS < run.end_ns


@given(length_ms=st.integers(0, 600_000), now_sec=st.integers(1_700_000_000, 1_900_000_000))
def test_the_run_ends_no_later_than_with_the_cool_down_of_the_experiment(
    length_ms: int, now_sec: int
) -> None:
    length_ns, shipped = length_ms * 1_000_000, experiment.load(EXPERIMENT)
    made = recording(latest_ns=length_ns, duration_ns=length_ns)
    now_ns = now_sec * NS_PER_SEC
    timing = made.adapted(shipped, now_ns).timing
    as_shipped = timing.model_copy(update={"cooldown_sec": shipped.timing.cooldown_sec})
    ends_ns = [first_run(Timeline.of(each), now_ns).end_ns for each in (timing, as_shipped)]
    assert ends_ns[0] <= ends_ns[1]


def test_a_longer_cool_down_spares_most_of_the_wait() -> None:
    length_ns, shipped = 300 * NS_PER_SEC, experiment.load(EXPERIMENT)
    made = recording(latest_ns=length_ns, duration_ns=length_ns)
    timing = made.adapted(shipped, NOW_NS).timing
    as_shipped = timing.model_copy(update={"cooldown_sec": shipped.timing.cooldown_sec})
    waits_sec = [
        (first_run(Timeline.of(each), NOW_NS).start_ns - NOW_NS) / NS_PER_SEC
        for each in (timing, as_shipped)
    ]
    assert waits_sec[0] < waits_sec[1] / 2


def test_a_run_that_has_begun_is_not_the_first_one() -> None:
    timeline = Timeline(NS_PER_SEC, NS_PER_SEC, NS_PER_SEC)
    assert first_run(timeline, 3 * NS_PER_SEC).start_ns == 3 * NS_PER_SEC
    assert first_run(timeline, 3 * NS_PER_SEC + 1).start_ns == 6 * NS_PER_SEC
