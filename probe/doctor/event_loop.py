"""Check of the event loop's delay."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from latency_sweep.probe.measurement.loop_timer import loop_timer
from latency_sweep.runtime.check_result import CheckResult, CheckStatus, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME: Final = "event loop delay"
_WARN_P99_SEC: Final = 1e-3
_FAIL_P99_SEC: Final = 10e-3
_INTERVAL_NS: Final = 2_000_000
_NS: Final = 1_000_000_000


async def measure_lateness(duration_sec: float) -> list[int]:
    """How late the running loop handles a kernel timer that fires every 2 ms, nanoseconds."""
    late: list[int] = []
    done = asyncio.Event()
    wanted = math.ceil(duration_sec * _NS / _INTERVAL_NS)

    def note(late_ns: int) -> None:
        late.append(late_ns)
        if len(late) >= wanted:
            done.set()

    with loop_timer(_INTERVAL_NS, note):
        await done.wait()
    return late


def check_lateness(late_ns: Sequence[int]) -> CheckResult:
    """Whether the loop is prompt enough, by the p99 of its delay."""
    ordered = sorted(late_ns)
    p50, p99 = (ordered[math.ceil(share * len(ordered)) - 1] * 1e-9 for share in (0.5, 0.99))
    found = f"p50 {duration(p50)}, p99 {duration(p99)}, max {duration(ordered[-1] * 1e-9)}"
    expected = f"p99 ≤ {duration(_WARN_P99_SEC)}"
    if p99 <= _WARN_P99_SEC:
        return CheckResult(_NAME, CheckStatus.PASS, found, expected)
    return CheckResult(
        _NAME,
        CheckStatus.FAIL if p99 > _FAIL_P99_SEC else CheckStatus.WARN,
        found,
        expected,
        "Stop other programs on this host, pin the probe to its own core, or use a larger "
        "instance; the kernel's timestamps keep latencies right, but messages read late share one.",
    )
