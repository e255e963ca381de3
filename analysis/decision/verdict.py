"""The verdict: what was decided, and every number it rests on, as plain data for the reports.

Durations are seconds, ratios are plain numbers (0.05 is five per cent), money is USD. A value of
None means "could not be computed"; no report may read it as good. All records are frozen and
`as_json` turns any of them into what `json.dumps` accepts.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from latency_sweep.analysis.evidence.records import Candidate, Scope


# Runs that are worth less than this share of their number are said to be too close together.
_SPREAD_OUT: Final = 0.9


class VerdictKind(StrEnum):
    """How the sweep ended."""

    WINNER = "winner"
    TIE = "tie"
    INCONCLUSIVE = "inconclusive"
    NONE_PASSES = "none_passes"


class Status(StrEnum):
    """What the evidence says of one hard constraint at the configured confidence."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


class Relation(StrEnum):
    """What the evidence says of the leader against one rival."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; an end that the data cannot bound is None."""

    low: float | None
    high: float | None
    confidence: float


@dataclass(frozen=True, slots=True)
class ConstraintResult:
    """One hard constraint on one candidate.

    Attributes:
        name: `p99`, `tail_ratio`, `reconnects`, `loss`, `samples`, `runs` or `clock`.
        status: proven to hold, proven to be broken, or neither.
        value: the point estimate, in `unit`.
        interval: confidence interval of the value; None where the value is simply counted.
        limit: the threshold of the experiment, in `unit`.
        unit: `s`, `1/h`, `ratio`, `samples` or `runs`.
        evidence: one sentence with the numbers.
        missing: one sentence that says what evidence is missing; empty unless INSUFFICIENT.
    """

    name: str
    status: Status
    value: float | None
    interval: Interval | None
    limit: float
    unit: str
    evidence: str
    missing: str = ""


@dataclass(frozen=True, slots=True)
class RunPoint:
    """One run of one candidate, for plots and for the list of exclusions.

    Attributes:
        run: the `run` label, UTC start of the measurement.
        stratum: time stratum, or None.
        used: whether the decision used it.
        reasons: why it was not used; empty if it was.
        samples: latency samples.
        p50_sec: median latency.
        p99_sec: 99th percentile latency.
        p99_interval: order-statistic interval of p99, samples taken as independent.
        hours: connected instance-hours.
        coverage: share of expected scrapes that succeeded.
        clock_error_bound_sec: largest clock bound in the run, or None if never known.
    """

    run: str
    stratum: str | None
    used: bool
    reasons: tuple[str, ...]
    samples: int
    p50_sec: float | None
    p99_sec: float | None
    p99_interval: Interval | None
    hours: float | None
    coverage: float | None
    clock_error_bound_sec: float | None


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """One instance of a candidate over all used runs: placement on a host matters."""

    instance: str
    az_id: str
    runs: int
    samples: int
    p50_sec: float | None
    p99_sec: float | None


