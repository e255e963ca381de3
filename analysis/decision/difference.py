"""The p99 difference between two samples of runs: measured, tested, and related within a family.

Two candidates of one sweep, or one candidate in two sweeps, are compared in the same way: make a
sample of each pair, test it, adjust the p-values of all tests of the family together, and only then
say what each amounts to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.decision.results import Margin, Relation
from latency_sweep.analysis.stats import inference
from latency_sweep.analysis.stats.dependence import Dependence, dependence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from latency_sweep.analysis.decision.results import Interval
    from latency_sweep.analysis.evidence.sample import CandidateSample
    from latency_sweep.contract.experiment import Decision

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairedSample:
    """p99 of two candidates in the runs that both have.

    All instances see the same exchange at the same time, so runs pair up by their label and what
    the candidates share drops out of the difference.

    Attributes:
        labels: `run` labels, in order.
        first: p99 of the first candidate in each, seconds.
        second: p99 of the second.
        windows: in each, what the tests would see of each of its windows; empty where the
            candidates are not cut alike.
    """

    labels: tuple[str, ...]
    first: Floats
    second: Floats
    windows: tuple[Floats, ...]

    @classmethod
    def of(
        cls,
        first: CandidateSample,
        second: CandidateSample,
        labels: Sequence[str] | None = None,
    ) -> PairedSample:
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
class DifferenceTest:
    """One difference, tested by itself: second minus first, so positive is slower.

    Attributes:
        first_runs: runs of the first side that were tested.
        second_runs: runs of the second side.
        p_value: two-sided exact p: sign-flip if paired, else Mann-Whitney.
        smallest_p: the smallest p that so many runs can give.
        direction: a number with the sign of the tested difference.
        shift_sec: typical difference of a run's p99 (Hodges-Lehmann); None without runs.
        shift_ratio: the same as a ratio of the first side's p99; None where that is not positive.
        interval: bootstrap interval of the difference of pooled p99; None where there is none.
        margin: the smallest difference that matters.
    """

    first_runs: int
    second_runs: int
    p_value: float
    smallest_p: float
    direction: float
    shift_sec: float | None
    shift_ratio: float | None
    interval: Interval | None
    margin: Margin

    @classmethod
    def paired(
        cls, sample: PairedSample, shared: Dependence, interval: Interval | None, margin: Margin
    ) -> DifferenceTest:
        """Test the runs that both sides have.

        Args:
            sample: the pairs.
            shared: what their differences share.
            interval: of the difference of pooled p99.
            margin: the smallest difference that matters.
        """
        size = len(sample.labels)
        shift = ratio = None
        if size:
            shift = inference.hodges_lehmann(sample.seconds)
            if sample.log_scale:
                ratio = math.expm1(inference.hodges_lehmann(sample.tested))
        return cls(
            first_runs=size,
            second_runs=size,
            p_value=inference.sign_flip_p(sample.tested, shared.covariance),
            smallest_p=inference.smallest_sign_flip_p(size),
            direction=float(sample.tested.mean()) if size else 0.0,
            shift_sec=shift,
            shift_ratio=ratio,
            interval=interval,
            margin=margin,
        )

    @classmethod
    def unpaired(
        cls, first: Floats, second: Floats, interval: Interval | None, margin: Margin
    ) -> DifferenceTest:
        """Test the runs of one side against those of the other.

        Args:
            first: p99 of each run of the first side, seconds.
            second: likewise.
            interval: of the difference of pooled p99.
            margin: the smallest difference that matters.
        """
        shift = ratio = None
        if first.size and second.size:
            shift = float(np.median(np.subtract.outer(second, first)))
            level = float(np.median(first))
            ratio = shift / level if level > 0 else None
        return cls(
            first_runs=first.size,
            second_runs=second.size,
            p_value=inference.mann_whitney_p(first, second),
            smallest_p=inference.smallest_mann_whitney_p(first.size, second.size),
            direction=shift or 0.0,
            shift_sec=shift,
            shift_ratio=ratio,
            interval=interval,
            margin=margin,
        )

    def relation(self, p: float, rule: Decision) -> Relation:
        """What the difference says of the first side against the second.

        BETTER (and WORSE): p below 1 - confidence, and the shift larger than the margin.
        EQUIVALENT: enough runs that the test could have found a difference, and the interval of
        the pooled difference as well as the shift within the margin. Else UNDECIDED.

        Args:
            p: adjusted for the family.
            rule: of the experiment.
        """
        alpha, shift, margin = 1 - rule.confidence, self.shift_sec, self.margin.total_sec
        if shift is None or min(self.first_runs, self.second_runs) < rule.min_runs:
            return Relation.UNDECIDED
        # The shift is that of the differences in seconds, p may be about their logarithms.
        agree = shift * self.direction > 0
        if p < alpha and abs(shift) > margin and agree:
            return Relation.BETTER if shift > 0 else Relation.WORSE
        within = abs(shift) <= margin and self.interval is not None and self.interval.within(margin)
        if self.smallest_p < alpha and within:
            return Relation.EQUIVALENT
        return Relation.UNDECIDED


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A test among the others of its family: Holm's p, and what it amounts to."""

    test: DifferenceTest
    p_holm: float
    relation: Relation


def adjust(tests: Sequence[DifferenceTest], rule: Decision) -> list[Adjusted]:
    """Adjust the p-values of a family of tests by Holm, and relate the sides of each."""
    adjusted = inference.holm([test.p_value for test in tests])
    return [
        Adjusted(test, p, test.relation(p, rule)) for test, p in zip(tests, adjusted, strict=True)
    ]


def margin_between(first: CandidateSample, second: CandidateSample, rule: Decision) -> Margin:
    """How large a p99 difference must be to matter, whatever a test says of it.

    No smaller than what the two clocks, the timestamps and the histogram can tell, and no smaller
    than the experiment's `equivalence_ratio` of the smaller p99. Late timestamps move a p99 one
    way only, so that of two candidates the later one counts. An unknown clock bound counts as the
    largest that the experiment allows.
    """
    allowed = rule.constraints.clock_error_bound_sec
    bounds = (first.clock_bound, second.clock_bound)
    clock = sum(allowed if bound is None else bound for bound in bounds)
    bucket = max(p.latency.bucket_width_at(p.p99) for p in (first, second))
    relevant = rule.equivalence_ratio * max(0.0, min(first.p99, second.p99))
    late = max(p.largest_lateness or 0.0 for p in (first, second))
    return Margin(max(relevant, clock + bucket + late), relevant, clock, bucket, late)


def _in_windows(first: Floats, second: Floats) -> Floats:
    """Log ratios of the windows of a run; NaN where either is unknown or not positive."""
    if first.size != second.size:
        return np.empty(0)
    known = (first > 0) & (second > 0)
    ratios = np.full(first.size, np.nan)
    ratios[known] = np.log(second[known] / first[known])
    return ratios
