"""The generated market: rates, ids, and times, without any connection."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import groupby, pairwise
from typing import Any

import pytest

from latency_sweep.lab.exchange.config import ExchangeConfig
from latency_sweep.lab.exchange.markets.events import JsonEvent, MarketEvent, TimeUnit
from latency_sweep.lab.exchange.sources.generated import GeneratedMarket

SECOND = 1_000_000_000
START = 1_795_000_000 * SECOND


def config(**symbol: Any) -> ExchangeConfig:
    return ExchangeConfig.model_validate(
        {"sites": {"tokyo": {}}, "symbols": {"BTCUSDT": symbol, "ETHUSDT": symbol}}
    )


def take(market: GeneratedMarket, seconds: float) -> list[MarketEvent]:
    return market.take_due(START + round(seconds * SECOND))


def payload(event: MarketEvent) -> dict[str, Any]:
    assert isinstance(event, JsonEvent)
    document: dict[str, Any] = json.loads(event.payload(TimeUnit.MICROSECOND))
    return document


def test_trades_come_at_the_configured_rate_bursts_included() -> None:
    bursts = {"probability": 0.05, "orders": 20, "gap_ms": 0.5}
    market = GeneratedMarket(config(trades_per_sec=200, mean_fills=2, bursts=bursts), START)
    trades = Counter(event.stream for event in take(market, 200) if event.kind == "trade")
    assert trades["btcusdt@trade"] / 200 == pytest.approx(200, rel=0.1)
    assert trades["ethusdt@trade"] / 200 == pytest.approx(200, rel=0.1)


def test_book_tickers_come_with_trades_and_between_them() -> None:
    symbol = {"trades_per_sec": 10, "mean_fills": 1, "bursts": {"probability": 0}}
    market = GeneratedMarket(config(**symbol, book_updates_per_sec=30), START)
    tickers = [event for event in take(market, 100) if event.stream == "btcusdt@bookTicker"]
    assert len(tickers) / 100 == pytest.approx(40, rel=0.1)


def test_the_market_depends_on_the_seed_alone_not_on_when_it_is_asked() -> None:
    all_at_once = take(GeneratedMarket(config(), START), 5)
    market = GeneratedMarket(config(), START)
    bit_by_bit = [event for step in range(1, 501) for event in take(market, step / 100)]
    assert [payload(event) for event in all_at_once] == [payload(event) for event in bit_by_bit]


def test_events_come_in_order_of_time_and_none_too_early() -> None:
    market = GeneratedMarket(config(), START)
    events = take(market, 5)
    assert all(a.event_ns <= b.event_ns for a, b in pairwise(events))
    next_ns = market.next_ns()
    assert next_ns is not None
    assert events[-1].event_ns <= START + 5 * SECOND < next_ns


def test_times_are_whole_microseconds() -> None:
    events = take(GeneratedMarket(config(), START), 5)
    assert all(event.event_ns % 1_000 == event.trade_ns % 1_000 == 0 for event in events)


def test_fills_of_one_order_share_both_times() -> None:
    events = take(GeneratedMarket(config(mean_fills=4), START), 20)
    trades = [event for event in events if event.stream == "btcusdt@trade"]
    sizes = [
        len({event.trade_ns for event in group})
        for _, group in groupby(trades, key=lambda event: event.event_ns)
    ]
    assert len(sizes) < len(trades) / 2
    assert sizes.count(1) > 0.9 * len(sizes)


def test_an_aggregate_sums_the_fills_it_names() -> None:
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in take(GeneratedMarket(config(mean_fills=4), START), 20):
        if event.stream.startswith("btcusdt"):
            by_kind[event.kind].append(payload(event))
    fills = {trade["t"]: trade for trade in by_kind["trade"]}
    for aggregate in by_kind["aggTrade"]:
        parts = [fills[number] for number in range(aggregate["f"], aggregate["l"] + 1)]
        assert {part["p"] for part in parts} == {aggregate["p"]}
        assert sum(float(part["q"]) for part in parts) == pytest.approx(float(aggregate["q"]))


def test_a_book_ticker_lies_in_the_depth_update_that_follows() -> None:
    events = [e for e in take(GeneratedMarket(config(), START), 20) if e.stream.startswith("btc")]
    depths = [event for event in events if event.stream == "btcusdt@depth@100ms"]
    for ticker in (event for event in events[:-200] if event.kind == "bookTicker"):
        holder = next(d for d in depths if d.first_id <= ticker.last_id <= d.last_id)
        assert 0 <= holder.event_ns - ticker.event_ns <= SECOND // 10


def test_both_depth_streams_cover_the_same_ids_at_their_own_pace() -> None:
    depths = defaultdict(list)
    for event in take(GeneratedMarket(config(book_updates_per_sec=100), START), 20):
        if event.kind == "depth":
            depths[event.stream].append(event)
    # A timer that rings before the first change has nothing to tell.
    assert len(depths["btcusdt@depth"]) in {19, 20}
    assert len(depths["btcusdt@depth@100ms"]) in {199, 200}
    assert depths["btcusdt@depth"][0].first_id == depths["btcusdt@depth@100ms"][0].first_id


def test_a_quiet_book_sends_no_depth_update() -> None:
    market = GeneratedMarket(config(trades_per_sec=0.01, book_updates_per_sec=0), START)
    events = take(market, 20)
    assert sum(event.kind == "depth" for event in events) <= 2 * len(events) / 3


def test_prices_stay_positive_however_cheap_the_symbol() -> None:
    events = take(GeneratedMarket(config(price=0.02, mean_fills=8), START), 50)
    prices = [float(payload(event)["p"]) for event in events if event.kind == "trade"]
    assert min(prices) > 0


def test_what_is_never_sent_uses_up_its_id_and_changes_nothing_else() -> None:
    whole = take(GeneratedMarket(config(), START), 60)
    market = GeneratedMarket(config(never_sent={"trade": 0.1}), START)
    sent = take(market, 60)
    identities = [(event.stream, event.last_id) for event in sent]
    known = set(identities)
    omitted = [event for event in whole if (event.stream, event.last_id) not in known]
    assert {event.kind for event in omitted} == {"trade"}
    trades = sum(event.kind == "trade" for event in whole)
    assert len(omitted) / trades == pytest.approx(0.1, abs=0.03)
    assert identities == [
        (event.stream, event.last_id) for event in whole if (event.stream, event.last_id) in known
    ]
