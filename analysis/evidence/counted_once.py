"""One entry for each probe and run, where several sources hold it."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.evidence.places import AttributionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.evidence.run_queries import InstanceRun
    from latency_sweep.contract.targets import Target

# Fewer samples might agree by chance.
_LEAST_SAMPLES: Final = 100
# Servers add up the streams' sums in different orders.
_SAME_SUM: Final = 1e-9


def best_source(found: Sequence[dict[Target, InstanceRun]]) -> dict[Target, InstanceRun]:
    """Of each target what the source with most of the run holds.

    Args:
        found: what each group of sources holds of one run.
    """
    best: dict[Target, InstanceRun] = {}
    for targets in found:
        for target, observed in targets.items():
            if target not in best or _worth(observed) > _worth(best[target]):
                best[target] = observed
    return best


def _worth(observed: InstanceRun) -> tuple[bool, bool, int, float]:
    return (
        observed.complete,
        not observed.torn,
        observed.scrapes,
        observed.evidence.latency.count,
    )


def without_aliases(
    runs: Sequence[dict[Target, InstanceRun]],
) -> tuple[list[dict[Target, InstanceRun]], tuple[str, ...]]:
    """Leave out probes that are scraped under a second name: no two measure the very same samples.

    Args:
        runs: what each target observed in each run.

    Returns:
        The runs without them, and a sentence for each for the report.

    Raises:
        AttributionError: the two names have different places.
    """
    aliases: dict[Target, Target] = {}
    for targets in runs:
        alike: defaultdict[tuple[object, ...], list[Target]] = defaultdict(list)
        for target, observed in sorted(targets.items()):
            latency = observed.evidence.latency
            if latency.count >= _LEAST_SAMPLES:
                key = (latency.count, latency.lower.tobytes(), latency.counts.tobytes())
                alike[key].append(target)
        for first, *others in alike.values():
            total = targets[first].evidence.latency.sum
            for other in others:
                if math.isclose(targets[other].evidence.latency.sum, total, rel_tol=_SAME_SUM):
                    aliases.setdefault(other, aliases.get(first, first))
    for other, first in aliases.items():
        if other[1:] != first[1:]:
            raise AttributionError(
                f"{first.instance} ({'/'.join(first[1:])}) and {other.instance} "
                f"({'/'.join(other[1:])}) hold the very same samples, so they are one probe with "
                "two places; correct the labels region, az_id and instance_type of the target "
                "that names the wrong one, or scrape the probe once."
            )
    kept = [
        best_source(
            [{aliases.get(target, target): observed} for target, observed in targets.items()]
        )
        for targets in runs
    ]
    notes = tuple(
        f"{first.instance} and {other.instance} hold the very same samples, so they are one probe "
        "that is scraped under two names (label instance); it counts once."
        for other, first in sorted(aliases.items())
    )
    return kept, notes
