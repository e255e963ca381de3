"""Hard constraints: proven to hold, proven to be broken, or not enough evidence to say.

A limit on a count is tested with one-sided exact bounds at the configured confidence, a limit on
a quantile with a two-sided interval of the same confidence. PASS needs the whole interval within
the limit, FAIL the whole interval beyond it. What is not known is never a pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.decision.results import (
    ConstraintResult,
    ConstraintStatus,
    Interval,
    Missing,
    Need,
    ValueBasis,
)
from latency_sweep.analysis.evidence.records import total
from latency_sweep.analysis.evidence.sample import P99, P999
from latency_sweep.analysis.stats import intervals
from latency_sweep.analysis.stats.resample import percentile_interval

if TYPE_CHECKING:
    from latency_sweep.analysis.evidence.sample import CandidateSample
    from latency_sweep.analysis.stats.resample import Bootstrap
    from latency_sweep.contract.experiment import Decision

    _Ends = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Intervals of p99, p99.9 and their ratio; None where there is no observation."""

    p99: Interval
    p999: Interval
    ratio: Interval


def quantile_intervals(
    sample: CandidateSample, bootstrap: Bootstrap, confidence: float
) -> Quantiles:
    """Intervals that neither few samples nor few runs make too narrow.

    Order statistics say what so many samples can prove if they were independent. Samples of one
    minute and of one run are alike, so the bootstrap of runs and blocks of windows says what so
    many runs can prove. Each end is the outer one of the two.

    The ratio's ends from order statistics are ratios of opposite ends: each misses with half the
    error, so by Bonferroni their ratio is a one-sided bound at the full confidence.
    """
    p99 = intervals.quantile_interval(sample.latency, P99, confidence)
    p999 = intervals.quantile_interval(sample.latency, P999, confidence)
    ratio = (_ratio(p999[0], p99[1]), _ratio(p999[1], p99[0]))
    if sample.runs:
        labels = tuple(sample.runs)
        draws = bootstrap.p99(sample, labels), bootstrap.p999(sample, labels)
        runs = len(labels)
        p99 = _outer(p99, percentile_interval(draws[0], runs, confidence))
        p999 = _outer(p999, percentile_interval(draws[1], runs, confidence))
        if np.all(draws[0] > 0):
            ratio = _outer(ratio, percentile_interval(draws[1] / draws[0], runs, confidence))
    return Quantiles(*(Interval(low, high, confidence) for low, high in (p99, p999, ratio)))


def _outer(first: _Ends, second: _Ends) -> _Ends:
    """The lower of two lower ends and the higher of two upper ends; open if one is."""
    low = None if first[0] is None or second[0] is None else min(first[0], second[0])
    high = None if first[1] is None or second[1] is None else max(first[1], second[1])
    return low, high


def check(
    sample: CandidateSample, rule: Decision, quantiles: Quantiles
) -> tuple[ConstraintResult, ...]:
    """Every hard constraint on one candidate."""
    return (
        _p99(sample, rule, quantiles),
        _tail_ratio(sample, rule, quantiles),
        _reconnects(sample, rule),
        _loss(sample, rule),
        _samples(sample, rule),
        _runs(sample, rule),
        _clock(sample, rule),
    )


def overall(results: tuple[ConstraintResult, ...]) -> ConstraintStatus:
    """FAIL if any constraint is broken, PASS if all hold, else INSUFFICIENT."""
    seen = {result.status for result in results}
    if ConstraintStatus.FAIL in seen:
        return ConstraintStatus.FAIL
    return (
        ConstraintStatus.INSUFFICIENT
        if ConstraintStatus.INSUFFICIENT in seen
        else ConstraintStatus.PASS
    )


def _p99(sample: CandidateSample, rule: Decision, quantiles: Quantiles) -> ConstraintResult:
    make = _Maker(sample, "p99", rule.constraints.p99_sec, "s")
    if not math.isfinite(sample.p99):
        return make.no_data()
    interval = quantiles.p99
    # The latency is only as certain as the clock, and smaller than read if timestamps are late.
    clock, late = sample.clock_bound or 0.0, sample.lateness(P99) or 0.0
    status = _judge(_plus(interval.low, -clock - late), _plus(interval.high, clock), make.limit)
    missing = _missing_samples(sample, P99, interval)
    return make.measured(status, sample.p99, interval, missing)


