"""To which probe each series belongs, and where that probe ran: every probe once.

Target labels come first; where one is missing, what the probe says of itself counts
(`feed_probe_info`). Sources with the same instance are one probe if their places agree and their
processes began at the same time; then they are read apart, since PromQL would add them up.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.evidence import sources as scraped
from latency_sweep.contract import metrics
from latency_sweep.contract.targets import CANDIDATE_LABELS, UNKNOWN, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from latency_sweep.analysis.evidence.label_names import LabelNames
    from latency_sweep.analysis.evidence.sources import Labels, Source, SourceQuery
    from latency_sweep.analysis.prometheus_api import PrometheusClient
    from latency_sweep.contract.experiment import Experiment

# Points at which the start of each process is looked at, and their least distance.
_LOOKS: Final = 200
_LEAST_STEP_SEC: Final = 60.0


@dataclass(frozen=True, slots=True)
class SourceGroup:
    """Series that hold each probe at most once.

    Attributes:
        query: of the experiment they belong to.
        matchers: that select them among the experiment's series.
        targets: the target of each of them, by the one that the labels name.
        jobs: their jobs; empty if not known.
        sources: their labels.
    """

    query: SourceQuery
    matchers: tuple[str, ...] = ()
    targets: Mapping[Target, Target] = field(default_factory=dict)
    jobs: frozenset[str] = frozenset()
    sources: frozenset[Labels] = frozenset()

    @property
    def names(self) -> LabelNames:
        """Names of the target labels."""
        return self.query.names

    @property
    def by(self) -> str:
        """PromQL's clause that keeps targets apart."""
        return f"by ({', '.join(self.names.targets)})"

    @property
    def selectors(self) -> tuple[str, ...]:
        """All matchers, that of the experiment included."""
        return (self.query.matcher, *self.matchers)

    @property
    def of_jobs(self) -> tuple[str, ...]:
        """Matchers for metrics that other exporters of the same instances have, too."""
        return (f"job=~{alternatives(self.jobs)}",) if self.jobs else ()

    def target(self, labels: Mapping[str, str]) -> Target:
        """The target that a series of this group belongs to."""
        named = self.names.target(labels)
        return self.targets.get(named, named)

    def instances(self, targets: Iterable[Target]) -> str:
        """Matcher of the instances of some targets."""
        wanted = set(targets)
        named = {one for one, target in self.targets.items() if target in wanted}
        named |= wanted - set(self.targets.values())
        return f"{self.names.instance}=~{alternatives(one.instance for one in named)}"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A target label and its probe disagree, or the probe disagrees with itself.

    Attributes:
        target: which.
        dimension: one of `CANDIDATE_LABELS`.
        label: value of the target label; empty if there is none.
        own: what the probe said.
    """

    target: Target
    dimension: str
    label: str
    own: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AttributedProbe:
    """One probe, however often it is scraped.

    Attributes:
        target: where it is, as far as that is known.
        sources: that hold its series, the one with most samples first.
        contradictions: about where it is.
    """

    target: Target
    sources: tuple[Source, ...]
    contradictions: tuple[Contradiction, ...]


@dataclass(frozen=True, slots=True)
class ProbeAttribution:
    """Who is who among the series of an experiment.

    Attributes:
        groups: each holds a probe at most once; together they hold all sources.
        probes: in order of their targets.
    """

    groups: tuple[SourceGroup, ...]
    probes: tuple[AttributedProbe, ...]

    @property
    def once(self) -> tuple[tuple[SourceGroup, tuple[Target, ...]], ...]:
        """The groups, each with the targets of which it has more samples than the others."""
        return tuple(
            (group, tuple(p.target for p in self.probes if p.sources[0].labels in group.sources))
            for group in self.groups
        )

    @property
    def everywhere(self) -> SourceGroup:
        """All sources as one group, for what PromQL takes the largest of."""
        query = self.groups[0].query
        targets = {named: t for group in self.groups for named, t in group.targets.items()}
        matchers: tuple[str, ...] = ()
        if not query.labelled and targets:  # probes of other experiments have no label either
            names = alternatives(named.instance for named in targets)
            matchers = (f"{query.names.instance}=~{names}",)
        jobs = frozenset(job for group in self.groups for job in group.jobs)
        sources = frozenset(one for group in self.groups for one in group.sources)
        return SourceGroup(query, matchers, targets, jobs, sources)

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each label that tells several sources of one probe apart."""
        alike: defaultdict[tuple[str, ...], list[AttributedProbe]] = defaultdict(list)
        for probe in self.probes:
            if len(probe.sources) > 1:
                alike[differing(source.labels for source in probe.sources)].append(probe)
        return tuple(_note(labels, probes) for labels, probes in sorted(alike.items()))


