"""Evidence so far: usable runs of those needed, what is excluded and why, time to an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latency_sweep.analysis.stats.inference import fewest_pairs
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.contract.usable_runs import UsableRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from latency_sweep.collector.watch.scope import Scope
    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.contract.targets import CandidateLabels
    from latency_sweep.contract.timeline import Run


@dataclass(frozen=True, slots=True)
class EvidenceSoFar:
    """The finished runs, as far as can be told without reading them.

    Attributes:
        measured: runs that at least one candidate measured.
        needed: usable runs that each candidate needs.
        usable: by candidate.
        excluded: number of runs by candidate and reason; a run may have several.
        ends_at: when each candidate has them if no further run is excluded, Unix seconds; None
            where they have.
    """

    measured: int
    needed: int
    usable: Mapping[CandidateLabels, int]
    excluded: Mapping[CandidateLabels, Mapping[str, int]]
    ends_at: float | None

    @property
    def fewest(self) -> int:
        """Usable runs of the candidate that has the fewest."""
        return min(self.usable.values(), default=0)

    @property
    def number(self) -> int:
        """Of the current run, from one."""
        return self.measured + 1

    @property
    def total(self) -> int | None:
        """Number of the run with which each candidate has those needed; None where they have."""
        missing = self.needed - self.fewest
        return self.measured + missing if missing > 0 else None


def count(
    ask: Callable[[str], Mapping[CandidateLabels, float]],
    scope: Scope,
    experiment: Experiment,
    candidates: Mapping[CandidateLabels, float],
    run: Run,
) -> EvidenceSoFar:
    """Count the runs that have ended.

    Args:
        ask: values of an expression by candidate; of one without labels, the only value.
        scope: the series of the candidates.
        experiment: gives timing and rule.
        candidates: those that there are.
        run: the current one.
    """
    runs = UsableRuns(experiment, experiment.market_data.market, scope.over)
    usable = ask(runs.usable())
    excluded: dict[CandidateLabels, dict[str, int]] = {one: {} for one in candidates}
    for reason, expression in runs.excluded().items():
        for candidate, number in ask(expression).items():
            if candidate in excluded and number:
                excluded[candidate][reason] = int(number)
    rule = experiment.decision
    needed = max(rule.min_runs, fewest_pairs(1 - rule.confidence, max(1, len(candidates) - 1)))
    counts = {one: int(usable.get(one, 0)) for one in candidates}
    missing = needed - min(counts.values(), default=0)
    cycle_ns = run.end_ns - run.start_ns
    return EvidenceSoFar(
        measured=int(next(iter(ask(runs.measured()).values()), 0)),
        needed=needed,
        usable=counts,
        excluded=excluded,
        ends_at=(run.end_ns + (missing - 1) * cycle_ns) / NS_PER_SEC if missing > 0 else None,
    )
