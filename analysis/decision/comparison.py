"""Two places side by side: paired over the runs that both have.

All places see the same exchange at the same time, so the runs pair up by their label and what the
places share drops out of the difference. The run is the unit of evidence; what happens inside a
run only feeds the bootstrap.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.decision.verdict import Comparison, Interval, Margin, Relation
from latency_sweep.analysis.stats import inference
from latency_sweep.analysis.stats.dependence import Dependence, dependence
from latency_sweep.analysis.stats.resample import percentile_interval
from latency_sweep.analysis.wording import count, ms, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from latency_sweep.analysis.evidence.pool import Pool
    from latency_sweep.analysis.stats.resample import Bootstrap
    from latency_sweep.contract.experiment import Decision

    Floats = NDArray[np.float64]

# Chance of settling a difference as large as the one seen that the advice on more runs is for.
POWER = 0.8
# More runs than this are not advice that anyone can follow.
MAX_RUNS_ADVISED = 10_000


@dataclass(frozen=True, slots=True)
class Pairs:
    """The runs that two candidates share.

    Attributes:
        labels: `run` labels, in order.
        first: p99 of the first candidate in each, seconds.
        second: p99 of the second.
        windows: in each, what the tests would see of each of its windows; empty where the places
            are not cut alike.
    """

    labels: tuple[str, ...]
    first: Floats
    second: Floats
    windows: tuple[Floats, ...]

    @classmethod
    def of(cls, first: Pool, second: Pool, labels: Sequence[str] | None = None) -> Pairs:
        """Pair two candidates by run label.

        Args:
            first: one candidate.
            second: the other one.
            labels: only these runs; all if None.
        """
        wanted = first.runs if labels is None else labels
        shared = tuple(sorted(x for x in wanted if x in first.runs and x in second.runs))
        a = np.array([first.run_p99[label] for label in shared], dtype=np.float64)
        b = np.array([second.run_p99[label] for label in shared], dtype=np.float64)
        mine, theirs = first.window_p99, second.window_p99
        windows = tuple(_in_windows(mine[label], theirs[label]) for label in shared)
        return cls(shared, a, b, windows)

    @property
    def log_scale(self) -> bool:
        """Whether every p99 is positive, so that ratios mean something."""
        return bool(np.all(self.first > 0) and np.all(self.second > 0))

    @property
    def seconds(self) -> Floats:
        """Second minus first in each run."""
        return self.second - self.first

    @property
    def tested(self) -> Floats:
        """What the tests see: log ratios, or plain differences where a p99 is not positive."""
        return np.log(self.second / self.first) if self.log_scale else self.seconds

    def dependence(self, run_sec: float) -> Dependence:
        """What the differences share because runs of this length follow one another closely."""
        if not self.log_scale:
            return Dependence.none(len(self.labels))
        return dependence(self.labels, self.tested, self.windows, run_sec)


@dataclass(frozen=True, slots=True)
class Spread:
    """How the paired p99 differences of two candidates vary from run to run.

    Attributes:
        direction: mean of what the sign-flip test sees; its sign is what p speaks of.
        mean: mean difference, seconds; NaN without pairs.
        sd: its standard deviation, seconds; NaN with fewer than two pairs. Where runs follow one
            another too closely, that of so many independent runs whose mean varies as much.
    """

    direction: float
    mean: float
    sd: float

    @classmethod
    def of(cls, first: Pool, second: Pool, run_sec: float) -> Spread:
        """The spread between two candidates over all runs they share; see `compare`."""
        pairs = Pairs.of(first, second)
        seconds = pairs.seconds
        if not seconds.size:
            return cls(math.nan, math.nan, math.nan)
        stretch = pairs.dependence(run_sec).stretch(pairs.tested)
        sd = stretch * float(seconds.std(ddof=1)) if seconds.size > 1 else math.nan
        return cls(float(pairs.tested.mean()), float(seconds.mean()), sd)


def margin_between(first: Pool, second: Pool, rule: Decision) -> Margin:
    """How large a p99 difference must be to count, whatever a test says of it.

    No smaller than what the two clocks and the histogram can tell, and no smaller than the
    experiment's `equivalence_ratio` of the smaller p99. An unknown clock bound counts as the
    largest that the experiment allows.
    """
    allowed = rule.constraints.clock_error_bound_sec
    bounds = (first.clock_bound, second.clock_bound)
    clock = sum(allowed if bound is None else bound for bound in bounds)
    bucket = max(p.latency.bucket_width_at(p.p99) for p in (first, second))
    relevant = rule.equivalence_ratio * max(0.0, min(first.p99, second.p99))
    return Margin(max(relevant, clock + bucket), relevant, clock, bucket)


def compare(
    leader: Pool, rival: Pool, rule: Decision, bootstrap: Bootstrap, run_sec: float
) -> Comparison:
    """Everything known about a rival against the leader, before Holm's adjustment.

    Differences are rival minus leader. The relation is `UNDECIDED` until `conclude`.

    Args:
        leader: the place under test.
        rival: the other.
        rule: of the experiment.
        bootstrap: draws that all comparisons share.
        run_sec: how long a run is measured.
    """
    pairs = Pairs.of(leader, rival)
    size = len(pairs.labels)
    tested, seconds = pairs.tested, pairs.seconds
    mine, theirs = list(leader.run_p99.values()), list(rival.run_p99.values())
    smallest_u = inference.smallest_mann_whitney_p(len(mine), len(theirs))
    shared = pairs.dependence(run_sec)
    stretch = shared.stretch(tested)
    difference, interval = _pooled_difference(
        leader, rival, pairs.labels, rule, bootstrap, stretch=stretch
    )
    shift = inference.hodges_lehmann(seconds)
    ratio = math.expm1(inference.hodges_lehmann(tested)) if pairs.log_scale and size else None
    note = ""
    if smallest_u >= 1 - rule.confidence:
        note = (
            f"{len(mine)} against {len(theirs)} runs: Mann-Whitney cannot reach"
            f" p < {1 - rule.confidence:.2g}, its smallest p is {smallest_u:.2g}."
        )
    return Comparison(
        leader=leader.name,
        rival=rival.name,
        relation=Relation.UNDECIDED,
        pairs=size,
        effective_runs=size / stretch**2,
        p_sign_flip=inference.sign_flip_p(tested, shared.covariance),
        p_holm=None,
        p_signed_rank=inference.signed_rank_p(tested),
        p_mann_whitney=inference.mann_whitney_p(mine, theirs),
        smallest_p=inference.smallest_sign_flip_p(size),
        mann_whitney_smallest_p=smallest_u,
        mann_whitney_note=note,
        log_scale=pairs.log_scale,
        shift_sec=shift if size else None,
        shift_interval=_shift_interval(seconds, shift, rule.confidence, stretch) if size else None,
        shift_ratio=ratio,
        pooled_difference_sec=difference,
        pooled_interval=interval,
        cliffs_delta=inference.cliffs_delta(mine, theirs) if mine and theirs else None,
        score_difference=None,
        score_interval=None,
        margin=margin_between(leader, rival, rule),
        runs_needed=None,
        sentence="",
    )


def conclude(
    drafts: Sequence[Comparison], spreads: Sequence[Spread], rule: Decision
) -> list[Comparison]:
    """Adjust for the number of rivals and say what the evidence amounts to for each.

    BETTER (and WORSE): Holm's p below 1 - confidence, and the Hodges-Lehmann shift larger than
    the margin. EQUIVALENT: enough pairs that the test could have found a difference, and the
    interval of the pooled difference as well as the shift within the margin. Else UNDECIDED.

    Args:
        drafts: from `compare`, all against the same leader.
        spreads: of the same pairs, in the same order.
        rule: of the experiment.
    """
    adjusted = inference.holm([draft.p_sign_flip or 1.0 for draft in drafts])
    related = [
        dataclasses.replace(draft, p_holm=p, relation=_relation(draft, spread, p, rule))
        for draft, spread, p in zip(drafts, spreads, adjusted, strict=True)
    ]
    undecided = sum(c.relation is Relation.UNDECIDED for c in related)
    alpha = 1 - rule.confidence
    reach = _reach(len(related), rule)
    settled = []
    for comparison, spread in zip(related, spreads, strict=True):
        needed = None
        if comparison.relation is Relation.UNDECIDED:
            needed = _runs_needed(comparison, spread, alpha / undecided, reach)
        counted = dataclasses.replace(comparison, runs_needed=needed)
        settled.append(
            dataclasses.replace(counted, sentence=_sentence(counted, len(related), rule))
        )
    return settled


def _relation(draft: Comparison, spread: Spread, p: float, rule: Decision) -> Relation:
    margin, shift, alpha = draft.margin.total_sec, draft.shift_sec, 1 - rule.confidence
    if shift is None:
        return Relation.UNDECIDED
    # The shift is that of the differences in seconds, p is about their logarithms.
    agree = shift * spread.direction > 0
    if p < alpha and draft.pairs >= rule.min_runs and abs(shift) > margin and agree:
        return Relation.BETTER if shift > 0 else Relation.WORSE
    enough = draft.pairs >= max(rule.min_runs, inference.fewest_pairs(alpha))
    return Relation.EQUIVALENT if enough and _within(draft, margin) else Relation.UNDECIDED


def _pooled_difference(
    leader: Pool,
    rival: Pool,
    labels: tuple[str, ...],
    rule: Decision,
    bootstrap: Bootstrap,
    *,
    stretch: float,
) -> tuple[float | None, Interval | None]:
    if not labels:
        return None, None
    difference = rival.p99_over(labels) - leader.p99_over(labels)
    if len(labels) == 1:
        # One run has no spread between runs to resample.
        return difference, None
    draws = bootstrap.p99(rival, labels) - bootstrap.p99(leader, labels)
    low, high = percentile_interval(draws, len(labels), rule.confidence, stretch=stretch)
    return difference, Interval(low, high, rule.confidence)


def _shift_interval(seconds: Floats, shift: float, confidence: float, stretch: float) -> Interval:
    low, high = inference.hodges_lehmann_interval(seconds, confidence)
    if low is None or high is None:
        return Interval(None, None, confidence)
    return Interval(shift - stretch * (shift - low), shift + stretch * (high - shift), confidence)


def _in_windows(first: Floats, second: Floats) -> Floats:
    """Log ratios of the windows of a run; NaN where either is unknown or not positive."""
    if first.size != second.size:
        return np.empty(0)
    known = (first > 0) & (second > 0)
    ratios = np.full(first.size, np.nan)
    ratios[known] = np.log(second[known] / first[known])
    return ratios


def _within(comparison: Comparison, margin: float) -> bool:
    interval, shift = comparison.pooled_interval, comparison.shift_sec
    if interval is None or interval.low is None or interval.high is None or shift is None:
        return False
    return -margin <= interval.low and interval.high <= margin and abs(shift) <= margin


def _runs_needed(comparison: Comparison, spread: Spread, alpha: float, reach: int) -> int | None:
    """Pairs that would settle it either way, if mean and spread stay as they are."""
    if not math.isfinite(spread.sd):
        return reach
    margin, mean = comparison.margin.total_sec, abs(spread.mean)
    # Outside the margin a difference must be told from zero and the estimate from the margin,
    # inside it the interval must fit.
    effect = margin - mean if mean <= margin else min(mean, 2 * (mean - margin))
    needed = inference.pairs_for_difference(effect, spread.sd, alpha, POWER)
    if needed is None or needed > MAX_RUNS_ADVISED:
        return None
    return max(needed, reach, comparison.pairs + 1)


def _reach(rivals: int, rule: Decision) -> int:
    """The fewest pairs with which the test can beat all of so many rivals."""
    return max(rule.min_runs, inference.fewest_pairs(1 - rule.confidence, rivals))


def _sentence(comparison: Comparison, rivals: int, rule: Decision) -> str:
    leader, rival = comparison.leader, comparison.rival
    shift, p = comparison.shift_sec, comparison.p_holm
    if shift is None or p is None:
        return f"{leader} and {rival} have no usable run in common."
    relative = "" if comparison.shift_ratio is None else f", {percent(abs(comparison.shift_ratio))}"
    by = f"{ms(abs(shift))}{relative}"
    facts = f"p = {p:.2g} after Holm, n = {comparison.pairs}"
    if comparison.close_together:
        facts += f", worth about {comparison.effective_runs:.1f} spread out"
    margin = ms(comparison.margin.total_sec)
    alpha = 1 - rule.confidence
    if comparison.relation is Relation.BETTER:
        sentence = f"{leader} is faster than {rival} at p99 by {by} ({facts})."
    elif comparison.relation is Relation.WORSE:
        sentence = f"{rival} is faster than {leader} at p99 by {by} ({facts})."
    elif comparison.relation is Relation.EQUIVALENT:
        sentence = f"{leader} and {rival} differ by less than {margin}, which does not count."
    elif comparison.pairs < (reach := _reach(rivals, rule)):
        against = f"against {count(rivals, 'rival')} " if rivals > 1 else ""
        sentence = (
            f"{leader} and {rival} share {count(comparison.pairs, 'usable run')}: {against}no"
            f" difference can be proven at {percent(rule.confidence)} confidence with fewer than"
            f" {reach}."
        )
    elif p < alpha:
        sentence = (
            f"{leader} and {rival} differ by {by} ({facts}), which is not surely more than the"
            f" {margin} that count."
        )
    else:
        sentence = f"{leader} and {rival} cannot be told apart: {by} of difference ({facts})."
    return sentence
