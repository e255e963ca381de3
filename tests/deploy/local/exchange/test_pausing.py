"""A market that nobody attends to waits."""

from __future__ import annotations

from deploy.local.exchange.config import ExchangeConfig
from deploy.local.exchange.events import Event, TimeUnit
from deploy.local.exchange.market import Market
from deploy.local.exchange.pausing import TOLERANCE_NS, PausingSource

MS = 1_000_000
START = 1_795_000_000_000 * MS
CONFIG = ExchangeConfig.model_validate({"places": {"tokyo": {}}, "symbols": {"BTCUSDT": {}}})


def attended(source: PausingSource, until_ns: int, stall_at_ns: int = 0) -> list[Event]:
    """Ask whenever an event is due; once, from `stall_at_ns` on, 250 ms too late."""
    events: list[Event] = []
    while (due_ns := source.next_ns()) is not None and due_ns <= until_ns:
        stalled = stall_at_ns and due_ns >= stall_at_ns
        now_ns = due_ns + (250 * MS if stalled else 0)
        stall_at_ns = 0 if stalled else stall_at_ns
        taken = source.take_due(now_ns)
        assert all(now_ns - event.event_ns <= TOLERANCE_NS for event in taken)
        events += taken
    return events


def frame(event: Event) -> bytes:
    return event.frame(TimeUnit.MICROSECOND, combined=False)


def test_an_attended_market_is_not_changed() -> None:
    source = PausingSource(Market(CONFIG, START))
    expected = Market(CONFIG, START).take_due(START + 2000 * MS)
    taken = attended(source, START + 2000 * MS)
    assert [frame(event) for event in taken] == [frame(event) for event in expected]


def test_a_stall_postpones_the_market_and_makes_no_event_late() -> None:
    plain = attended(PausingSource(Market(CONFIG, START)), START + 2000 * MS)
    source = PausingSource(Market(CONFIG, START))
    paused = attended(source, START + 2250 * MS, stall_at_ns=START + 1000 * MS)
    assert source.paused_ns == 250 * MS
    assert [event.last_id for event in paused] == [event.last_id for event in plain]
    delays = [late.event_ns - event.event_ns for event, late in zip(plain, paused, strict=True)]
    assert set(delays) == {0, 250 * MS}


def test_the_exchange_delay_of_a_postponed_trade_stays() -> None:
    source = PausingSource(Market(CONFIG, START))
    plain = attended(PausingSource(Market(CONFIG, START)), START + 2000 * MS)
    paused = attended(source, START + 2250 * MS, stall_at_ns=START + 500 * MS)
    for event, late in zip(plain, paused, strict=True):
        if event.trade_ns:
            assert late.event_ns - late.trade_ns == event.event_ns - event.trade_ns
