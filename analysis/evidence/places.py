"""Whether it is known where every probe ran, so that no two places are taken for one candidate."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.evidence.attribution import listing
from latency_sweep.contract.targets import CANDIDATE_LABELS, UNKNOWN, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from latency_sweep.analysis.evidence.attribution import AttributedProbe, Contradiction
    from latency_sweep.analysis.evidence.label_names import LabelNames

# What a foreign label holds, by the form of its values.
_FORMS: Final[dict[str, re.Pattern[str]]] = {
    "region": re.compile(r"[a-z]{2}(-[a-z]+)+-\d+"),
    "az_id": re.compile(r"[a-z]+\d+-az\d+"),
    "instance_type": re.compile(r"[a-z]+\d*[a-z0-9-]*\.[a-z0-9-]+"),
}
# The probe's options that tell it.
_OPTIONS: Final[dict[str, str]] = {name: f"--{name.replace('_', '-')}" for name in CANDIDATE_LABELS}


class AttributionError(Exception):
    """Evidence cannot be attributed to candidates; the message names the label to add."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What tells candidates apart.

    Attributes:
        by: of `CANDIDATE_LABELS`.
        notes: what could not be told apart, for the report.
    """

    by: tuple[str, ...]
    notes: tuple[str, ...] = ()


def dimensions(
    targets: Iterable[Target],
    probes: Sequence[AttributedProbe],
    asked: tuple[str, ...],
    names: LabelNames,
) -> Dimensions:
    """What tells candidates apart, where the targets' places allow it.

    Args:
        targets: all of them.
        probes: those that have been attributed.
        asked: dimensions that were asked for; empty for as many as are known.
        names: of the target labels.

    Raises:
        AttributionError: a place is unknown or contradictory, so that evidence of different
            candidates would be pooled.
    """
    everybody = sorted(set(targets))
    wanted = asked or CANDIDATE_LABELS
    refuse_contradictions(probes, wanted, names)
    unknown = {name: [t for t in everybody if getattr(t, name) == UNKNOWN] for name in wanted}
    for name, lacking in unknown.items():
        if lacking and (asked or len(lacking) < len(everybody)):
            others = "" if len(lacking) == len(everybody) else ", which other targets have"
            raise AttributionError(
                f"{_have(lacking)} no label {names.get(name)}{others}, and what these probes say "
                f"of themselves (feed_probe_info) does not tell it either; "
                f"{advice(name, lacking, probes, names)}."
            )
    by = tuple(name for name in wanted if not unknown[name])
    if len(everybody) <= 1:
        return Dimensions(by or wanted)
    lacking_names = [name for name in wanted if unknown[name]]
    if not lacking_names:
        return Dimensions(by)
    pooled = _pooled(everybody, by)
    if pooled:
        name = lacking_names[0]
        if by:
            alternative = f", or pass --by {','.join(by)} if they are one candidate"
            what = f"are all in {'/'.join(getattr(pooled[0], label) for label in by)}, but"
        else:
            alternative, what = "", "cannot be told apart:"
        labels = " or ".join(names.get(each) for each in lacking_names)
        raise AttributionError(
            f"{listing(t.instance for t in pooled)} {what} they have no label {labels}, and what "
            "these probes say of themselves (feed_probe_info) does not tell it either; "
            f"{advice(name, pooled, probes, names)}{alternative}."
        )
    labels = " or ".join(names.get(each) for each in lacking_names)
    return Dimensions(
        by, (f"No target has a label {labels}; candidates are told apart by {', '.join(by)} only.",)
    )


def refuse_contradictions(
    probes: Sequence[AttributedProbe], dimensions_used: Sequence[str], names: LabelNames
) -> None:
    """Raise AttributionError if a probe and its labels disagree about its place."""
    wrong = [c for p in probes for c in p.contradictions if c.dimension in dimensions_used]
    if not wrong:
        return
    first = min(wrong, key=lambda c: CANDIDATE_LABELS.index(c.dimension))
    alike = [c for c in wrong if c.dimension == first.dimension]
    label = names.get(first.dimension)
    told = "; ".join(_contradiction(c, label) for c in alike[:3])
    more = f"; so do {len(alike) - 3} more" if len(alike) > 3 else ""  # noqa: PLR2004 - as above
    raise AttributionError(
        f"{told}{more}; correct the label with "
        f"{rule(first.dimension, first.target.instance, label)}, or the probe's "
        f"{_OPTIONS[first.dimension]}."
    )


def _contradiction(found: Contradiction, label: str) -> str:
    said = " and ".join(found.own)
    if not found.label:
        return f"the probe on {found.target.instance} says of itself that its {label} is {said}"
    return (
        f"{found.target.instance} has the label {label}={json.dumps(found.label)}, but its probe "
        f"says of itself (feed_probe_info) {said}"
    )


def advice(
    name: str, lacking: Sequence[Target], probes: Sequence[AttributedProbe], names: LabelNames
) -> str:
    """How to add a label, in half a sentence."""
    fix = f"add it with {rule(name, lacking[0].instance, names.get(name))}"
    foreign = foreign_label(name, lacking, probes)
    if foreign:
        return f"pass --label {name}={foreign} if that label holds it, or {fix}"
    return f"{fix} for each, or start the probes with {_OPTIONS[name]}"


def rule(dimension: str, instance: str, label: str) -> str:
    """A relabelling rule that sets a label of one instance."""
    address = re.escape(instance) if re.fullmatch(r"\S+:\d+", instance) else "ADDRESS"
    return (
        f"this rule under relabel_configs: {{source_labels: [__address__], regex: '{address}', "
        f"target_label: {label}, replacement: {dimension.upper()}}}"
    )


def foreign_label(
    name: str, lacking: Sequence[Target], probes: Sequence[AttributedProbe]
) -> str | None:
    """A label of all these targets whose values have the form of what is missing."""
    found: Mapping[Target, dict[str, str]] = {
        probe.target: dict(probe.sources[0].labels) for probe in probes
    }
    labels = [found.get(target, {}) for target in lacking]
    return next(
        (
            label
            for label in sorted(labels[0])
            if all(_FORMS[name].fullmatch(each.get(label, "")) for each in labels)
        ),
        None,
    )


def _pooled(targets: Sequence[Target], by: tuple[str, ...]) -> list[Target]:
    """Targets that would be one candidate although not all is known of their places."""
    groups: defaultdict[tuple[str, ...], list[Target]] = defaultdict(list)
    for target in targets:
        groups[tuple(getattr(target, name) for name in by)].append(target)
    return max(groups.values(), key=len) if len(groups) < len(targets) else []


def _have(targets: Sequence[Target]) -> str:
    return f"{listing(t.instance for t in targets)} {'has' if len(targets) == 1 else 'have'}"
