"""Which candidate is tested: the best score, unless noise in the score decides.

The score mixes p99 with stability, and where one slow candidate stretches the scale, a tiny
difference in stability outweighs a real one in p99. So all candidates count as best whose score
cannot be distinguished from the lowest one, and the one with the lowest p99 among them is the
leader. How the leader is chosen does not weaken the test that it then has to pass: that is
two-sided and against every rival.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.decision.results import Interval
from latency_sweep.analysis.decision.score import normalised_p99, normalised_spread
from latency_sweep.analysis.stats.resample import percentile_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from latency_sweep.analysis.decision.score import Score
    from latency_sweep.analysis.evidence.records import Candidate
    from latency_sweep.analysis.evidence.sample import CandidateSample
    from latency_sweep.analysis.stats.resample import Bootstrap
    from latency_sweep.contract.experiment import Decision

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoreDraws:
    """Resampled scores of the candidates that pass, over the runs that all of them share."""

    draws: Mapping[Candidate, Floats]
    runs: int
    confidence: float

    def interval(self, minuend: Candidate, subtrahend: Candidate) -> Interval | None:
        """Bootstrap interval of the difference of two scores; None if there are no draws."""
        if minuend not in self.draws or subtrahend not in self.draws:
            return None
        difference = self.draws[minuend] - self.draws[subtrahend]
        low, high = percentile_interval(difference, self.runs, self.confidence)
        return Interval(low, high, self.confidence)


def score_draws(
    passing: Sequence[CandidateSample], rule: Decision, bootstrap: Bootstrap
) -> ScoreDraws:
    """Resample the scores; no draws with fewer common runs than the rule asks for."""
    shared = set.intersection(*(set(sample.runs) for sample in passing)) if passing else set()
    labels = tuple(sorted(shared))
    if len(labels) < max(rule.min_runs, 2) or len(passing) < 2:  # noqa: PLR2004 - pairs
        return ScoreDraws({}, len(labels), rule.confidence)
    p99 = np.stack([bootstrap.p99(sample, labels) for sample in passing], axis=1)
    mean, sd = np.stack([bootstrap.moments(sample, labels) for sample in passing], axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = np.where(mean > 0, sd / mean, 0.0)
    total = rule.weights.p99 * normalised_p99(p99) + rule.weights.stability * normalised_spread(cv)
    columns = {sample.candidate: total[:, index] for index, sample in enumerate(passing)}
    return ScoreDraws(columns, len(labels), rule.confidence)


def choose_leader(
    passing: Sequence[CandidateSample], scores: Mapping[Candidate, Score], draws: ScoreDraws
) -> CandidateSample | None:
    """The candidate to test; None if none passes. Candidates without a score come last."""
    if not passing:
        return None
    totals = {
        sample: s.total for sample in passing if (s := scores.get(sample.candidate)) is not None
    }

    def by_score(sample: CandidateSample) -> tuple[float, float, str]:
        return (totals.get(sample, math.inf), sample.p99, sample.name)

    leader = min(passing, key=by_score)
    level = [leader]
    for sample in totals:
        interval = draws.interval(sample.candidate, leader.candidate)
        if sample is not leader and interval is not None and (interval.low or 0.0) <= 0:
            level.append(sample)
    return min(level, key=lambda sample: (sample.p99, *by_score(sample)))