def _tail_ratio(sample: CandidateSample, rule: Decision, quantiles: Quantiles) -> ConstraintResult:
    make = _Maker(sample, "tail_ratio", rule.constraints.tail_ratio, "ratio")
    p99, p999 = sample.p99, sample.latency.quantile(P999)
    if not math.isfinite(p99):
        return make.no_data()
    if p99 <= 0:
        return make.unknown(ValueBasis.P99_NOT_POSITIVE, Need.AGREEING_CLOCK)
    late = [sample.lateness(q) or 0.0 for q in (P99, P999)]
    low, high = quantiles.ratio.low, quantiles.ratio.high
    low = None if low is None else low * max(0.0, 1 - late[1] / p999)
    high = None if high is None or late[0] >= p99 else high * p99 / (p99 - late[0])
    interval = Interval(low, high, rule.confidence)
    status = _judge(low, high, make.limit)
    missing = _missing_samples(sample, P999, interval)
    return make.measured(status, p999 / p99, interval, missing)


def _reconnects(sample: CandidateSample, rule: Decision) -> ConstraintResult:
    make = _Maker(sample, "reconnects", rule.constraints.reconnects_per_hour, "1/h")
    confidence = rule.confidence
    events = total(run.reconnects for run in sample.runs.values())
    hours = total(run.hours for run in sample.runs.values())
    if events is None or hours is None:
        return make.not_counted("reconnects", "hours")
    if hours <= 0:
        return make.unknown(ValueBasis.NO_CONNECTED_TIME, Need.CONNECTED_RUNS)
    low = intervals.poisson_lower(events, hours, confidence)
    high = intervals.poisson_upper(events, hours, confidence)
    needed = intervals.exposure_needed(events, make.limit, confidence)
    return make.measured(
        _judge(low, high, make.limit),
        events / hours,
        Interval(low, high, confidence),
        Missing(Need.CONNECTED_HOURS, max(needed - hours, 0.0)),
        counted=(events, hours),
    )


def _loss(sample: CandidateSample, rule: Decision) -> ConstraintResult:
    """Share of messages lost on the way: what was sent to nobody is no loss.

    Losses come in bursts, so runs are what counts as independent.
    """
    make = _Maker(sample, "loss", rule.constraints.loss_ratio, "ratio")
    limit, confidence = make.limit, rule.confidence
    runs = sample.runs.values()
    lost, received = total(run.lost for run in runs), total(run.messages for run in runs)
    if lost is None or received is None or lost + received <= 0:
        return make.not_counted("lost", "messages")
    sent = lost + received
    hits = np.array([run.lost or 0 for run in runs], dtype=np.float64)
    trials = hits + np.array([run.messages or 0 for run in runs], dtype=np.float64)
    share = intervals.effective_share(hits, trials, confidence)
    low = intervals.binomial_lower(lost * share, sent * share, confidence)
    high = intervals.binomial_upper(lost * share, sent * share, confidence)
    status = _judge(low, high, limit)
    missing = None
    if status is ConstraintStatus.INSUFFICIENT:
        more = _missing_messages(lost * share, sent * share, share, limit, confidence)
        missing = Missing(Need.MESSAGES, more)
    interval = Interval(low, high, confidence)
    result = make.measured(status, lost / sent, interval, missing, counted=(lost, sent))
    return replace(result, never_sent=total(run.never_sent for run in runs))


def _samples(sample: CandidateSample, rule: Decision) -> ConstraintResult:
    make = _Maker(sample, "samples", rule.constraints.min_samples, "samples")
    more = rule.constraints.min_samples - make.samples
    status = ConstraintStatus.PASS if more <= 0 else ConstraintStatus.INSUFFICIENT
    return make.measured(status, make.samples, None, Missing(Need.SAMPLES, more))


def _runs(sample: CandidateSample, rule: Decision) -> ConstraintResult:
    make = _Maker(sample, "runs", rule.min_runs, "runs")
    used = len(sample.runs)
    status = ConstraintStatus.PASS if used >= rule.min_runs else ConstraintStatus.INSUFFICIENT
    missing = Missing(Need.USABLE_RUNS, rule.min_runs - used)
    return make.measured(status, used, None, missing, affected=len(sample.seen) - used)


