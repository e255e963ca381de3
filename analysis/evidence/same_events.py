"""Whether all instances measured the same events.

A run is measured by event time, so every instance ought to have received the same messages. A
channel that falls silent on one instance shows no gap in its ids before it resumes, and then what
that instance measured is another mixture of events.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from latency_sweep.analysis.evidence.run_queries import InstanceRun
    from latency_sweep.contract.targets import Target
    from latency_sweep.contract.timeline import Run

# What start, end and order of a run may explain.
MIN_SHARE: Final = 0.95
# Where messages are few, instances measure other events by chance.
_STANDARD_ERRORS: Final = 5


def warnings(
    runs: Sequence[Run], observed: Sequence[Mapping[Target, InstanceRun]]
) -> tuple[str, ...]:
    """One sentence for each instance that missed much of a channel without a known reason.

    Args:
        runs: the runs.
        observed: what each instance observed in each of them.
    """
    cases: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    for run, targets in zip(runs, observed, strict=True):
        for target, channel, share in _misses(targets):
            warning = (
                f"{target.instance} measured only {100 * share:.3g} % of the {' '.join(channel)} "
                f"messages that another instance measured in run {run.label}, and reports no loss"
            )
            cases[target.instance].append((share, warning))
    return tuple(_worst(found) for _, found in sorted(cases.items()))


def _worst(cases: Sequence[tuple[float, str]]) -> str:
    _, warning = min(cases)
    return f"{warning} (the worst of {len(cases)} such cases)." if len(cases) > 1 else f"{warning}."


def _misses(
    targets: Mapping[Target, InstanceRun],
) -> Iterator[tuple[Target, tuple[str, str], float]]:
    """Instances with far fewer messages of a channel than the one with most; their share of it."""
    most: dict[tuple[str, str], int] = {}
    for run in targets.values():
        for channel, count in run.channels.items():
            most[channel] = max(most.get(channel, 0), count)
    for target, run in targets.items():
        if not _should_have_all(run):
            continue
        for channel, best in most.items():
            known = run.channels.get(channel, 0) + (run.evidence.lost or 0)
            if known < min(MIN_SHARE * best, best - _STANDARD_ERRORS * math.sqrt(best)):
                yield target, channel, run.channels.get(channel, 0) / best


def _should_have_all(run: InstanceRun) -> bool:
    """Whether nothing that is known of an instance explains that messages are missing."""
    whole = run.complete and run.evidence.latency.count and not run.torn
    return bool(whole and not run.restarts and not run.evidence.reconnects)