def attribute(
    client: PrometheusClient,
    query: SourceQuery,
    experiment: Experiment,
    *,
    start: float,
    end: float,
) -> ProbeAttribution:
    """Find the probes that have samples in a span of time.

    Args:
        client: the server.
        query: which probes.
        experiment: tells the instance type that a family stands for.
        start: Unix seconds.
        end: Unix seconds.

    Raises:
        PrometheusError: the server could not answer.
    """
    found = scraped.find(client, query, start=start, end=end)
    instances: defaultdict[str, list[Source]] = defaultdict(list)
    for source in found:
        instances[source.label(query.names.instance)].append(source)
    several = [name for name, those in instances.items() if len(those) > 1]
    starts = _starts(client, query, several, start, end) if several else {}
    reader = _Reader(query.names, _types(experiment), starts)
    probes = [probe for name, those in instances.items() for probe in reader.probes(name, those)]
    labels = {label for those in instances.values() for label in differing(s.labels for s in those)}
    return ProbeAttribution(
        groups=_groups(query, probes, sorted(labels)),
        probes=tuple(sorted(probes, key=lambda probe: probe.target)),
    )


def differing(sources: Iterable[Labels]) -> tuple[str, ...]:
    """Names of the labels in which some sources differ, in order."""
    all_labels = list(sources)
    common = frozenset.intersection(*all_labels)
    return tuple(sorted({name for labels in all_labels for name, _ in labels - common}))


def _groups(
    query: SourceQuery, probes: Sequence[AttributedProbe], labels: Sequence[str]
) -> tuple[SourceGroup, ...]:
    """The sources by their values of some labels, the group with most samples first."""
    members: defaultdict[tuple[str, ...], list[tuple[Source, Target]]] = defaultdict(list)
    for probe in probes:
        for source in probe.sources:
            key = tuple(source.label(label) for label in labels)
            members[key].append((source, probe.target))
    groups = []
    for key, those in sorted(members.items(), key=lambda each: (-_samples(each[1]), each[0])):
        matchers = [f"{name}={json.dumps(value)}" for name, value in zip(labels, key, strict=True)]
        if not query.labelled:  # probes of other experiments have no label either
            names = (source.label(query.names.instance) for source, _ in those)
            matchers.append(f"{query.names.instance}=~{alternatives(names)}")
        targets = {query.names.target(dict(source.labels)): target for source, target in those}
        jobs = frozenset(source.label("job") for source, _ in those)
        labels_of = frozenset(source.labels for source, _ in those)
        groups.append(SourceGroup(query, tuple(matchers), targets, jobs, labels_of))
    return tuple(groups) or (SourceGroup(query),)


def _samples(members: Iterable[tuple[Source, Target]]) -> int:
    return sum(source.samples for source, _ in members)


def alternatives(values: Iterable[str]) -> str:
    """A regular expression of PromQL, in quotes, that matches these values only."""
    return json.dumps("|".join(re.escape(value) for value in sorted(set(values))))


def _starts(
    client: PrometheusClient, query: SourceQuery, instances: Sequence[str], start: float, end: float
) -> dict[Labels, frozenset[float]]:
    """When the processes behind some instances began, by all labels of the series."""
    step = max(_LEAST_STEP_SEC, (end - start) / _LOOKS)
    chosen = f"{query.names.instance}=~{alternatives(instances)}"
    series = f"{metrics.PROCESS_START}{{{query.matcher}, {chosen}}}"
    matrix = client.query_range(
        f"last_over_time({series}[{round(step * 1000)}ms])", start=start, end=end, step=step
    )
    return {
        frozenset(one.labels.items() - {("__name__", metrics.PROCESS_START)}): frozenset(
            one.values.tolist()
        )
        for one in matrix.series
    }


def _types(experiment: Experiment) -> dict[str, str]:
    """The instance type that each family of the experiment stands for, where it is one only."""
    types: defaultdict[str, list[str]] = defaultdict(list)
    for name, instance_type in experiment.instance_types.items():
        types[instance_type.family].append(name)
    return {family: names[0] for family, names in types.items() if len(names) == 1}


