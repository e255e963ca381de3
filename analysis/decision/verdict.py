"""The verdict: what was decided, and every number it rests on, as plain data for the reports.

Durations are seconds, ratios are plain numbers (0.05 is five per cent), money is USD. A value of
None means "could not be computed"; no report may read it as good. Sentences are made from these
records by the reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.block_results import BlockFindings
    from latency_sweep.analysis.decision.results import (
        Comparison,
        ConstraintResult,
        ConstraintStatus,
        Interval,
        Relation,
    )
    from latency_sweep.analysis.evidence.records import Candidate, EvidenceSelection
    from latency_sweep.analysis.evidence.same_event_differences import SameEventDifference


class VerdictKind(StrEnum):
    """How the sweep ended."""

    WINNER = "winner"
    SHORTLIST = "shortlist"
    TIE = "tie"
    INCONCLUSIVE = "inconclusive"
    NONE_PASSES = "none_passes"


class VerdictBasis(StrEnum):
    """Which case of the rule the verdict is."""

    NO_USABLE_RUN = "no_usable_run"
    ALL_FAIL = "all_fail"
    NONE_PROVEN = "none_proven"
    ONLY_CANDIDATE = "only_candidate"
    ONLY_ONE_PASSES = "only_one_passes"
    OPEN_QUESTIONS = "open_questions"
    ALL_BLOCKS_MEASURED = "all_blocks_measured"
    EQUIVALENT_RIVALS = "equivalent_rivals"
    BETTER_THAN_EVERY_RIVAL = "better_than_every_rival"


class ObstacleKind(StrEnum):
    """What keeps the leader from winning."""

    FASTER_RIVAL = "faster_rival"
    FASTER_UNPROVEN_RIVAL = "faster_unproven_rival"
    UNDECIDED_RIVAL = "undecided_rival"
    EQUIVALENT_UNPROVEN_RIVAL = "equivalent_unproven_rival"
    STRATUM_WITHOUT_RUNS = "stratum_without_runs"
    RIVAL_AHEAD_IN_STRATUM = "rival_ahead_in_stratum"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why the leader is not the winner; `subject` is a rival or a time stratum."""

    kind: ObstacleKind
    subject: str


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
        negative: events timestamped later than received; None if unknown.
        hours: connected instance-hours.
        coverage: share of expected scrapes that succeeded.
        clock_error_bound_sec: largest clock bound in the run, or None if never known.
        p50_lateness_sec: largest part of p50 that late timestamps can explain; None if not known or
            without bound, as the next two.
        p99_lateness_sec: see `p50_lateness_sec`.
        p999_lateness_sec: see `p50_lateness_sec`.
    """

    run: str
    stratum: str | None
    used: bool
    reasons: tuple[str, ...]
    samples: int
    p50_sec: float | None
    p99_sec: float | None
    p99_interval: Interval | None
    negative: int | None
    hours: float | None
    coverage: float | None
    clock_error_bound_sec: float | None
    p50_lateness_sec: float | None
    p99_lateness_sec: float | None
    p999_lateness_sec: float | None


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One instance of a candidate over all used runs: placement on a host matters."""

    instance: str
    az_id: str | None
    runs: int
    samples: int
    p50_sec: float | None
    p99_sec: float | None


class GravitonFinding(StrEnum):
    """What the Graviton preference rests on."""

    FASTER = "faster"
    EQUIVALENT = "equivalent"
    SLOWER = "slower"
    NOT_SHOWN_EQUIVALENT = "not_shown_equivalent"
    NO_X86 = "no_x86"
    NOT_ARM = "not_arm"
    UNKNOWN_ARCHITECTURE = "unknown_architecture"


