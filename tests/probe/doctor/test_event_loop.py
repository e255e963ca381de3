"""How late the event loop is."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvloop

from latency_sweep.probe.doctor.event_loop import check_lateness, measure_lateness
from latency_sweep.runtime.check_result import CheckStatus

US = 1_000
MS = 1_000_000


def test_the_timer_fires_every_two_milliseconds_and_is_never_early() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        late_ns = runner.run(measure_lateness(0.1))
    assert len(late_ns) >= 50
    assert min(late_ns) >= 0


async def test_a_blocked_loop_is_late_for_every_timer_it_missed() -> None:
    def block() -> None:
        time.sleep(0.03)

    asyncio.get_running_loop().call_later(0.01, block)
    late_ns = await measure_lateness(0.1)
    assert max(late_ns) > 20 * MS
    assert sum(late > 10 * MS for late in late_ns) >= 5


@pytest.mark.parametrize(
    ("late_ns", "status"),
    [
        ([50 * US] * 99 + [90 * MS], CheckStatus.PASS),
        ([50 * US] * 98 + [2 * MS] * 2, CheckStatus.WARN),
        ([50 * US] * 98 + [20 * MS] * 2, CheckStatus.FAIL),
    ],
)
def test_the_p99_decides(late_ns: list[int], status: CheckStatus) -> None:
    assert check_lateness(late_ns).status is status


def test_percentiles_are_those_of_the_sample() -> None:
    result = check_lateness([number * US for number in range(100, 0, -1)])
    assert result.found == "p50 50 µs, p99 99 µs, max 100 µs"
