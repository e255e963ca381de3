"""Which place is put to the test: the best score, unless noise in the score decides.

The score mixes p99 with steadiness, and where one far place stretches the scale, a tiny
difference in steadiness outweighs a real one in p99. So all places count as best whose score
cannot be told from the lowest one, and among them the one with the lowest p99 is nominated. How
a place is nominated does not weaken the test that it then has to pass: that is two-sided and
against every rival.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.decision.score import normalised_p99, normalised_spread
from latency_sweep.analysis.decision.verdict import Interval
from latency_sweep.analysis.stats.resample import percentile_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from latency_sweep.analysis.decision.score import Score
    from latency_sweep.analysis.evidence.pool import Pool
    from latency_sweep.analysis.evidence.records import Candidate
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


def score_draws(passing: Sequence[Pool], rule: Decision, bootstrap: Bootstrap) -> ScoreDraws:
    """Resample the scores; no draws where the places share fewer runs than the rule asks for."""
    shared = set.intersection(*(set(pool.runs) for pool in passing)) if passing else set()
    labels = tuple(sorted(shared))
    if len(labels) < max(rule.min_runs, 2) or len(passing) < 2:  # noqa: PLR2004 - pairs
        return ScoreDraws({}, len(labels), rule.confidence)
    p99 = np.stack([bootstrap.p99(pool, labels) for pool in passing], axis=1)
    mean, sd = np.stack([bootstrap.moments(pool, labels) for pool in passing], axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = np.where(mean > 0, sd / mean, 0.0)
    total = rule.weights.p99 * normalised_p99(p99) + rule.weights.stability * normalised_spread(cv)
    columns = {pool.candidate: total[:, index] for index, pool in enumerate(passing)}
    return ScoreDraws(columns, len(labels), rule.confidence)


def choose_leader(
    passing: Sequence[Pool], scores: Mapping[Candidate, Score], draws: ScoreDraws
) -> Pool | None:
    """The place to test; None if no place passes. Places without a score come last."""
    if not passing:
        return None
    totals = {pool: s.total for pool in passing if (s := scores.get(pool.candidate)) is not None}

    def by_score(pool: Pool) -> tuple[float, float, str]:
        return (totals.get(pool, math.inf), pool.p99, pool.name)

    leader = min(passing, key=by_score)
    level = [leader]
    for pool in totals:
        interval = draws.interval(pool.candidate, leader.candidate)
        if pool is not leader and interval is not None and (interval.low or 0.0) <= 0:
            level.append(pool)
    return min(level, key=lambda pool: (pool.p99, *by_score(pool)))
