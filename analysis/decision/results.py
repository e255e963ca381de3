"""What the tests found, as plain data: constraints of one candidate, differences between two.

Durations are seconds, ratios are plain numbers (0.05 is five per cent). A value of None means
"could not be computed"; no report may read it as good.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.block_results import Lead

# Effective numbers of runs below this share of their number say that runs are too close together.
_INDEPENDENT_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; an end that the data cannot bound is None."""

    low: float | None
    high: float | None
    confidence: float

    def within(self, margin: float) -> bool:
        """Whether both ends are known and no farther than the margin from zero."""
        return (
            self.low is not None
            and self.high is not None
            and -margin <= self.low
            and self.high <= margin
        )


class ConstraintStatus(StrEnum):
    """What the evidence says of one hard constraint at the configured confidence."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


class ValueBasis(StrEnum):
    """What a constraint's result rests on, or why there is no value."""

    MEASURED = "measured"
    NO_DATA = "no_data"
    NOT_COUNTED = "not_counted"
    NO_CONNECTED_TIME = "no_connected_time"
    P99_NOT_POSITIVE = "p99_not_positive"
    CLOCK_UNKNOWN = "clock_unknown"
    CLOCK_REFUTED = "clock_refuted"
    CLOCK_DOUBTED = "clock_doubted"


class Need(StrEnum):
    """The kind of evidence that would settle a constraint."""

    USABLE_RUNS = "usable_runs"
    SAMPLES = "samples"
    RUNS = "runs"
    CONNECTED_HOURS = "connected_hours"
    CONNECTED_RUNS = "connected_runs"
    MESSAGES = "messages"
    COUNTERS = "counters"
    CLOCK_BOUND = "clock_bound"
    BETTER_CLOCK = "better_clock"
    SYNCHRONIZED_CLOCK = "synchronized_clock"
    AGREEING_CLOCK = "agreeing_clock"
    UNDISPUTED_CLOCK = "undisputed_clock"


@dataclass(frozen=True, slots=True)
class Missing:
    """What evidence is missing to settle a constraint.

    Attributes:
        need: the kind of evidence.
        more: how much more of it, in samples, runs, hours or messages; None where the amount
            cannot be said.
    """

    need: Need
    more: float | None = None


@dataclass(frozen=True, slots=True)
class ConstraintResult:
    """One hard constraint on one candidate.

    Attributes:
        name: `p99`, `tail_ratio`, `reconnects`, `loss`, `samples`, `runs` or `clock`.
        status: proven to hold, proven to be broken, or neither.
        basis: whether it was measured, or why not.
        value: the point estimate, in `unit`; of a refuted clock the least error.
        interval: confidence interval of the value; None where the value is simply counted.
        limit: the threshold of the experiment, in `unit`.
        unit: `s`, `1/h`, `ratio`, `samples` or `runs`.
        p99_sec: pooled p99 of the candidate; None without data.
        samples: latency samples of the usable runs.
        runs: usable runs.
        runs_affected: of `runs`: number of excluded runs; of `reconnects` and `loss`: usable runs
            without the counters; of `clock`: usable runs in which it was not synchronised, or
            runs in which it was refuted or doubted; else 0.
        events: reconnects, or messages lost; None for other constraints and where not counted.
        exposure: connected hours, or messages sent; None likewise.
        lacking: what would settle it; None unless INSUFFICIENT.
        never_sent: of `loss`: messages missing that no instance received, not counted as lost;
            None for other constraints and where not known.
    """

    name: str
    status: ConstraintStatus
    basis: ValueBasis
    value: float | None
    interval: Interval | None
    limit: float
    unit: str
    p99_sec: float | None
    samples: int
    runs: int
    runs_affected: int
    events: int | None
    exposure: float | None
    lacking: Missing | None
    never_sent: int | None = None


class Relation(StrEnum):
    """What the evidence says of the leader against one rival."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Margin:
    """The smallest p99 difference that matters, and what it is made of.

    Attributes:
        total_sec: the larger of `relevant_sec` and the sum of the three others.
        relevant_sec: the smallest difference worth acting on, from the experiment.
        clock_sec: sum of the two candidates' clock bounds; 0 where they share one clock.
        bucket_sec: width of the histogram bucket at p99.
        timestamp_sec: most of a run's p99 that late timestamps can explain at one of the two; 0
            where that is not known.
    """

    total_sec: float
    relevant_sec: float
    clock_sec: float
    bucket_sec: float
    timestamp_sec: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """The leader against one rival. Differences are rival minus leader: positive is good.

    Attributes:
        leader: name of the candidate under test.
        rival: name of the other.
        rivals: number of rivals compared together, which Holm's adjustment is for.
        relation: better, worse, equivalent or undecided.
        leader_runs: usable runs of the leader.
        rival_runs: usable runs of the rival.
        pairs: runs that both have, the n of the tests.
        fewest_pairs: pairs below which no difference from so many rivals can be significant.
        effective_runs: effective number of runs; fewer than `pairs` where runs follow one
            another more closely than the difference between the candidates forgets.
        p_sign_flip: two-sided exact sign-flip test on paired differences of log p99.
        p_holm: the same, adjusted by Holm over all rivals; this one decides.
        p_signed_rank: two-sided exact signed-rank test, for comparison.
        p_mann_whitney: two-sided exact Mann-Whitney U over run p99s, unpaired, for comparison.
        smallest_p: smallest p that this many pairs can reach in the sign-flip test.
        mann_whitney_smallest_p: the same for Mann-Whitney.
        log_scale: False if a p99 was not positive and plain differences were tested instead.
        shift_sec: Hodges-Lehmann estimate of the paired p99 difference.
        shift_interval: its exact interval (signed-rank inversion).
        shift_ratio: Hodges-Lehmann estimate as a ratio of the leader's p99 (0.05: 5 % more).
        pooled_difference_sec: difference of the pooled p99s over the paired runs.
        pooled_interval: its bootstrap interval: runs, then blocks of windows within them.
        cliffs_delta: -1 to 1; 1 means every run of the rival is slower than every leader's.
        score_difference: difference of scores, rival minus leader.
        score_interval: its bootstrap interval; None where it could not be made.
        margin: the smallest difference that matters.
        runs_needed: paired runs that would settle it at the observed variance (80 % power);
            None if settled, or if it cannot be said.
        confidence: that of the intervals and the test.
        lead: what decides instead where runs are random blocks; else None.
    """

    leader: str
    rival: str
    rivals: int
    relation: Relation
    leader_runs: int
    rival_runs: int
    pairs: int
    fewest_pairs: int
    effective_runs: float
    p_sign_flip: float
    p_holm: float
    p_signed_rank: float
    p_mann_whitney: float
    smallest_p: float
    mann_whitney_smallest_p: float
    log_scale: bool
    shift_sec: float | None
    shift_interval: Interval | None
    shift_ratio: float | None
    pooled_difference_sec: float | None
    pooled_interval: Interval | None
    cliffs_delta: float | None
    score_difference: float | None
    score_interval: Interval | None
    margin: Margin
    runs_needed: int | None
    confidence: float
    lead: Lead | None

    @property
    def close_together(self) -> bool:
        """Whether the runs follow one another so closely that it costs evidence."""
        return self.effective_runs < _INDEPENDENT_SHARE * self.pairs
