"""Whether all places measured the same events.

A run is measured by event time, so every place ought to have received the same messages. A channel
that falls silent at one place shows no gap in its ids before it speaks again, and then what that
place measured is another mixture of events.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.wording import percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from latency_sweep.analysis.evidence.run_queries import InstanceRun, Place
    from latency_sweep.contract.timeline import Run

# What start, end and order of a run may explain.
MIN_SHARE: Final = 0.95
# Where messages are few, places that measured other events by chance are no news.
_STANDARD_ERRORS: Final = 5


def warnings(
    runs: Sequence[Run], observed: Sequence[Mapping[Place, InstanceRun]]
) -> tuple[str, ...]:
    """One sentence for each instance that missed much of a channel without a known reason.

    Args:
        runs: the runs.
        observed: what each instance observed in each of them.
    """
    cases: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    for run, places in zip(runs, observed, strict=True):
        for place, channel, share in _misses(places):
            told = (
                f"{place.instance} measured only {percent(share)} of the {' '.join(channel)} "
                f"messages that another place measured in run {run.label}, and knows of no loss"
            )
            cases[place.instance].append((share, told))
    return tuple(_worst(found) for _, found in sorted(cases.items()))


def _worst(cases: Sequence[tuple[float, str]]) -> str:
    _, told = min(cases)
    return f"{told} (the worst of {len(cases)} such cases)." if len(cases) > 1 else f"{told}."


def _misses(
    places: Mapping[Place, InstanceRun],
) -> Iterator[tuple[Place, tuple[str, str], float]]:
    """Instances with far fewer messages of a channel than the one with most; their share of it."""
    most: dict[tuple[str, str], int] = {}
    for run in places.values():
        for channel, count in run.channels.items():
            most[channel] = max(most.get(channel, 0), count)
    for place, run in places.items():
        if not _should_have_all(run):
            continue
        for channel, best in most.items():
            known = run.channels.get(channel, 0) + (run.lost or 0)
            if known < min(MIN_SHARE * best, best - _STANDARD_ERRORS * math.sqrt(best)):
                yield place, channel, run.channels.get(channel, 0) / best


def _should_have_all(run: InstanceRun) -> bool:
    """Whether nothing that is known of an instance explains that messages are missing."""
    whole = run.complete and run.latency.count and not run.torn
    return bool(whole and not run.restarts and not run.reconnects)
