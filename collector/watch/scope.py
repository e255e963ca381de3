"""Which series the live table asks for, so that every probe counts once and at its own place."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latency_sweep.analysis.evidence.attribution import SourceGroup
from latency_sweep.contract import metrics
from latency_sweep.contract.targets import CANDIDATE_LABELS, UNKNOWN, CandidateLabels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from latency_sweep.analysis.evidence.attribution import ProbeAttribution
    from latency_sweep.analysis.evidence.sources import SourceQuery
    from latency_sweep.contract.targets import Target


@dataclass(frozen=True, slots=True)
class Scope:
    """The series of an experiment's candidates.

    Attributes:
        query: of the experiment.
        jobs: matchers of the probes' jobs.
        pieces: the groups and targets of each candidate, where labels alone do not tell them;
            else empty.
    """

    query: SourceQuery
    jobs: tuple[str, ...] = (f"job={json.dumps(metrics.JOB)}",)
    pieces: Mapping[CandidateLabels, Sequence[tuple[SourceGroup, tuple[Target, ...]]]] = field(
        default_factory=dict
    )

    def over(
        self,
        operator: str,
        series: Callable[[str], str],
        *,
        by: Sequence[str] = (),
        up: bool = False,
    ) -> str:
        """PromQL that aggregates series of each candidate.

        Args:
            operator: of the aggregation.
            series: an expression of the series with some matchers.
            by: further labels to keep apart.
            up: whether other exporters have this metric, too.
        """
        if not self.pieces:
            matchers = ", ".join((self.query.matcher, *(self.jobs if up else ())))
            labels = ", ".join((*self.query.names.candidates, *by))
            return f"{operator} by ({labels}) ({series(matchers)})"
        return " or ".join(
            self._named(
                candidate,
                f"{operator} by ({', '.join(by)}) ("
                + " or ".join(series(_matchers(group, targets, up=up)) for group, targets in parts)
                + ")",
            )
            for candidate, parts in sorted(self.pieces.items())
        )

    def candidate(self, labels: Mapping[str, str]) -> CandidateLabels:
        """The candidate of a series of an answer."""
        if self.pieces:
            return CandidateLabels.of(labels)
        return self.query.names.candidate(labels)

    @staticmethod
    def _named(candidate: CandidateLabels, expression: str) -> str:
        for label, value in candidate._asdict().items():
            # In a replacement a dollar sign refers to a group.
            quoted = json.dumps(value.replace("$", "$$"))
            expression = f'label_replace({expression}, "{label}", {quoted}, "", "")'
        return expression


def scope_of(query: SourceQuery, found: ProbeAttribution) -> Scope:
    """The series of the probes that were found.

    A target whose place is not known in full is a candidate of its own, named by its instance.
    """
    jobs = frozenset(job for group in found.groups for job in group.jobs)
    matchers = SourceGroup(query, jobs=jobs).of_jobs
    simple = len(found.groups) == 1 and not found.groups[0].matchers
    targets = [probe.target for probe in found.probes]
    named = {target for group in found.groups for target in group.targets}
    shared = Counter(target[1:] for target in targets)
    candidates = {
        target: CandidateLabels(
            **{
                label: target.instance if label == "az_id" else getattr(target, label)
                for label in CANDIDATE_LABELS
            }
        )
        if UNKNOWN in target[1:] and shared[target[1:]] > 1
        else CandidateLabels(*target[1:])
        for target in targets
    }
    if simple and all(t in named and candidates[t] == t[1:] for t in targets):
        return Scope(query, matchers)
    pieces: defaultdict[CandidateLabels, list[tuple[SourceGroup, tuple[Target, ...]]]]
    pieces = defaultdict(list)
    for group, chosen in found.once:
        members: defaultdict[CandidateLabels, list[Target]] = defaultdict(list)
        for target in chosen:
            members[candidates[target]].append(target)
        for candidate, those in members.items():
            pieces[candidate].append((group, tuple(those)))
    return Scope(query, matchers, pieces)


def _matchers(group: SourceGroup, targets: Sequence[Target], *, up: bool) -> str:
    jobs = group.of_jobs if up else ()
    return ", ".join((*group.selectors, group.instances(targets), *jobs))