@dataclass(frozen=True, slots=True)
class _Place:
    """A source's place: what labels and probe say, and where they disagree."""

    values: Mapping[str, str]
    disagreements: tuple[tuple[str, str, tuple[str, ...]], ...]

    def agrees(self, other: _Place) -> bool:
        return all(
            UNKNOWN in {self.values[name], other.values[name]}
            or self.values[name] == other.values[name]
            for name in CANDIDATE_LABELS
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Tells which sources of an instance are the same probe."""

    names: LabelNames
    types: Mapping[str, str]
    starts: Mapping[Labels, frozenset[float]]

    def probes(self, instance: str, found: Sequence[Source]) -> list[AttributedProbe]:
        """The probes behind the sources with one instance name."""
        places = {source: self._place(source) for source in found}
        # The sources that say most come first, for those that say nothing to join them.
        ordered = sorted(
            found,
            key=lambda s: (list(places[s].values.values()).count(UNKNOWN), -s.samples),
        )
        clusters: list[list[Source]] = []
        for source in ordered:
            fitting = [
                cluster
                for cluster in clusters
                if all(
                    places[source].agrees(places[other]) and self._same_process(source, other)
                    for other in cluster
                )
            ]
            # A source that might be either of two probes is none of them.
            if len(fitting) == 1:
                fitting[0].append(source)
            else:
                clusters.append([source])
        targets = [self._target(instance, [places[one] for one in each]) for each in clusters]
        probes = []
        for target, cluster in zip(targets, clusters, strict=True):
            name = self._told_apart(target, cluster, found) if targets.count(target) > 1 else target
            wrong = {d for one in cluster for d in places[one].disagreements}
            probes.append(
                AttributedProbe(
                    target=name,
                    sources=tuple(sorted(cluster, key=lambda s: (-s.samples, sorted(s.labels)))),
                    contradictions=tuple(Contradiction(name, *each) for each in sorted(wrong)),
                )
            )
        return probes

    def _place(self, source: Source) -> _Place:
        own = dict(source.own)
        families = own.pop("instance_family", frozenset())
        if "instance_type" not in own:
            known = frozenset(self.types[name] for name in families if name in self.types)
            if known:
                own["instance_type"] = known
        values, wrong = {}, []
        for name in CANDIDATE_LABELS:
            label, said = source.label(self.names.get(name)), own.get(name, frozenset())
            values[name] = label or (min(said) if len(said) == 1 else UNKNOWN)
            if len(said | ({label} - {""})) > 1:
                wrong.append((name, label, tuple(sorted(said))))
        return _Place(values, tuple(wrong))

    def _same_process(self, one: Source, other: Source) -> bool:
        """Whether nothing shows that two sources are two processes."""
        began, other_began = self.starts.get(one.labels), self.starts.get(other.labels)
        return not began or not other_began or bool(began & other_began)

    @staticmethod
    def _target(instance: str, places: Sequence[_Place]) -> Target:
        known = {
            name: next((p.values[name] for p in places if p.values[name] != UNKNOWN), UNKNOWN)
            for name in CANDIDATE_LABELS
        }
        return Target(instance or UNKNOWN, **known)

    @staticmethod
    def _told_apart(target: Target, cluster: Sequence[Source], found: Sequence[Source]) -> Target:
        """The target of one of several probes with the same instance name and place."""
        labels = differing(source.labels for source in found)
        apart = ", ".join(f"{name}={cluster[0].label(name)}" for name in labels)
        return target._replace(instance=f"{target.instance} ({apart})")


def _note(labels: Sequence[str], probes: Sequence[AttributedProbe]) -> str:
    values = {
        label: sorted({s.label(label) for probe in probes for s in probe.sources})
        for label in labels
    }
    told = " and ".join(
        f"{label} ({', '.join(value or 'none' for value in found)})"
        for label, found in values.items()
    )
    names = listing(probe.target.instance for probe in probes)
    one = len(probes) == 1
    return (
        f"{names} {'is' if one else 'are'} stored in several series, which differ in the label "
        f"{told}; {'it' if one else 'each'} counts once."
    )


def listing(names: Iterable[str], most: int = 5) -> str:
    """Names in a sentence, a few of them at most."""
    found = list(dict.fromkeys(names))
    if len(found) > most:
        return f"{', '.join(found[:most])} and {len(found) - most} more"
    return " and ".join(filter(None, (", ".join(found[:-1]), found[-1])))
