"""The leader against each rival of the same sweep, paired over the runs that both have.

The run is the unit of evidence; what happens inside a run only feeds the bootstrap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latency_sweep.analysis.decision.difference import (
    DifferenceTest,
    PairedSample,
    adjust,
    margin_between,
)
from latency_sweep.analysis.decision.results import Comparison, Interval, Relation
from latency_sweep.analysis.stats import inference
from latency_sweep.analysis.stats.resample import percentile_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from latency_sweep.analysis.decision.block_contest import BlockContest
    from latency_sweep.analysis.decision.difference import Adjusted
    from latency_sweep.analysis.decision.leader import ScoreDraws
    from latency_sweep.analysis.decision.score import Score
    from latency_sweep.analysis.evidence.records import Candidate
    from latency_sweep.analysis.evidence.sample import CandidateSample
    from latency_sweep.analysis.stats.resample import Bootstrap
    from latency_sweep.contract.experiment import Decision

    Floats = NDArray[np.float64]

# Chance of settling a difference as large as the one seen that a number of runs is named for.
POWER = 0.8
# Nobody can measure more runs than this.
MAX_RUNS_NAMED = 10_000


@dataclass(frozen=True, slots=True)
class Method:
    """How candidates are compared.

    Attributes:
        rule: of the experiment.
        bootstrap: draws that all comparisons share.
        run_sec: how long a run is measured.
    """

    rule: Decision
    bootstrap: Bootstrap
    run_sec: float


@dataclass(frozen=True, slots=True)
class _TestedRival:
    """The leader and one rival, tested by themselves."""

    rival: CandidateSample
    sample: PairedSample
    stretch: float
    pooled_difference_sec: float | None
    test: DifferenceTest


def compare(
    leader: CandidateSample,
    rivals: Sequence[CandidateSample],
    method: Method,
    scores: Mapping[Candidate, Score],
    draws: ScoreDraws,
    *,
    contest: BlockContest | None = None,
) -> tuple[Comparison, ...]:
    """Compare the leader with its rivals, which are one family of tests.

    Args:
        leader: the candidate under test.
        rivals: the others.
        method: how.
        scores: by candidate, of those ranked.
        draws: of the scores.
        contest: decides where runs are random blocks.

    Returns:
        One comparison per rival, in their order.
    """
    pairs = [_pair(leader, rival, method) for rival in rivals]
    adjusted = adjust([pair.test for pair in pairs], method.rule)
    undecided = sum(found.relation is Relation.UNDECIDED for found in adjusted)
    fewest = max(
        method.rule.min_runs, inference.fewest_pairs(1 - method.rule.confidence, len(rivals))
    )
    return tuple(
        _comparison(
            leader,
            pair,
            found,
            needed=_runs_needed(pair, found, undecided, fewest, method.rule),
            family=(len(rivals), fewest),
            score=_score_difference(leader.candidate, pair.rival.candidate, scores, draws),
            confidence=method.rule.confidence,
            contest=contest,
        )
        for pair, found in zip(pairs, adjusted, strict=True)
    )


def relate(first: CandidateSample, second: CandidateSample, method: Method) -> Relation:
    """What the evidence says of one candidate against another, by themselves."""
    (found,) = adjust([_pair(first, second, method).test], method.rule)
    return found.relation


def _pair(leader: CandidateSample, rival: CandidateSample, method: Method) -> _TestedRival:
    sample = PairedSample.of(leader, rival)
    shared = sample.dependence(method.run_sec)
    stretch = shared.stretch(sample.tested)
    difference, interval = _pooled_difference(leader, rival, sample.labels, method, stretch)
    margin = margin_between(leader, rival, method.rule)
    test = DifferenceTest.paired(sample, shared, interval, margin)
    return _TestedRival(rival, sample, stretch, difference, test)


def _comparison(
    leader: CandidateSample,
    pair: _TestedRival,
    found: Adjusted,
    *,
    needed: int | None,
    family: tuple[int, int],
    score: tuple[float | None, Interval | None],
    confidence: float,
    contest: BlockContest | None,
) -> Comparison:
    test, sample = pair.test, pair.sample
    mine, theirs = list(leader.run_p99.values()), list(pair.rival.run_p99.values())
    size = len(sample.labels)
    shift_interval = None
    if test.shift_sec is not None:
        shift_interval = _shift_interval(sample.seconds, test.shift_sec, confidence, pair.stretch)
    return Comparison(
        leader=leader.name,
        rival=pair.rival.name,
        rivals=family[0],
        relation=contest.relation(leader, pair.rival) if contest else found.relation,
        leader_runs=len(mine),
        rival_runs=len(theirs),
        pairs=size,
        fewest_pairs=family[1],
        effective_runs=size / pair.stretch**2,
        p_sign_flip=test.p_value,
        p_holm=found.p_holm,
        p_signed_rank=inference.signed_rank_p(sample.tested),
        p_mann_whitney=inference.mann_whitney_p(mine, theirs),
        smallest_p=test.smallest_p,
        mann_whitney_smallest_p=inference.smallest_mann_whitney_p(len(mine), len(theirs)),
        log_scale=sample.log_scale,
        shift_sec=test.shift_sec,
        shift_interval=shift_interval,
        shift_ratio=test.shift_ratio,
        pooled_difference_sec=pair.pooled_difference_sec,
        pooled_interval=test.interval,
        cliffs_delta=inference.cliffs_delta(mine, theirs) if mine and theirs else None,
        score_difference=score[0],
        score_interval=score[1],
        margin=test.margin,
        runs_needed=needed,
        confidence=confidence,
        lead=contest.lead(leader, pair.rival) if contest else None,
    )


def _score_difference(
    leader: Candidate, rival: Candidate, scores: Mapping[Candidate, Score], draws: ScoreDraws
) -> tuple[float | None, Interval | None]:
    difference = None
    if rival in scores and leader in scores:
        difference = scores[rival].total - scores[leader].total
    return difference, draws.interval(rival, leader)


def _pooled_difference(
    leader: CandidateSample,
    rival: CandidateSample,
    labels: tuple[str, ...],
    method: Method,
    stretch: float,
) -> tuple[float | None, Interval | None]:
    if not labels:
        return None, None
    difference = rival.p99_over(labels) - leader.p99_over(labels)
    if len(labels) == 1:
        # One run has no spread between runs to resample.
        return difference, None
    confidence = method.rule.confidence
    draws = method.bootstrap.p99(rival, labels) - method.bootstrap.p99(leader, labels)
    low, high = percentile_interval(draws, len(labels), confidence, stretch=stretch)
    return difference, Interval(low, high, confidence)


def _shift_interval(seconds: Floats, shift: float, confidence: float, stretch: float) -> Interval:
    low, high = inference.hodges_lehmann_interval(seconds, confidence)
    if low is None or high is None:
        return Interval(None, None, confidence)
    return Interval(shift - stretch * (shift - low), shift + stretch * (high - shift), confidence)


def _runs_needed(
    pair: _TestedRival, found: Adjusted, undecided: int, fewest: int, rule: Decision
) -> int | None:
    """Pairs that would settle it either way, if mean and spread of the differences stay."""
    if found.relation is not Relation.UNDECIDED:
        return None
    seconds, margin = pair.sample.seconds, found.test.margin.total_sec
    # Where runs follow one another too closely, that of so many independent runs whose mean
    # varies as much.
    sd = pair.stretch * float(seconds.std(ddof=1)) if seconds.size > 1 else math.nan
    if not math.isfinite(sd):
        return fewest
    mean = abs(float(seconds.mean()))
    # Outside the margin a difference must be separated from zero and the estimate from the margin,
    # inside it the interval must fit.
    effect = margin - mean if mean <= margin else min(mean, 2 * (mean - margin))
    needed = inference.pairs_for_difference(effect, sd, (1 - rule.confidence) / undecided, POWER)
    if needed is None or needed > MAX_RUNS_NAMED:
        return None
    return max(needed, fewest, len(pair.sample.labels) + 1)
