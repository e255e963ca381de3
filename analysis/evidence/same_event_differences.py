"""How much later the same events arrive at one host than at another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.evidence.recorded_events import Integers

_NS = 1e-9


@dataclass(frozen=True, slots=True)
class SameEventDifference:
    """Receive time at one host minus that at another, over the events that both received.

    The exchange's clock and delay cancel out; the difference of the two hosts' clocks does not.

    Attributes:
        first: name of one host.
        second: name of the other.
        events: how many events both received.
        first_ahead_ratio: share of them that reached the first host sooner by its clock.
        p01_sec: 1st percentile of second minus first, seconds.
        p50_sec: median likewise: positive means that the second host is later.
        p99_sec: 99th percentile likewise.
        run_medians_sec: median of each run likewise, in order of time.
        clock_bound_sec: by how much the hosts' clocks together may falsify it; None if not known.
    """

    first: str
    second: str
    events: int
    first_ahead_ratio: float
    p01_sec: float
    p50_sec: float
    p99_sec: float
    run_medians_sec: tuple[float, ...]
    clock_bound_sec: float | None


def difference(
    names: tuple[str, str],
    received_ns: tuple[Integers, Integers],
    run_starts_ns: Sequence[int],
    bounds_sec: tuple[float | None, float | None],
) -> SameEventDifference:
    """The difference over events, one at least.

    Args:
        names: of the two hosts.
        received_ns: receive times of the same events at each, Unix nanoseconds, shape (events,).
        run_starts_ns: ascending starts of the runs.
        bounds_sec: of the hosts' clocks.
    """
    later_ns = received_ns[1] - received_ns[0]
    p01, p50, p99 = (float(q) * _NS for q in np.percentile(later_ns, (1, 50, 99)))
    run = np.searchsorted(np.asarray(run_starts_ns, dtype=np.int64), received_ns[0], side="right")
    medians = [float(np.median(later_ns[run == number])) * _NS for number in np.unique(run)]
    one, other = bounds_sec
    return SameEventDifference(
        first=names[0],
        second=names[1],
        events=later_ns.size,
        first_ahead_ratio=float(np.mean(later_ns > 0)),
        p01_sec=p01,
        p50_sec=p50,
        p99_sec=p99,
        run_medians_sec=tuple(medians),
        clock_bound_sec=None if one is None or other is None else one + other,
    )
