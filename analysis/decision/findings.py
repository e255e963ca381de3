"""All that the verdict is drawn from, before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latency_sweep.analysis.decision.ranking import Evaluated
    from latency_sweep.analysis.decision.score import Score
    from latency_sweep.analysis.decision.verdict import (
        Comparison,
        PreferenceParts,
        Relation,
        Status,
        StratumRow,
    )
    from latency_sweep.analysis.evidence.pool import Pool
    from latency_sweep.analysis.evidence.records import Candidate
    from latency_sweep.contract.experiment import Experiment


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the verdict is drawn from.

    Attributes:
        evaluated: every candidate.
        passing: those that pass every hard constraint.
        leader: the place under test, if there is one.
        rivals: those that may still be best: all but the leader that have evidence and are not
            proven to break a constraint.
        comparisons: the leader against each rival.
        strata: time strata.
        scores: by candidate, of those ranked.
        preferences: by candidate, of those ranked.
        experiment: the rules.
    """

    evaluated: tuple[Evaluated, ...]
    passing: tuple[Pool, ...]
    leader: Pool | None
    rivals: tuple[Pool, ...]
    comparisons: tuple[Comparison, ...]
    strata: tuple[StratumRow, ...]
    scores: Mapping[Candidate, Score]
    preferences: Mapping[Candidate, PreferenceParts]
    experiment: Experiment

    def related(self, relation: Relation) -> tuple[Comparison, ...]:
        """The comparisons that came out in one way."""
        return tuple(c for c in self.comparisons if c.relation is relation)

    def status_of(self, name: str) -> Status:
        """Whether a candidate passes the hard constraints."""
        return next(j.status for j in self.evaluated if j.pool.name == name)
