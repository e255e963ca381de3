"""A market that nobody attends to waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.lab.exchange.config import ExchangeConfig, Replay
from latency_sweep.lab.exchange.markets.events import MarketEvent, TimeUnit
from latency_sweep.lab.exchange.sources.generated import GeneratedMarket
from latency_sweep.lab.exchange.sources.pausing import TOLERANCE_NS, PausingSource
from latency_sweep.lab.exchange.sources.replay import ReplaySource

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000
START = 1_795_000_000_000 * MS
CONFIG = ExchangeConfig.model_validate({"sites": {"tokyo": {}}, "symbols": {"BTCUSDT": {}}})


def attended(source: PausingSource, until_ns: int, stall_at_ns: int = 0) -> list[MarketEvent]:
    """Ask whenever an event is due; once, from `stall_at_ns` on, 250 ms too late."""
    events: list[MarketEvent] = []
    while (due_ns := source.next_ns()) is not None and due_ns <= until_ns:
        stalled = stall_at_ns and due_ns >= stall_at_ns
        now_ns = due_ns + (250 * MS if stalled else 0)
        stall_at_ns = 0 if stalled else stall_at_ns
        taken = source.take_due(now_ns)
        assert all(now_ns - event.event_ns <= TOLERANCE_NS for event in taken)
        events += taken
    return events


def frame(event: MarketEvent) -> bytes:
    return event.frame(TimeUnit.MICROSECOND, combined=False)


def test_an_attended_market_is_not_changed() -> None:
    source = PausingSource(GeneratedMarket(CONFIG, START))
    expected = GeneratedMarket(CONFIG, START).take_due(START + 2000 * MS)
    taken = attended(source, START + 2000 * MS)
    assert [frame(event) for event in taken] == [frame(event) for event in expected]


def test_a_stall_postpones_the_market_and_makes_no_event_late() -> None:
    plain = attended(PausingSource(GeneratedMarket(CONFIG, START)), START + 2000 * MS)
    source = PausingSource(GeneratedMarket(CONFIG, START))
    paused = attended(source, START + 2250 * MS, stall_at_ns=START + 1000 * MS)
    assert source.paused_ns == 250 * MS
    assert [event.last_id for event in paused] == [event.last_id for event in plain]
    delays = [late.event_ns - event.event_ns for event, late in zip(plain, paused, strict=True)]
    assert set(delays) == {0, 250 * MS}


def test_the_exchange_delay_of_a_postponed_trade_stays() -> None:
    source = PausingSource(GeneratedMarket(CONFIG, START))
    plain = attended(PausingSource(GeneratedMarket(CONFIG, START)), START + 2000 * MS)
    paused = attended(source, START + 2250 * MS, stall_at_ns=START + 500 * MS)
    for event, late in zip(plain, paused, strict=True):
        if event.trade_ns:
            assert late.event_ns - late.trade_ns == event.event_ns - event.trade_ns


RECEIVED_US = 1_680_652_800_004_107
LATENCIES_US = [4_107, -893, 12_107, -1_893, 107]


@pytest.fixture
def recorded(tmp_path: Path) -> ReplaySource:
    """Five trades, 5 ms apart."""
    file = tmp_path / "frames"
    with file.open("w") as lines:
        for number, latency_us in enumerate(LATENCIES_US):
            received_us = RECEIVED_US + number * 5_000
            event_ms = (received_us - latency_us) // 1_000
            data = f'{{"e":"trade","E":{event_ms},"t":{number}}}'
            lines.write(f'{received_us} {{"stream":"btcusdt@trade","data":{data}}}\n')
    replay = ReplaySource(Replay(file=file), offset_ns=0, may_start=lambda: True, now_ns=START)
    replay.audience_changed(START)
    return replay


def latencies_us(events: list[MarketEvent]) -> list[int]:
    return [(event.depart_ns - event.event_ns) // 1_000 for event in events]


def test_a_recording_waits_for_whole_milliseconds_and_keeps_its_latencies(
    recorded: ReplaySource,
) -> None:
    source = PausingSource(recorded, step_ns=MS, at_most_ns=1_000 * MS)
    taken: list[MarketEvent] = []
    while (due_ns := source.next_ns()) is not None:
        now_ns = due_ns + (7_300_000 if len(taken) == 1 and not source.paused_ns else 0)
        events = source.take_due(now_ns)
        assert all(event.depart_ns == now_ns for event in events)
        taken += events
    assert source.paused_ns == 8 * MS
    assert latencies_us(taken) == LATENCIES_US
    assert taken[-1].depart_ns - taken[0].depart_ns == (20 + 8) * MS


def test_what_is_late_beyond_the_longest_pause_is_sent_late(recorded: ReplaySource) -> None:
    source = PausingSource(recorded, step_ns=MS, at_most_ns=10 * MS)
    due_ns = source.next_ns()
    assert due_ns is not None
    assert len(source.take_due(due_ns + 11 * MS)) == 3
    assert source.paused_ns == 0
