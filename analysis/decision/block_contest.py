"""The contest between the candidates of a sweep whose runs are random blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_sweep.analysis.decision.block_results import BlockFindings, DroppedCandidate, Lead
from latency_sweep.analysis.decision.contest import ContestRule, hold, holds_in_general
from latency_sweep.analysis.decision.results import Interval, Relation
from latency_sweep.analysis.stats.sequential import (
    fewest_differences,
    first_rejection,
    lower_bound,
)
from latency_sweep.contract.timeline import SEC_PER_DAY, parse_run_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from latency_sweep.analysis.decision.contest import ContestResult
    from latency_sweep.analysis.evidence.sample import CandidateSample
    from latency_sweep.contract.experiment import Decision, RandomBlocks

    Floats = NDArray[np.float64]

# What clocks may explain if they may explain everything, a logarithm.
_EVERYTHING: Final = 50.0


@dataclass(frozen=True)
class BlockContest:
    """A contest, and what it was held on.

    Attributes:
        samples: the candidates.
        labels: `run` labels of the blocks in which any has a usable run, in the order of time.
        log_p99: natural logarithm of p99 in seconds, shape (candidates, blocks); NaN where there
            is no usable run, or p99 is not positive.
        allowance: how much of a difference of log p99 clocks and late timestamps explain, shape
            (candidates, candidates): rival's column, leader's row.
        kept_hosts: whether instances took part in more than one block.
        rule: how it was held.
        blocks: the schedule.
        result: how it stands.
    """

    samples: tuple[CandidateSample, ...]
    labels: tuple[str, ...]
    log_p99: Floats
    allowance: Floats
    kept_hosts: bool
    rule: ContestRule
    blocks: RandomBlocks
    result: ContestResult

    @classmethod
    def of(
        cls, samples: Sequence[CandidateSample], rule: Decision, blocks: RandomBlocks
    ) -> BlockContest:
        """Hold the contest on what was measured.

        Args:
            samples: the candidates that may win, each with a usable run.
            rule: of the experiment.
            blocks: its schedule.
        """
        labels = tuple(sorted({label for sample in samples for label in sample.runs}))
        p99 = np.full((len(samples), len(labels)), np.nan)
        for row, sample in enumerate(samples):
            for column, label in enumerate(labels):
                value = sample.run_p99.get(label, math.nan)
                p99[row, column] = value if value > 0 else math.nan
        kept = any(_has_kept_hosts(sample) for sample in samples)
        allowance = _allowance(samples, p99, rule, kept_hosts=kept)
        contest_rule = ContestRule(blocks.most, math.log1p(rule.equivalence_ratio), rule.confidence)
        log_p99 = np.log(p99)
        result = hold(log_p99, contest_rule, allowance)
        return cls(tuple(samples), labels, log_p99, allowance, kept, contest_rule, blocks, result)

    @property
    def leader(self) -> CandidateSample:
        """The winner, or who leads the survivors."""
        return self.samples[self.result.leader]

    def relation(self, leader: CandidateSample, rival: CandidateSample) -> Relation:
        """What the contest says of one candidate against another one.

        BETTER (and WORSE): proven faster by the sequential test, or the other one was dropped.
        EQUIVALENT: the interval lies within the margin. Else UNDECIDED.
        """
        mine, theirs = self._index(leader), self._index(rival)
        dropped = {elimination.candidate for elimination in self.result.eliminations}
        for first, second, relation in (
            (mine, theirs, Relation.BETTER),
            (theirs, mine, Relation.WORSE),
        ):
            if second in dropped and first not in dropped:
                return relation
        if self._proven_after(mine, theirs) is not None:
            return Relation.BETTER
        if self._proven_after(theirs, mine) is not None:
            return Relation.WORSE
        low, high = self._ends(mine, theirs)
        if low is not None and high is not None and max(-low, high) <= self.rule.margin:
            return Relation.EQUIVALENT
        return Relation.UNDECIDED

    def lead(self, leader: CandidateSample, rival: CandidateSample) -> Lead:
        """By how much one candidate is faster than another."""
        mine, theirs = self._index(leader), self._index(rival)
        low, high = self._ends(mine, theirs)
        dropped = [x.block for x in self.result.eliminations if x.candidate == theirs]
        return Lead(
            interval=Interval(
                None if low is None else math.expm1(low),
                None if high is None else math.expm1(high),
                1 - 2 * self.rule.alpha,
            ),
            blocks=self._differences(mine, theirs).size,
            proven_after=self._proven_after(mine, theirs),
            dropped_after=dropped[0] if dropped else None,
            beyond_margin=low is not None and low > self.rule.margin,
        )

    def findings(self) -> BlockFindings:
        """What the contest came to."""
        result = self.result
        days = _days(self.labels)
        rests_on = days[: result.blocks]
        fewest = fewest_differences(self.rule.spending_over_days(self._most_days))
        return BlockFindings(
            measured=len(self.labels),
            most=self.blocks.most,
            rests_on=result.blocks,
            first=self.labels[0],
            last=self.labels[result.blocks - 1],
            days=len(np.unique(rests_on)),
            kept_hosts=self.kept_hosts,
            general=self._general(days),
            fewest_days=fewest if fewest <= self._most_days else None,
            dropped=tuple(
                DroppedCandidate(
                    self.samples[x.candidate].name, self.samples[x.leader].name, x.block
                )
                for x in result.eliminations
            ),
            survivors=tuple(self.samples[k].name for k in result.survivors),
        )

    @property
    def _most_days(self) -> int:
        return -(-self.blocks.most // self.blocks.per_day)

    def _general(self, days: NDArray[np.int64]) -> bool:
        if self.result.winner is None:
            return False
        # The sums of days must be the same when more is measured.
        last_is_over = np.count_nonzero(days == days[-1]) >= self.blocks.per_day
        over = np.ones(days.size, dtype=np.bool_) if last_is_over else days < days[-1]
        return holds_in_general(
            self.log_p99[:, over],
            days[over],
            self.result.winner,
            self.rule,
            most_days=self._most_days,
            allowance=self.allowance,
        )

    def _index(self, sample: CandidateSample) -> int:
        return self.samples.index(sample)

    def _differences(self, leader: int, rival: int) -> Floats:
        """Rival minus leader until the decision."""
        differences = (self.log_p99[rival] - self.log_p99[leader])[: self.result.blocks]
        return np.asarray(differences[np.isfinite(differences)])

    def _proven_after(self, leader: int, rival: int) -> int | None:
        differences = (self.log_p99[rival] - self.log_p99[leader])[: self.result.blocks]
        there = np.flatnonzero(np.isfinite(differences))
        lead = differences[there] - self.allowance[leader, rival]
        at = first_rejection(lead, self.rule.spending)
        return None if at is None else int(there[at - 1]) + 1

    def _ends(self, leader: int, rival: int) -> tuple[float | None, float | None]:
        differences = self._differences(leader, rival)
        low = lower_bound(differences - self.allowance[leader, rival], self.rule.spending)
        high = lower_bound(-differences - self.allowance[rival, leader], self.rule.spending)
        return low, None if high is None else -high


def _has_kept_hosts(sample: CandidateSample) -> bool:
    names = [one.instance for run in sample.runs.values() for one in run.instances]
    return len(set(names)) < len(names)


def _allowance(
    samples: Sequence[CandidateSample], p99: Floats, rule: Decision, *, kept_hosts: bool
) -> Floats:
    """What constant errors explain, which more blocks do not average.

    With kept hosts the rival's p99 may be too high, and the leader's too low, by the bounds of
    their clocks together; an unknown bound counts as the largest that the experiment allows. Fresh
    hosts have other clocks in every block, whose errors are in the blocks' spread. The timestamps
    of the rival may be late on any host.
    """
    allowed = rule.constraints.clock_error_bound_sec if kept_hosts else 0.0
    bounds = [
        allowed if s.clock_bound is None or not kept_hosts else s.clock_bound for s in samples
    ]
    found = np.zeros((len(samples), len(samples)))
    for rival, (sample, row) in enumerate(zip(samples, p99, strict=True)):
        lowest = float(np.nanmin(row)) if np.isfinite(row).any() else 0.0
        for leader, bound in enumerate(bounds):
            off = bound + bounds[rival] + (sample.largest_lateness or 0.0)
            found[leader, rival] = -math.log1p(-off / lowest) if off < lowest else _EVERYTHING
    return found


def _days(labels: Sequence[str]) -> NDArray[np.int64]:
    return np.array(
        [int(parse_run_label(label).timestamp()) // SEC_PER_DAY for label in labels],
        dtype=np.int64,
    )