@dataclass(frozen=True, slots=True)
class PreferenceParts:
    """Soft preferences of one candidate; each part is 0 (nothing) to 1 (full credit).

    Attributes:
        cost: cost efficiency among those ranked; None without a price.
        redundancy: n / (n + 1) for n failovers within reach: other zones of the region and other
            regions; None where candidates are not told apart by region.
        graviton: 1 for an Arm type shown equivalent to or better than the best x86 of its region.
        credit: the weighted sum that is taken off the score.
        notes: one sentence per part.
    """

    cost: float | None
    redundancy: float | None
    graviton: float | None
    credit: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """Everything about one candidate, pooled over its used runs, symbols, streams and replicas.

    Attributes:
        candidate: which place.
        name: its readable name.
        rank: 1 for the best; those that pass come first, then by score.
        status: PASS if every constraint passes, FAIL if one fails, else INSUFFICIENT.
        constraints: each hard constraint.
        samples: latency samples.
        p50_sec: pooled percentiles of all samples, uncapped, as are the next four.
        p90_sec: see `p50_sec`.
        p95_sec: see `p50_sec`.
        p99_sec: see `p50_sec`.
        p999_sec: see `p50_sec`.
        p99_interval: interval of p99 at the configured confidence, as the constraint used it.
        p999_interval: likewise for p99.9.
        mean_sec: mean with outliers capped.
        sd_sec: standard deviation with outliers capped.
        cv: sd / mean; None if the mean is not positive.
        negative: events timestamped later than received.
        messages: messages received.
        lost: messages known to be missing; None if unknown.
        reconnects: unplanned reconnects; None if unknown.
        hours: connected instance-hours.
        runs_used: number of runs used.
        runs_excluded: number of runs kept out.
        runs: every run, used or not.
        clock_error_bound_sec: largest bound over the used runs; None if never known.
        score: the score, lower is better; None without data.
        score_p99_part: weighted p99 term of the score.
        score_stability_part: weighted stability term of the score.
        adjusted_score: score minus the credit of the soft preferences.
        preferences: the soft preferences.
        usd_per_hour: on-demand price of one instance, or None.
        strata_p99_sec: pooled p99 by time stratum, where there is data.
        replicas: each instance by itself.
    """

    candidate: Candidate
    name: str
    rank: int
    status: Status
    constraints: tuple[ConstraintResult, ...]
    samples: int
    p50_sec: float | None
    p90_sec: float | None
    p95_sec: float | None
    p99_sec: float | None
    p999_sec: float | None
    p99_interval: Interval | None
    p999_interval: Interval | None
    mean_sec: float | None
    sd_sec: float | None
    cv: float | None
    negative: int | None
    messages: int | None
    lost: int | None
    reconnects: int | None
    hours: float | None
    runs_used: int
    runs_excluded: int
    runs: tuple[RunPoint, ...]
    clock_error_bound_sec: float | None
    score: float | None
    score_p99_part: float | None
    score_stability_part: float | None
    adjusted_score: float | None
    preferences: PreferenceParts
    usd_per_hour: float | None
    strata_p99_sec: dict[str, float]
    replicas: tuple[ReplicaRow, ...]


