"""The local clock against that of a real time endpoint."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest

from latency_sweep.probe.clock.reading import ClockReading
from latency_sweep.probe.doctor.exchange_clock import ExchangeClockCheck
from latency_sweep.runtime.check_result import CheckResult, CheckStatus

if TYPE_CHECKING:
    import ssl


class Exchange(Protocol):
    ahead_sec: float
    status: int

    @property
    def time(self) -> str: ...


def reading(bound_sec: float, *, synchronized: bool = True) -> ClockReading:
    return ClockReading(0.0, bound_sec, synchronized=synchronized, source="kernel")


async def check_exchange_clock(
    url: str | None, tls: ssl.SSLContext, found: ClockReading | None
) -> CheckResult:
    watch = ExchangeClockCheck(url, tls)
    await watch.ask()
    return watch.check_clock(found)


async def test_clocks_that_agree_pass(exchange: Exchange, trust: ssl.SSLContext) -> None:
    result = await check_exchange_clock(exchange.time, trust, reading(1e-5))
    assert result.status is CheckStatus.PASS, result.found


@pytest.mark.parametrize(("ahead_sec", "side"), [(1.0, "behind"), (-1.0, "ahead")])
async def test_a_host_clock_wrong_by_a_second_fails(
    exchange: Exchange, trust: ssl.SSLContext, ahead_sec: float, side: str
) -> None:
    exchange.ahead_sec = ahead_sec
    result = await check_exchange_clock(exchange.time, trust, reading(1e-5))
    assert result.status is CheckStatus.FAIL
    assert side in result.found


async def test_the_wide_bound_of_a_clock_that_follows_nothing_is_no_excuse(
    exchange: Exchange, trust: ssl.SSLContext
) -> None:
    exchange.ahead_sec = 1.0
    result = await check_exchange_clock(exchange.time, trust, reading(16.0, synchronized=False))
    assert result.status is CheckStatus.FAIL


async def test_no_time_endpoint_is_skipped(trust: ssl.SSLContext) -> None:
    assert (await check_exchange_clock(None, trust, None)).status is CheckStatus.SKIP


async def test_a_rate_limit_says_how_long_to_wait(
    exchange: Exchange, trust: ssl.SSLContext
) -> None:
    exchange.status = 429
    result = await check_exchange_clock(exchange.time, trust, None)
    assert result.status is CheckStatus.WARN
    assert result.action.startswith("Wait 7 s")


async def test_an_endpoint_that_cannot_be_reached_is_a_warning(trust: ssl.SSLContext) -> None:
    result = await check_exchange_clock("https://127.0.0.1:1/time", trust, None)
    assert result.status is CheckStatus.WARN
    assert "--time-endpoint" in result.action


class TwoMoments(NamedTuple):
    """What the exchange's clock was ahead by at first and later, and what time was in between."""

    first_sec: float
    later_sec: float
    between_sec: float


async def drift(exchange: Exchange, trust: ssl.SSLContext, moments: TwoMoments) -> CheckResult:
    watch = ExchangeClockCheck(exchange.time, trust)
    exchange.ahead_sec = moments.first_sec
    await watch.ask()
    await asyncio.sleep(moments.between_sec)
    exchange.ahead_sec = moments.later_sec
    await watch.ask()
    return watch.check_drift(stepped=False)


async def test_a_clock_that_loses_time_fails(exchange: Exchange, trust: ssl.SSLContext) -> None:
    # So much that no load on this machine comes near it.
    result = await drift(exchange, trust, TwoMoments(0.0, 60.0, 0.1))
    assert result.status is CheckStatus.FAIL
    assert result.found.startswith("-")
    assert "chronyc tracking" in result.action


async def test_a_glance_is_too_short_to_tell_a_drift(trust: ssl.SSLContext) -> None:
    """Asked within the process: on a busy machine, one way may take far longer than the other."""
    watch = ExchangeClockCheck("https://127.0.0.1:1/time", trust)

    async def fetch() -> bytes:
        return b'{"serverTime":%d}' % (time.time_ns() // 1000)

    for _ in range(2):
        await watch._estimator.update(fetch)
    result = watch.check_drift(stepped=False)
    assert result.status is CheckStatus.SKIP
    assert "--watch-sec" in result.found


async def test_a_clock_that_was_set_is_not_said_to_drift(
    exchange: Exchange, trust: ssl.SSLContext
) -> None:
    watch = ExchangeClockCheck(exchange.time, trust)
    await watch.ask()
    assert watch.check_drift(stepped=True).status is CheckStatus.SKIP


async def test_a_rate_that_cannot_be_known_is_skipped(trust: ssl.SSLContext) -> None:
    watch = ExchangeClockCheck(None, trust)
    await watch.ask()
    assert watch.check_drift(stepped=False).found == "the exchange's clock is unknown"