def _clock(sample: CandidateSample, rule: Decision) -> ConstraintResult:
    make = _Maker(sample, "clock", rule.constraints.clock_error_bound_sec, "s")
    bound = sample.clock_bound
    unsynchronised = sum(run.clock_synchronized is False for run in sample.runs.values())
    error = sample.clock_refuted_sec
    if error is not None:
        refuted = sum(found.error_sec is not None for found in sample.clocks.values())
        fails, basis = ConstraintStatus.FAIL, ValueBasis.CLOCK_REFUTED
        return make.measured(fails, error, None, None, affected=refuted, basis=basis)
    if bound is None:
        return make.unknown(ValueBasis.CLOCK_UNKNOWN, Need.CLOCK_BOUND, affected=unsynchronised)
    if sample.clock_doubts:
        doubted = len(sample.clock_doubts)
        return make.unknown(ValueBasis.CLOCK_DOUBTED, Need.UNDISPUTED_CLOCK, affected=doubted)
    within = bound <= make.limit
    status = (
        ConstraintStatus.PASS if within and not unsynchronised else ConstraintStatus.INSUFFICIENT
    )
    missing = Missing(Need.SYNCHRONIZED_CLOCK if within else Need.BETTER_CLOCK)
    return make.measured(status, bound, None, missing, affected=unsynchronised)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the result of one constraint on one candidate."""

    sample: CandidateSample
    name: str
    limit: float
    unit: str

    @property
    def samples(self) -> int:
        """Latency samples of the usable runs."""
        return int(self.sample.latency.counts.sum())

    def measured(
        self,
        status: ConstraintStatus,
        value: float,
        interval: Interval | None,
        missing: Missing | None,
        *,
        counted: tuple[int | None, float | None] = (None, None),
        affected: int = 0,
        basis: ValueBasis = ValueBasis.MEASURED,
    ) -> ConstraintResult:
        """The result with a value; `missing` is what would settle it if it is not settled."""
        return ConstraintResult(
            name=self.name,
            status=status,
            basis=basis,
            value=value,
            interval=interval,
            limit=self.limit,
            unit=self.unit,
            p99_sec=_finite(self.sample.p99),
            samples=self.samples,
            runs=len(self.sample.runs),
            runs_affected=affected,
            events=counted[0],
            exposure=counted[1],
            lacking=missing if status is ConstraintStatus.INSUFFICIENT else None,
        )

    def unknown(self, basis: ValueBasis, need: Need, *, affected: int = 0) -> ConstraintResult:
        """The result without a value."""
        return ConstraintResult(
            name=self.name,
            status=ConstraintStatus.INSUFFICIENT,
            basis=basis,
            value=None,
            interval=None,
            limit=self.limit,
            unit=self.unit,
            p99_sec=_finite(self.sample.p99),
            samples=self.samples,
            runs=len(self.sample.runs),
            runs_affected=affected,
            events=None,
            exposure=None,
            lacking=Missing(need),
        )

    def no_data(self) -> ConstraintResult:
        """The result without a usable observation."""
        return self.unknown(ValueBasis.NO_DATA, Need.USABLE_RUNS)

    def not_counted(self, *counters: str) -> ConstraintResult:
        """The result where a counter is not known in every run, or counted nothing."""
        if not self.sample.runs:
            return self.no_data()
        without = sum(
            any(getattr(run, counter) is None for counter in counters)
            for run in self.sample.runs.values()
        )
        return self.unknown(ValueBasis.NOT_COUNTED, Need.COUNTERS, affected=without)


def _judge(low: float | None, high: float | None, limit: float) -> ConstraintStatus:
    if high is not None and high < limit:
        return ConstraintStatus.PASS
    if low is not None and low >= limit:
        return ConstraintStatus.FAIL
    return ConstraintStatus.INSUFFICIENT


def _missing_samples(sample: CandidateSample, q: float, interval: Interval) -> Missing:
    """What would narrow a quantile's interval: samples if it is open, else more runs."""
    more = intervals.samples_needed(q, interval.confidence) - int(sample.latency.counts.sum())
    if interval.high is None and more > 0:
        return Missing(Need.SAMPLES, more)
    return Missing(Need.RUNS)


def _missing_messages(
    lost: float, sent: float, share: float, limit: float, confidence: float
) -> int:
    """How many more messages without a loss would prove the share to be below the limit."""
    low, high = sent, max(2 * sent, intervals.trials_needed(limit, confidence))
    while intervals.binomial_upper(lost, high, confidence) >= limit:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) / 2
        if intervals.binomial_upper(lost, middle, confidence) < limit:
            high = middle
        else:
            low = middle
    return math.ceil((high - sent) / share)


def _plus(value: float | None, shift: float) -> float | None:
    return None if value is None else value + shift


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    if numerator is None or denominator is None or denominator <= 0:
        return None
    return numerator / denominator


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
