"""How the probe's connections to each market end and are replaced, and that nothing is missed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.contract.metrics import ErrorKind, ReconnectReason
from latency_sweep.probe.connection import supervisor
from latency_sweep.probe.feeds.binance_json import BinanceJson
from latency_sweep.runtime.logs import TextFormatter
from tests.lab.exchange.probing import MARKETS, STREAMS, SYMBOL, Probed, probing, probing_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from latency_sweep.contract.markets import MarketName
    from latency_sweep.probe.feeds.base import Feed
    from tests.lab.exchange.clients import Running

    Run = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_TICK_SEC", 0.01)


def connections(probed: Probed) -> int:
    """Futures streams are spread over two routes, each with a connection."""
    return len(probed.feeds)


def swap_routes(feeds: Sequence[Feed]) -> None:
    """Ask each route for the streams of the other."""
    public, market = feeds
    urls = public.url.replace("/public/", "/market/"), market.url.replace("/market/", "/public/")
    for feed, url in zip(feeds, urls, strict=True):
        assert isinstance(feed, BinanceJson)
        feed.url = url


def assert_nothing_was_missed(probed: Probed) -> None:
    """Every id from the first to the last one was received, and counted once."""
    actual = probed.exchange.ground_truth()
    for state in probed.recorder.states:
        if state.sequence is None:
            continue
        name = f"{SYMBOL.lower()}@{state.channel.stream}"
        rows = actual[(actual["market"] == probed.market) & (actual["stream"] == name)]
        sent = rows[rows["outcome"] == "sent"]
        assert state.messages == sent["last_id"].nunique(), state.channel
        check = state.sequence
        assert (check.gaps, check.lost, check.duplicates, check.out_of_order) == (0, 0, 0, 0)


async def test_streams_on_the_wrong_route_are_reported_as_silent(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_MESSAGE_TIMEOUT_SEC", 0.1)
    async with (
        run(markets=MARKETS) as exchange,
        probing(exchange, "usdm", change=swap_routes) as probed,
    ):
        await probed.until(
            lambda: probed.errors(ErrorKind.NO_FIRST_MESSAGE) == len(STREAMS["usdm"])
        )
        assert probed.session.connectivity.connected
        assert sum(state.messages for state in probed.recorder.states) == 0


async def test_a_silent_stream_is_told_from_those_that_speak(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody trades: quotes and books go on, and the trade streams alone are reported."""
    monkeypatch.setattr(supervisor, "FIRST_MESSAGE_TIMEOUT_SEC", 3.0)
    quiet = {SYMBOL: {"trades_per_sec": 1e-6, "book_updates_per_sec": 200}}
    async with run(markets=MARKETS, symbols=quiet) as exchange, probing(exchange, "sbe") as probed:
        await probed.until(lambda: probed.errors(ErrorKind.NO_FIRST_MESSAGE) > 0)
        assert probed.errors(ErrorKind.NO_FIRST_MESSAGE) == 1
        assert probed.state("trade").messages == 0


