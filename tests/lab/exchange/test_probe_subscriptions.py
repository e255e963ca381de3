"""A probe of more streams than a URL takes, and of symbols that are not ASCII."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.exchange.probing import KEY, probing

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from latency_sweep.lab.exchange.config import MarketName
    from tests.lab.exchange.clients import Running
    from tests.lab.exchange.probing import Probed

    Run = Callable[..., AbstractAsyncContextManager[Running]]

CHINESE = "币安人生USDT"
BUSY = {"trades_per_sec": 100.0}


def errors(probed: Probed) -> dict[str, float]:
    return {
        sample.labels["kind"]: sample.value
        for metric in probed.registry.collect()
        for sample in metric.samples
        if sample.name == "feed_errors_total" and sample.value
    }


@pytest.mark.parametrize("market", ["spot", "usdm", "sbe"])
async def test_the_last_of_450_streams_is_received(run: Run, market: MarketName) -> None:
    markets: dict[str, Any] = {market: {"api_keys": [KEY]} if market == "sbe" else {}}
    symbols = [*(f"NOTTRADED{number}USDT" for number in range(449)), CHINESE]
    async with (
        run(markets=markets, symbols={CHINESE: BUSY}) as exchange,
        probing(exchange, market, symbols=symbols, streams=["trade"]) as probed,
    ):
        await probed.until(lambda: probed.recorder.states[-1].messages > 20)
        assert probed.session.connectivity.connected
        assert errors(probed) == {}


@pytest.mark.parametrize("symbol", ["BTCUSD_PERP", "BTCUSD_260925", CHINESE])
async def test_symbols_of_coinm_are_received(run: Run, symbol: str) -> None:
    async with (
        run(markets={"coinm": {}}, symbols={symbol: BUSY}) as exchange,
        probing(exchange, "coinm", symbols=[symbol]) as probed,
    ):
        await probed.until_received(5)
        assert errors(probed) == {}