@dataclass(frozen=True, slots=True)
class PreferenceParts:
    """Soft preferences of one candidate; each part is 0 (nothing) to 1 (full credit).

    Attributes:
        cost: cost efficiency among those ranked; None without a price.
        redundancy: n / (n + 1) for n failovers within reach: other zones of the region and other
            regions; None where candidates are not distinguished by region.
        other_zones: zones counted for it.
        other_regions: regions counted for it.
        within_sec: how much slower at p99 a failover may be.
        graviton: 1 for an Arm type shown equivalent to or better than the best x86 of its region.
        graviton_finding: what that rests on.
        best_x86: name of the best x86 candidate of the region; None if it was not compared.
        credit: the weighted sum that is taken off the score.
    """

    cost: float | None
    redundancy: float | None
    other_zones: int
    other_regions: int
    within_sec: float
    graviton: float | None
    graviton_finding: GravitonFinding
    best_x86: str | None
    credit: float


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """Everything about one candidate, pooled over its used runs, symbols, streams and instances.

    Attributes:
        candidate: which one.
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
        lost: messages lost on the way; None if unknown.
        never_sent: messages missing that no instance received, not lost; None if unknown.
        reconnects: unplanned reconnects; None if unknown.
        hours: connected instance-hours.
        runs_used: number of runs used.
        runs_excluded: number of runs excluded.
        runs: every run, used or not.
        clock_error_bound_sec: largest bound over the used runs; None if never known.
        score: the score, lower is better; None without data.
        score_p99_part: weighted p99 term of the score.
        score_stability_part: weighted stability term of the score.
        adjusted_score: score minus the credit of the soft preferences.
        preferences: the soft preferences; None where they are not weighed.
        usd_per_hour: on-demand price of one instance, or None.
        strata_p99_sec: pooled p99 by time stratum, where there is data.
        instances: each instance on its own.
        p50_lateness_sec: largest part of the pooled p50 that late timestamps can explain; None if
            not known or without bound, as the next two.
        p99_lateness_sec: see `p50_lateness_sec`.
        p999_lateness_sec: see `p50_lateness_sec`.
        timestamp_kinds: where the receive timestamps came from; empty if not known.
    """

    candidate: Candidate
    name: str
    rank: int
    status: ConstraintStatus
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
    never_sent: int | None
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
    preferences: PreferenceParts | None
    usd_per_hour: float | None
    strata_p99_sec: dict[str, float]
    instances: tuple[InstanceRow, ...]
    p50_lateness_sec: float | None
    p99_lateness_sec: float | None
    p999_lateness_sec: float | None
    timestamp_kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StratumRow:
    """One time stratum by itself.

    Attributes:
        name: of the stratum; `""` for runs outside all strata.
        required: whether the experiment demands it.
        starts: UTC time of day at which it starts, `06:00`; None unless required.
        ends: UTC time of day at which it ends; None likewise.
        runs: paired runs of the candidates in it (the fewest over the rivals).
        fastest: name of the leader or rival with the lowest p99 in it, or None.
        shift_sec: Hodges-Lehmann p99 difference of the closest rival against the leader;
            negative where the rival is faster.
        closest_rival: that rival.
        consistent: no rival is ahead here by more than the margin; None without data.
        p99_sec: pooled p99 per candidate name.
    """

    name: str
    required: bool
    starts: str | None
    ends: str | None
    runs: int
    fastest: str | None
    shift_sec: float | None
    closest_rival: str | None
    consistent: bool | None
    p99_sec: dict[str, float]


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """The best score under a changed rule: would another candidate have come first?"""

    name: str
    weight_p99: float
    weight_stability: float
    best: str | None
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
    run_cycle_sec: int
    seed: int
    prices_date: str
    prices_source: str
    prices_verified: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conclusion, and all the numbers behind it.

    Attributes:
        kind: winner, shortlist, tie, inconclusive or none passes.
        basis: which case of the rule it is.
        winner: name of the winner; None unless WINNER.
        tied: names that cannot be told apart; of a TIE the best by soft preferences first, of a
            SHORTLIST the leader first and then the closest; else empty.
        leader: name of the candidate under test; None if there was none.
        obstacles: what keeps the leader from winning, the weightiest first.
        ranking: every candidate, best first.
        comparisons: the leader against each rival that may still win, closest first.
        strata: time strata, required ones first.
        sensitivity: the best score under changed rules.
        change_points: level shifts inside runs.
        selection: which evidence was asked for.
        rule: the numbers it was decided under.
        source: where the evidence came from.
        source_warnings: what the source of the evidence warned of.
        approximate: whether histograms were rebuilt from percentiles.
        same_events: receive times of the same events at two hosts; empty but for recordings.
        blocks: the contest, where runs are random blocks and there is a leader; else None.
    """

    kind: VerdictKind
    basis: VerdictBasis
    winner: str | None
    tied: tuple[str, ...]
    leader: str | None
    obstacles: tuple[Obstacle, ...]
    ranking: tuple[CandidateRow, ...]
    comparisons: tuple[Comparison, ...]
    strata: tuple[StratumRow, ...]
    sensitivity: tuple[SensitivityRow, ...]
    change_points: tuple[ChangePoint, ...]
    selection: EvidenceSelection
    rule: Rule
    source: str
    source_warnings: tuple[str, ...]
    approximate: bool
    same_events: tuple[SameEventDifference, ...]
    blocks: BlockFindings | None

    def status_of(self, name: str) -> ConstraintStatus:
        """Whether a candidate passes the hard constraints."""
        return next(row.status for row in self.ranking if row.name == name)

    def comparison_with(self, rival: str) -> Comparison:
        """The leader against one rival."""
        return next(c for c in self.comparisons if c.rival == rival)

    def related(self, relation: Relation) -> tuple[Comparison, ...]:
        """The comparisons that came out in one way."""
        return tuple(c for c in self.comparisons if c.relation is relation)
