"""Time strata: is the leader also best in each part of the day?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latency_sweep.analysis.decision.difference import PairedSample, margin_between
from latency_sweep.analysis.decision.verdict import StratumRow
from latency_sweep.analysis.stats import inference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latency_sweep.analysis.evidence.sample import CandidateSample
    from latency_sweep.contract.experiment import Decision, Stratum


@dataclass(frozen=True, slots=True)
class Contest:
    """Who is tested against whom.

    Attributes:
        leader: the candidate under test, if there is one.
        rivals: the candidates that it is tested against.
        samples: all candidates.
        required: time strata that the experiment demands, by name.
        rule: of the experiment.
    """

    leader: CandidateSample | None
    rivals: Sequence[CandidateSample]
    samples: Sequence[CandidateSample]
    required: Mapping[str, Stratum]
    rule: Decision


def strata(contest: Contest) -> tuple[StratumRow, ...]:
    """One row per time stratum, the required ones first, runs outside all strata last.

    The leader is consistent in a stratum if none of its rivals is ahead there by more than the
    margin: a lead within the margin is not another winner.
    """
    seen = {run.stratum for sample in contest.samples for run in sample.runs.values()}
    extra = sorted(s for s in seen if s is not None and s not in contest.required)
    names: list[str | None] = [*contest.required, *extra]
    if None in seen:
        names.append(None)
    return tuple(_row(name, contest) for name in names)


def labels_in(sample: CandidateSample, stratum: str | None) -> tuple[str, ...]:
    """The usable runs of a candidate in a stratum."""
    return tuple(label for label, run in sample.runs.items() if run.stratum == stratum)


def _row(name: str | None, contest: Contest) -> StratumRow:
    leader, rivals = contest.leader, contest.rivals
    p99 = {p.name: p.p99_over(labels) for p in contest.samples if (labels := labels_in(p, name))}
    runs, shift, closest, consistent = 0, None, None, None
    if leader is not None:
        mine = labels_in(leader, name)
        paired = [(rival, PairedSample.of(leader, rival, mine)) for rival in rivals]
        runs = min((len(pairs.labels) for _, pairs in paired), default=len(mine))
        leads = [(inference.hodges_lehmann(x.seconds), rival) for rival, x in paired if x.labels]
        if leads:
            shift, rival = min(leads, key=lambda item: (item[0], item[1].name))
            closest = rival.name
        if leads and runs:
            consistent = all(
                lead >= -margin_between(leader, other, contest.rule).total_sec
                for lead, other in leads
            )
    tested = {sample.name for sample in (*rivals, leader) if sample is not None} & p99.keys()
    fastest = min(tested, key=lambda n: (p99[n], n), default=None)
    window = contest.required.get(name or "")
    return StratumRow(
        name=name or "",
        required=window is not None,
        starts=window.start if window else None,
        ends=window.end if window else None,
        runs=runs,
        fastest=fastest,
        shift_sec=shift,
        closest_rival=closest,
        consistent=consistent,
        p99_sec=p99,
    )
