"""What is odd about receive timestamps as such: unknown bounds, and sources that differ."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.evidence.records import Evidence

_NAMED: Final = 5
# The kind of receive times that somebody else wrote down.
RECORDER: Final = "recorder"


def timestamp_warnings(evidence: Evidence) -> tuple[str, ...]:
    """One sentence for each oddity."""
    if evidence.approximate:  # rebuilt from percentiles, which is told in other words
        return ()
    unknown: set[str] = set()
    places: defaultdict[str, set[str]] = defaultdict(set)
    for run in evidence.runs:
        for one in run.instances:
            # Whoever recorded elsewhere is no probe; its source warns of it.
            said = one.timestamp_errors is not None or RECORDER in one.timestamp_kinds
            if one.latency.count and not said:
                unknown.add(run.candidate.name)
            for kind in one.timestamp_kinds:
                places[kind].add(run.candidate.name)
    found = []
    if unknown:
        found.append(
            "It is not known how late receive timestamps can be, as probes of an older version do"
            f" not say it: {_listed(sorted(unknown))}."
        )
    if len(places) > 1:
        kinds = "; ".join(
            f"{kind}: {_listed(sorted(names))}" for kind, names in sorted(places.items())
        )
        found.append(
            f"Receive timestamps come from different sources ({kinds}): part of a difference in"
            " latency may be theirs."
        )
    return tuple(found)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
