"""What the instances of a run lost on the way, and what was never sent to any of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.evidence.never_sent import Attribution, Doubt, attribute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latency_sweep.analysis.evidence.never_sent import ChannelLosses
    from latency_sweep.analysis.evidence.run_queries import InstanceRun
    from latency_sweep.contract.targets import Target
    from latency_sweep.contract.timeline import Run

_REASONS: Final = {
    Doubt.ALONE: "no other instance followed these ids",
    Doubt.DIFFERENT: "what the instances miss differs in more than the probes can tell",
}


@dataclass(frozen=True, slots=True)
class AttributedRun:
    """A run with its losses told apart.

    Attributes:
        observed: what each instance observed; of the losses only those on the way.
        doubts: messages that count as lost although they may never have been sent, by instance.
    """

    observed: dict[Target, InstanceRun]
    doubts: Mapping[tuple[Target, Doubt], int] = field(default_factory=dict)


def attribute_run(observed: Mapping[Target, InstanceRun]) -> AttributedRun:
    """Tell lost from never sent in one run.

    Args:
        observed: what each instance of the experiment observed, whatever its candidate.
    """
    by_channel: defaultdict[tuple[str, str], dict[Target, ChannelLosses]] = defaultdict(dict)
    for target, run in observed.items():
        for channel, losses in run.losses.items():
            by_channel[channel][target] = losses
    doubts: Counter[tuple[Target, Doubt]] = Counter()
    attributions: defaultdict[Target, list[Attribution]] = defaultdict(list)
    for found in by_channel.values():
        for target, attribution in attribute(found).items():
            attributions[target].append(attribution)
            if attribution.doubt is not None:
                doubts[target, attribution.doubt] += attribution.doubtful
    return AttributedRun(
        {target: _told_apart(run, attributions[target]) for target, run in observed.items()},
        doubts,
    )


def _told_apart(observed: InstanceRun, found: Sequence[Attribution]) -> InstanceRun:
    counted = observed.evidence.lost
    if counted is None:
        return observed  # some stream does not say what was lost
    if not found:
        known = None if counted else 0
        return replace(observed, evidence=replace(observed.evidence, never_sent=known))
    never_sent = sum(attribution.never_sent for attribution in found)
    # By event time, as the ids are; but a probe that was restarted has forgotten what it lost.
    lost = sum(losses.lost for losses in observed.losses.values())
    if observed.restarts:
        lost = max(lost, counted)
    evidence = replace(observed.evidence, lost=lost - never_sent, never_sent=never_sent)
    return replace(observed, evidence=evidence)


def warnings(runs: Sequence[Run], attributed: Sequence[AttributedRun]) -> list[str]:
    """One sentence for each instance some of whose losses may never have been sent.

    Args:
        runs: the runs.
        attributed: the losses of each of them.
    """
    cases: defaultdict[tuple[Target, Doubt], list[tuple[str, int]]] = defaultdict(list)
    for run, one in zip(runs, attributed, strict=True):
        for key, messages in one.doubts.items():
            cases[key].append((run.label, messages))
    return [
        f"Of {_count(sum(messages for _, messages in found))} missing at {target.instance} in "
        f"{_runs([label for label, _ in found])} it cannot be told whether they were lost or never "
        f"sent, as {_REASONS[doubt]}; they count as lost."
        for (target, doubt), found in sorted(cases.items(), key=lambda case: case[0][0])
    ]


def _count(messages: int) -> str:
    return f"{messages:,} message{'s' if messages != 1 else ''}"


def _runs(labels: Sequence[str]) -> str:
    return f"run {labels[0]}" if len(labels) == 1 else f"{len(labels)} runs"