@dataclass(frozen=True, slots=True)
class Margin:
    """How large a p99 difference must be to count, and what that is made of.

    Attributes:
        total_sec: the larger of `relevant_sec` and clock bounds plus bucket width.
        relevant_sec: the smallest difference worth acting on, from the experiment.
        clock_sec: sum of the two candidates' clock bounds; 0 where they share one clock.
        bucket_sec: width of the histogram bucket at p99.
    """

    total_sec: float
    relevant_sec: float
    clock_sec: float
    bucket_sec: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The leader against one rival. Differences are rival minus leader: positive is good.

    Attributes:
        leader: name of the place under test.
        rival: name of the other.
        relation: better, worse, equivalent or undecided.
        pairs: runs that both have, the n of the tests.
        effective_runs: effective number of runs; fewer than `pairs` where runs follow one
            another more closely than the difference between the places forgets.
        p_sign_flip: two-sided exact sign-flip test on paired differences of log p99.
        p_holm: the same, adjusted by Holm over all rivals; this one decides.
        p_signed_rank: two-sided exact signed-rank test, for comparison.
        p_mann_whitney: two-sided exact Mann-Whitney U over run p99s, unpaired, for comparison.
        smallest_p: smallest p that this many pairs can reach in the sign-flip test.
        mann_whitney_smallest_p: the same for Mann-Whitney.
        mann_whitney_note: says so when it cannot reach significance; else empty.
        log_scale: False if a p99 was not positive and plain differences were tested instead.
        shift_sec: Hodges-Lehmann estimate of the paired p99 difference.
        shift_interval: its exact interval (signed-rank inversion).
        shift_ratio: Hodges-Lehmann estimate as a ratio of the leader's p99 (0.05: 5 % more).
        pooled_difference_sec: difference of the pooled p99s over the paired runs.
        pooled_interval: its bootstrap interval: runs, then blocks of windows within them.
        cliffs_delta: -1 to 1; 1 means every run of the rival is slower than every leader's.
        score_difference: difference of scores, rival minus leader.
        score_interval: its bootstrap interval; None where it could not be made.
        margin: the difference that counts.
        runs_needed: paired runs that would settle it at the observed variance (80 % power);
            None if settled, or if it cannot be said.
        sentence: the finding in words.
    """

    leader: str
    rival: str
    relation: Relation
    pairs: int
    effective_runs: float
    p_sign_flip: float | None
    p_holm: float | None
    p_signed_rank: float | None
    p_mann_whitney: float | None
    smallest_p: float
    mann_whitney_smallest_p: float | None
    mann_whitney_note: str
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
    sentence: str

    @property
    def close_together(self) -> bool:
        """Whether the runs follow one another so closely that it costs evidence."""
        return self.effective_runs < _SPREAD_OUT * self.pairs


@dataclass(frozen=True, slots=True)
class StratumRow:
    """One time stratum by itself.

    Attributes:
        name: of the stratum; `""` for runs outside all strata.
        required: whether the experiment demands it.
        runs: paired runs of the candidates in it (the fewest over the passing candidates).
        leader: name of the passing candidate with the lowest typical p99 in it, or None.
        shift_sec: Hodges-Lehmann p99 difference of the closest rival against the leader;
            negative where the leader loses.
        closest_rival: that rival.
        consistent: the leader is not beaten here by more than the margin; None without data.
        p99_sec: pooled p99 per candidate name.
    """

    name: str
    required: bool
    runs: int
    leader: str | None
    shift_sec: float | None
    closest_rival: str | None
    consistent: bool | None
    p99_sec: dict[str, float]


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """The ranking under a changed rule: would another place have come first?"""

    name: str
    weight_p99: float
    weight_stability: float
    leader: str | None
    changed: bool


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A level shift inside one run of one candidate.

    Attributes:
        candidate: name of the candidate.
        run: the `run` label.
        window: index of the first window of the new level.
        windows: windows in the run.
        before_sec: median of the windows' medians before it.
        after_sec: the same from it on.
        p_value: Pettitt's approximate two-sided p, allowing for autocorrelation, adjusted by Holm
            over all runs looked at.
    """

    candidate: str
    run: str
    window: int
    windows: int
    before_sec: float
    after_sec: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Rule:
    """The numbers of the experiment that the verdict was made under, to repeat it."""

    confidence: float
    min_runs: int
    weight_p99: float
    weight_stability: float
    preference_cost: float
    preference_redundancy: float
    preference_graviton: float
    outlier_cap_percentile: float
    relevant_difference_ratio: float
    redundancy_within_sec: float
    bootstrap_resamples: int
    required_strata: tuple[str, ...]
    seed: int
    prices_date: str | None
    prices_source: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, its reasons, and all the numbers behind it.

    Attributes:
        kind: winner, tie, inconclusive or none passes.
        winner: name of the winner; None unless WINNER.
        tied: names that cannot be told apart, best by soft preferences first; empty unless TIE.
        leader: the place that was put to the test; None if there was none.
        sentence: the verdict in one sentence.
        reasons: why, one sentence each, the weightiest first.
        next_steps: what would settle it, or what to do with it.
        ranking: every candidate, best first.
        comparisons: the leader against each rival that may still win, closest first.
        strata: time strata, required ones first.
        sensitivity: the ranking under changed rules.
        change_points: level shifts inside runs.
        scope: what was asked for.
        rule: the numbers it was decided under.
        source: where the evidence came from.
        warnings: what was odd, for the reader to judge.
    """

    kind: VerdictKind
    winner: str | None
    tied: tuple[str, ...]
    leader: str | None
    sentence: str
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]
    ranking: tuple[CandidateRow, ...]
    comparisons: tuple[Comparison, ...]
    strata: tuple[StratumRow, ...]
    sensitivity: tuple[SensitivityRow, ...]
    change_points: tuple[ChangePoint, ...]
    scope: Scope
    rule: Rule
    source: str
    warnings: tuple[str, ...]


def as_json(record: Any) -> Any:
    """A record of this module as what JSON knows: dicts, lists, strings, finite numbers, None.

    Infinite and undefined numbers become None, since JSON has no words for them.
    """
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: as_json(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, dict):
        return {str(key): as_json(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [as_json(value) for value in record]
    if isinstance(record, StrEnum):
        return record.value
    if isinstance(record, float):
        return record if math.isfinite(record) else None
    return record
