"""The rule that turns findings into a conclusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latency_sweep.analysis.decision.preferences import by_preference
from latency_sweep.analysis.decision.results import ConstraintStatus, Relation
from latency_sweep.analysis.decision.verdict import (
    Obstacle,
    ObstacleKind,
    VerdictBasis,
    VerdictKind,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latency_sweep.analysis.decision.block_results import BlockFindings
    from latency_sweep.analysis.decision.ranking import Evaluated
    from latency_sweep.analysis.decision.results import Comparison
    from latency_sweep.analysis.decision.verdict import PreferenceParts, StratumRow
    from latency_sweep.analysis.evidence.records import Candidate
    from latency_sweep.analysis.evidence.sample import CandidateSample


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the conclusion is drawn from.

    Attributes:
        evaluated: every candidate.
        leader: the candidate under test, if there is one.
        rivals: those that may still be best: all but the leader that have evidence and are not
            proven to break a constraint.
        comparisons: the leader against each rival, closest first.
        strata: time strata.
        preferences: by candidate, of those ranked.
        blocks: the contest, where runs are random blocks.
    """

    evaluated: tuple[Evaluated, ...]
    leader: CandidateSample | None
    rivals: tuple[CandidateSample, ...]
    comparisons: tuple[Comparison, ...]
    strata: tuple[StratumRow, ...]
    preferences: Mapping[Candidate, PreferenceParts]
    blocks: BlockFindings | None = None

    def related(self, relation: Relation) -> tuple[str, ...]:
        """The rivals whose comparison came out in one way."""
        return tuple(c.rival for c in self.comparisons if c.relation is relation)

    def passes(self, name: str) -> bool:
        """Whether a candidate is proven to pass the hard constraints."""
        return any(
            e.sample.name == name and e.status is ConstraintStatus.PASS for e in self.evaluated
        )


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The part of the verdict that the rule decides; attributes as in `Verdict`."""

    kind: VerdictKind
    basis: VerdictBasis
    obstacles: tuple[Obstacle, ...] = ()
    winner: str | None = None
    tied: tuple[str, ...] = ()


def conclude(findings: Findings) -> Conclusion:
    """The rule. Each case is final for those that follow it."""
    leader = findings.leader
    if not any(e.sample.runs for e in findings.evaluated):
        return Conclusion(VerdictKind.INCONCLUSIVE, VerdictBasis.NO_USABLE_RUN)
    if leader is None:
        if all(_measured_to_fail(e) for e in findings.evaluated):
            return Conclusion(VerdictKind.NONE_PASSES, VerdictBasis.ALL_FAIL)
        return Conclusion(VerdictKind.INCONCLUSIVE, VerdictBasis.NONE_PROVEN)
    return _of_leader(findings, leader)


def _of_leader(findings: Findings, leader: CandidateSample) -> Conclusion:
    if not findings.rivals and not any(_measured_to_fail(e) for e in findings.evaluated):
        return Conclusion(VerdictKind.INCONCLUSIVE, VerdictBasis.ONLY_CANDIDATE)
    basis = VerdictBasis.BETTER_THAN_EVERY_RIVAL
    if not findings.rivals:
        basis = VerdictBasis.ONLY_ONE_PASSES
    obstacles = tuple(_rival_obstacles(findings))
    if findings.blocks is None:
        obstacles = (*obstacles, *_stratum_obstacles(findings))
    elif shortlist := _shortlist(findings, leader.name, findings.blocks):
        basis = VerdictBasis.ALL_BLOCKS_MEASURED
        return Conclusion(VerdictKind.SHORTLIST, basis, tied=shortlist)
    if obstacles:
        open_basis = VerdictBasis.OPEN_QUESTIONS if findings.rivals else basis
        return Conclusion(VerdictKind.INCONCLUSIVE, open_basis, obstacles)
    equal = findings.related(Relation.EQUIVALENT)
    if equal:
        tied = by_preference(
            findings.preferences, [leader, *(r for r in findings.rivals if r.name in equal)]
        )
        names = tuple(sample.name for sample in tied)
        return Conclusion(VerdictKind.TIE, VerdictBasis.EQUIVALENT_RIVALS, tied=names)
    return Conclusion(VerdictKind.WINNER, basis, winner=leader.name)


def _shortlist(findings: Findings, leader: str, blocks: BlockFindings) -> tuple[str, ...]:
    """Those that may be best once all blocks are measured; empty unless that is an answer.

    It is one if some are beaten, nobody is proven faster than the leader, and all that are left
    pass the constraints.
    """
    left = [
        c.rival
        for c in findings.comparisons
        if c.relation in {Relation.UNDECIDED, Relation.EQUIVALENT}
    ]
    settled = blocks.exhausted and findings.related(Relation.BETTER)
    open_ones = findings.related(Relation.UNDECIDED)
    faster = findings.related(Relation.WORSE)
    if not settled or not open_ones or faster or not all(map(findings.passes, left)):
        return ()
    return (leader, *left)


def _measured_to_fail(evaluated: Evaluated) -> bool:
    """Whether a candidate breaks a constraint by more than its clock.

    A wrong clock says nothing of the place: with a right one it may pass, and win.
    """
    return any(
        result.status is ConstraintStatus.FAIL and result.name != "clock"
        for result in evaluated.constraints
    )


def _rival_obstacles(findings: Findings) -> list[Obstacle]:
    """Rivals that the leader is not shown to be at least as good as."""
    obstacles = []
    for rival in findings.related(Relation.WORSE):
        kind = ObstacleKind.FASTER_UNPROVEN_RIVAL
        if findings.passes(rival):
            kind = ObstacleKind.FASTER_RIVAL
        obstacles.append(Obstacle(kind, rival))
    obstacles += [
        Obstacle(ObstacleKind.UNDECIDED_RIVAL, rival)
        for rival in findings.related(Relation.UNDECIDED)
    ]
    obstacles += [
        Obstacle(ObstacleKind.EQUIVALENT_UNPROVEN_RIVAL, rival)
        for rival in findings.related(Relation.EQUIVALENT)
        if not findings.passes(rival)
    ]
    return obstacles


def _stratum_obstacles(findings: Findings) -> list[Obstacle]:
    obstacles = []
    for stratum in findings.strata:
        if stratum.required and not stratum.runs:
            obstacles.append(Obstacle(ObstacleKind.STRATUM_WITHOUT_RUNS, stratum.name))
        # Runs outside all strata have a row too, without a name.
        elif stratum.consistent is False and stratum.name:
            obstacles.append(Obstacle(ObstacleKind.RIVAL_AHEAD_IN_STRATUM, stratum.name))
    return obstacles