async def test_a_connection_that_falls_silent_is_replaced(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STALL_TIMEOUT_SEC", 1.0)
    async with run(markets=MARKETS) as exchange, probing_all(exchange) as all_probed:
        for probed in all_probed:
            await probed.until_received(1)
        await exchange.control("stall")
        for probed in all_probed:
            await probed.until_reconnected(ReconnectReason.STALLED, connections(probed))
            await probed.until_received(1)


async def test_a_market_that_often_pauses_is_quiet_and_never_stalled(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STALL_TIMEOUT_SEC", 0.2)
    quiet = {SYMBOL: {"trades_per_sec": 1.5, "book_updates_per_sec": 0}}
    async with run(markets=MARKETS, symbols=quiet) as exchange, probing(exchange, "spot") as probed:
        await probed.until_reconnected(ReconnectReason.QUIET, 1)
        await probed.until_received(5)
        assert probed.reconnects(ReconnectReason.STALLED) == 0
        assert probed.session.connectivity.disconnected_sec == 0


async def test_futures_without_a_message_or_a_ping_are_not_taken_for_silent(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange pings every three minutes only; the answers to the probe's pings must do."""
    monkeypatch.setattr(supervisor, "STALL_TIMEOUT_SEC", 1.5)
    monkeypatch.setattr(supervisor, "PING_INTERVAL_SEC", 0.2)
    monkeypatch.setattr(supervisor, "UNANSWERED_INTERVALS", 8)
    quiet = {SYMBOL: {"trades_per_sec": 1e-6, "book_updates_per_sec": 0}}
    async with run(markets=MARKETS, symbols=quiet) as exchange, probing(exchange, "usdm") as probed:
        labels = {"market": "usdm"}
        count = "feed_rtt_seconds_count"
        await probed.until(lambda: (probed.registry.get_sample_value(count, labels) or 0) >= 2 * 10)
        assert probed.session.connectivity.connected
        assert probed.session.connectivity.disconnected_sec == 0


@pytest.mark.parametrize("market", ["spot", "usdm"])
async def test_a_round_trip_takes_twice_the_scripted_latency(
    run: Run, monkeypatch: pytest.MonkeyPatch, market: MarketName
) -> None:
    """Also while messages flow: `analyze` holds the round trip against the latency."""
    monkeypatch.setattr(supervisor, "PING_INTERVAL_SEC", 0.05)
    sites = {"tokyo": {"latency": {"distribution": "constant", "ms": 30}}}
    async with run(markets=MARKETS, sites=sites) as exchange, probing(exchange, market) as probed:
        value = partial(probed.registry.get_sample_value, labels={"market": market})
        await probed.until(lambda: (value("feed_rtt_seconds_count") or 0) >= 5)
        count, total = value("feed_rtt_seconds_count"), value("feed_rtt_seconds_sum")
        assert total is not None
        assert count is not None
        assert total / count >= 2 * 0.030


async def test_a_rollover_before_the_exchange_s_limit_of_age_loses_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "ROLLOVER_SEC", 0.5)
    async with run(markets=MARKETS) as exchange, probing_all(exchange) as all_probed:
        for probed in all_probed:
            await probed.until_reconnected(ReconnectReason.ROLLOVER, 2 * connections(probed))
        monkeypatch.setattr(supervisor, "ROLLOVER_SEC", 3600.0)
        for probed in all_probed:
            await probed.until_received(3)
            assert probed.session.connectivity.disconnected_sec == 0
            assert probed.reconnects(ReconnectReason.SERVER_CLOSE) == 0
            await probed.until_all_is_in()
            assert_nothing_was_missed(probed)


async def test_an_announced_shutdown_loses_nothing(run: Run) -> None:
    async with run(markets=MARKETS) as exchange, probing_all(exchange) as all_probed:
        for probed in all_probed:
            await probed.until_received(1)
        await exchange.control("shutdown_event", disconnect_after_sec=30.0)
        for probed in all_probed:
            await probed.until_reconnected(ReconnectReason.SERVER_SHUTDOWN, connections(probed))
            await probed.until_received(3)
            assert probed.session.connectivity.disconnected_sec == 0
            await probed.until_all_is_in()
            assert_nothing_was_missed(probed)


async def test_a_connection_cut_by_age_is_replaced(run: Run) -> None:
    limits: dict[str, Any] = {"lifetime_sec": 0.5}
    async with run(markets=MARKETS, limits=limits) as exchange, probing_all(exchange) as all_probed:
        for probed in all_probed:
            await probed.until_reconnected(ReconnectReason.SERVER_CLOSE, connections(probed))


async def test_a_wrong_key_is_an_error_that_names_the_status_and_not_the_key(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setFormatter(TextFormatter())
    async with (
        run(markets=MARKETS) as exchange,
        probing(exchange, "sbe", api_key="Wr0ng") as probed,
    ):
        await probed.until(lambda: probed.errors(ErrorKind.UPGRADE_REJECTED) >= 2)
        assert not probed.session.connectivity.connected
    log = "\n".join(TextFormatter().format(record) for record in caplog.records)
    assert "upgrade: server rejected WebSocket connection: HTTP 403" in log
    assert "Wr0ng" not in log
