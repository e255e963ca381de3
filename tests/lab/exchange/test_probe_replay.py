"""Recorded futures, replayed to the probe: the gap rule finds the gaps that are there, no others.

The recordings are made here, in the shape of real ones: several streams of one connection, receive
timestamps of a clock that wanders, event times in milliseconds, a snapshot of the book among them.
"""

from __future__ import annotations

import asyncio
import gzip
import math
from typing import TYPE_CHECKING, Any, Final

import pytest

from latency_sweep.lab.exchange.config import ExchangeConfig
from latency_sweep.lab.exchange.markets.events import JsonEvent, TimeUnit
from latency_sweep.lab.exchange.sources.generated import GeneratedMarket
from tests.lab.exchange.probing import SYMBOL, Probed, probing

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.lab.exchange.clients import Running

    Run = Callable[..., AbstractAsyncContextManager[Running]]

SECOND: Final = 1_000_000_000
START: Final = 1_680_652_800 * SECOND
LENGTH_SEC: Final = 12
STREAMS: Final = ["trade", "bookTicker", "depth@0ms"]
SNAPSHOT: Final = b'{"lastUpdateId":1,"bids":[["1.0","2.0"]],"asks":[]}'
MARK_PRICE: Final = (
    b'{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":%d,"s":"BTCUSDT",'
    b'"p":"1.0","P":"1.0","i":"1.0","r":"0.0","T":%d}}'
)


def recorded_frames() -> list[tuple[int, str, bytes]]:
    """Receive time in µs, stream and frame of everything that a recorder would have written."""
    config = ExchangeConfig.model_validate(
        {
            "sites": {"anywhere": {}},
            "markets": {"usdm": {}},
            "symbols": {SYMBOL: {"trades_per_sec": 40, "book_updates_per_sec": 60}},
        }
    )
    frames = []
    for event in GeneratedMarket(config, START, "usdm").take_due(START + LENGTH_SEC * SECOND):
        stream = event.stream.partition("@")[2]
        if stream not in STREAMS:
            continue
        assert isinstance(event, JsonEvent)
        # The recorder's clock is up to 30 ms behind and up to 10 ms ahead.
        since_sec = (event.event_ns - START) / SECOND
        clock_ms = -10 + 20 * math.sin(since_sec)
        received_us = event.event_ns // 1_000 + round((3 + clock_ms) * 1_000)
        payload = event.payload(TimeUnit.MILLISECOND)
        name = event.stream.encode()
        frames.append((received_us, stream, b'{"stream":"%b","data":%b}' % (name, payload)))
    frames.sort(key=lambda frame: frame[0])
    return frames


def write(path: Path, frames: list[tuple[int, str, bytes]]) -> None:
    lines = [b"%d %b\n" % (received_us, frame) for received_us, _, frame in frames]
    first_us = frames[0][0]
    mark = MARK_PRICE % (first_us // 1_000, first_us // 1_000)
    lines[1:1] = [b"%d %b\n" % (first_us, text) for text in (SNAPSHOT, mark)]
    path.write_bytes(gzip.compress(b"".join(lines)))


async def replayed(run: Run, path: Path) -> Probed:
    """The probe after it has received all of a recording."""
    replay: dict[str, Any] = {"file": str(path), "speed": 10.0}
    async with (
        run(markets={"usdm": {}}, replay=replay) as exchange,
        probing(exchange, "usdm", streams=STREAMS) as probed,
    ):
        while not (await exchange.everything())["replay"]["finished"]:
            await asyncio.sleep(0.02)
        await probed.until_all_is_in()
    return probed


def without(
    frames: list[tuple[int, str, bytes]], stream: str, *numbers: int
) -> list[tuple[int, str, bytes]]:
    """The frames without some of one stream, counted from 0."""
    position = [index for index, frame in enumerate(frames) if frame[1] == stream]
    left_out = {position[number] for number in numbers}
    return [frame for index, frame in enumerate(frames) if index not in left_out]


@pytest.fixture(scope="module")
def frames() -> list[tuple[int, str, bytes]]:
    return recorded_frames()


async def test_a_whole_recording_has_no_gap(
    run: Run, tmp_path: Path, frames: list[tuple[int, str, bytes]]
) -> None:
    path = tmp_path / "frames.gz"
    write(path, frames)
    probed = await replayed(run, path)
    for stream in STREAMS:
        state = probed.state(stream)
        assert state.messages == sum(frame[1] == stream for frame in frames)
        if state.sequence is not None:
            assert (state.sequence.gaps, state.sequence.lost) == (0, 0)
            assert (state.sequence.duplicates, state.sequence.out_of_order) == (0, 0)


async def test_frames_that_a_recording_lacks_are_its_only_gaps(
    run: Run, tmp_path: Path, frames: list[tuple[int, str, bytes]]
) -> None:
    path = tmp_path / "frames.gz"
    lacking = without(without(frames, "depth@0ms", 20, 50, 51), "trade", 30, 31, 60)
    write(path, lacking)
    probed = await replayed(run, path)
    depth, trade = probed.state("depth@0ms").sequence, probed.state("trade").sequence
    assert depth is not None
    assert trade is not None
    assert (depth.gaps, depth.lost) == (2, 2)
    assert (trade.gaps, trade.lost) == (2, 3)


async def test_a_recorder_s_clock_ahead_of_the_exchange_s_shows_as_negative_latency(
    run: Run,
    tmp_path: Path,
    frames: list[tuple[int, str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However long a busy machine stands still, the rest is put off: nothing is late for that.
    monkeypatch.setattr("latency_sweep.lab.exchange.exchange.MAX_PAUSES_NS", 60 * SECOND)
    path = tmp_path / "frames.gz"
    write(path, frames)
    probed = await replayed(run, path)
    negative = sum(state.negative for state in probed.recorder.states)
    total = sum(state.messages for state in probed.recorder.states)
    assert 0.2 * total < negative < 0.9 * total
