"""Hard constraints: proven to hold, proven to be broken, or not enough evidence to say.

A limit on a count is tested with one-sided exact bounds at the configured confidence, a limit on
a quantile with a two-sided interval of the same confidence. PASS needs the
whole interval within the limit, FAIL the whole interval beyond it. What is not known is never a
pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.decision.verdict import ConstraintResult, Interval, Status
from latency_sweep.analysis.evidence.pool import P99, P999, total
from latency_sweep.analysis.stats import intervals
from latency_sweep.analysis.stats.resample import percentile_interval
from latency_sweep.analysis.wording import count, duration, ms, percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.analysis.evidence.pool import Pool
    from latency_sweep.analysis.evidence.records import RunEvidence
    from latency_sweep.analysis.stats.resample import Bootstrap
    from latency_sweep.contract.experiment import Decision

    _Ends = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Intervals of p99, p99.9 and their ratio; None where there is no observation."""

    p99: Interval
    p999: Interval
    ratio: Interval


def quantile_intervals(pool: Pool, bootstrap: Bootstrap, confidence: float) -> Quantiles:
    """Intervals that neither few samples nor few runs make too narrow.

    Order statistics say what so many samples can prove if they were independent. Samples of one
    minute and of one run are alike, so the bootstrap of runs and blocks of windows says what so
    many runs can prove. Each end is the outer one of the two.

    The ratio's ends from order statistics are ratios of opposite ends: each misses with half the
    error, so by Bonferroni their ratio is a one-sided bound at the full confidence.
    """
    p99 = intervals.quantile_interval(pool.latency, P99, confidence)
    p999 = intervals.quantile_interval(pool.latency, P999, confidence)
    ratio = (_ratio(p999[0], p99[1]), _ratio(p999[1], p99[0]))
    if pool.runs:
        labels = tuple(pool.runs)
        draws = bootstrap.p99(pool, labels), bootstrap.p999(pool, labels)
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


def check(pool: Pool, rule: Decision, quantiles: Quantiles) -> tuple[ConstraintResult, ...]:
    """Every hard constraint on one candidate."""
    return (
        _p99(pool, rule, quantiles),
        _tail_ratio(pool, rule, quantiles),
        _reconnects(pool, rule),
        _loss(pool, rule),
        _samples(pool, rule),
        _runs(pool, rule),
        _clock(pool, rule),
    )


def overall(results: tuple[ConstraintResult, ...]) -> Status:
    """FAIL if any constraint is broken, PASS if all hold, else INSUFFICIENT."""
    seen = {result.status for result in results}
    if Status.FAIL in seen:
        return Status.FAIL
    return Status.INSUFFICIENT if Status.INSUFFICIENT in seen else Status.PASS


def _p99(pool: Pool, rule: Decision, quantiles: Quantiles) -> ConstraintResult:
    limit, interval = rule.constraints.p99_sec, quantiles.p99
    # The one-way latency itself is only as certain as the clock.
    clock = pool.clock_bound or 0.0
    status = _judge(_plus(interval.low, -clock), _plus(interval.high, clock), limit)
    value = pool.p99
    if not math.isfinite(value):
        return _no_data("p99", limit, "s")
    evidence = (
        f"p99 is {ms(value)} ({_span(interval, ms)}), the limit {ms(limit)}; {_sampled(pool)}."
    )
    missing = _missing_samples(pool, P99, interval) if status is Status.INSUFFICIENT else ""
    return ConstraintResult("p99", status, value, interval, limit, "s", evidence, missing)


def _tail_ratio(pool: Pool, rule: Decision, quantiles: Quantiles) -> ConstraintResult:
    limit, interval = rule.constraints.tail_ratio, quantiles.ratio
    p99, p999 = pool.p99, pool.latency.quantile(P999)
    if not math.isfinite(p99):
        return _no_data("tail_ratio", limit, "ratio")
    if p99 <= 0:
        return ConstraintResult(
            "tail_ratio",
            Status.INSUFFICIENT,
            None,
            None,
            limit,
            "ratio",
            f"p99 is {ms(p99)}: not positive, so p99.9 / p99 means nothing.",
            "A clock that agrees with the exchange's.",
        )
    value = p999 / p99
    status = _judge(interval.low, interval.high, limit)
    evidence = (
        f"p99.9 / p99 is {value:.2f} ({_span(interval, '{:.2f}'.format)}), the limit {limit:g};"
        f" {_sampled(pool)}."
    )
    missing = _missing_samples(pool, P999, interval) if status is Status.INSUFFICIENT else ""
    return ConstraintResult(
        "tail_ratio", status, value, interval, limit, "ratio", evidence, missing
    )


def _reconnects(pool: Pool, rule: Decision) -> ConstraintResult:
    limit, confidence = rule.constraints.reconnects_per_hour, rule.confidence
    events = total(run.reconnects for run in pool.runs.values())
    hours = total(run.hours for run in pool.runs.values())
    if events is None or hours is None:
        return _unknown("reconnects", limit, "1/h", pool, ("reconnects", "hours"))
    if hours <= 0:
        return ConstraintResult(
            "reconnects",
            Status.INSUFFICIENT,
            None,
            None,
            limit,
            "1/h",
            "There was no connected time in which reconnects could be counted.",
            "Runs in which the probe is connected.",
        )
    number = round(events)
    low = intervals.poisson_lower(number, hours, confidence)
    high = intervals.poisson_upper(number, hours, confidence)
    status = _judge(low, high, limit)
    evidence = (
        f"{count(number, 'unplanned reconnect')} in {duration(hours)}:"
        f" {_bound(status, f'{low:.2f}/h', f'{high:.2f}/h')} at {percent(confidence)} confidence,"
        f" the limit {limit:g}/h."
    )
    missing = ""
    if status is Status.INSUFFICIENT:
        needed = intervals.exposure_needed(number, limit, confidence)
        missing = (
            f"{duration(max(needed - hours, 0.0))} more without another reconnect"
            f" ({duration(needed)} in all)."
        )
    interval = Interval(low, high, confidence)
    return ConstraintResult(
        "reconnects", status, number / hours, interval, limit, "1/h", evidence, missing
    )


def _loss(pool: Pool, rule: Decision) -> ConstraintResult:
    """Share of messages lost. Losses come in bursts, so runs are what counts as independent."""
    limit, confidence = rule.constraints.loss_ratio, rule.confidence
    runs = pool.runs.values()
    lost, received = total(run.lost for run in runs), total(run.messages for run in runs)
    if lost is None or received is None or lost + received <= 0:
        return _unknown("loss", limit, "ratio", pool, ("lost", "messages"))
    sent = lost + received
    hits = np.array([run.lost or 0 for run in runs], dtype=np.float64)
    trials = hits + np.array([run.messages or 0 for run in runs], dtype=np.float64)
    share = intervals.effective_share(hits, trials, confidence)
    low = intervals.binomial_lower(lost * share, sent * share, confidence)
    high = intervals.binomial_upper(lost * share, sent * share, confidence)
    status = _judge(low, high, limit)
    evidence = (
        f"{count(round(lost), 'message')} of {count(round(sent))} lost:"
        f" {_bound(status, percent(low), percent(high))} at {percent(confidence)} confidence,"
        f" the limit {percent(limit)}."
    )
    missing = ""
    if status is Status.INSUFFICIENT:
        missing = _missing_messages(lost * share, sent * share, share, limit, confidence)
    interval = Interval(low, high, confidence)
    value = lost / sent
    return ConstraintResult("loss", status, value, interval, limit, "ratio", evidence, missing)


def _samples(pool: Pool, rule: Decision) -> ConstraintResult:
    limit = rule.constraints.min_samples
    samples = int(pool.latency.counts.sum())
    enough = samples >= limit
    return ConstraintResult(
        "samples",
        Status.PASS if enough else Status.INSUFFICIENT,
        samples,
        None,
        limit,
        "samples",
        f"{count(samples, 'latency sample')}, at least {count(limit)} needed.",
        "" if enough else f"{count(limit - samples, 'more sample')}.",
    )


def _runs(pool: Pool, rule: Decision) -> ConstraintResult:
    used, limit = len(pool.runs), rule.min_runs
    excluded = len(pool.seen) - used
    kept_out = f" ({count(excluded, 'more run')} kept out)" if excluded else ""
    enough = used >= limit
    return ConstraintResult(
        "runs",
        Status.PASS if enough else Status.INSUFFICIENT,
        used,
        None,
        limit,
        "runs",
        f"{count(used, 'usable run')}{kept_out}, at least {limit} needed.",
        "" if enough else f"{count(limit - used, 'more usable run')}.",
    )


def _clock(pool: Pool, rule: Decision) -> ConstraintResult:
    limit, bound = rule.constraints.clock_error_bound_sec, pool.clock_bound
    unsynchronised = [r.run for r in pool.runs.values() if r.clock_synchronized is False]
    status, missing = Status.PASS, ""
    if bound is None:
        status, evidence = Status.INSUFFICIENT, "How wrong the clock may be is not known."
        missing = "A clock error bound in every run (chrony, ClockBound or a PHC)."
    else:
        evidence = f"The clock is right within {ms(bound)}, the limit {ms(limit)}."
        if bound > limit:
            status, missing = Status.INSUFFICIENT, "A better clock, such as the PHC or Amazon NTP."
    if unsynchronised:
        status = Status.INSUFFICIENT
        evidence += f" It was not synchronised in {count(len(unsynchronised), 'run')}."
        missing = missing or "Runs with a synchronised clock."
    return ConstraintResult("clock", status, bound, None, limit, "s", evidence, missing)


def _judge(low: float | None, high: float | None, limit: float) -> Status:
    if high is not None and high < limit:
        return Status.PASS
    if low is not None and low >= limit:
        return Status.FAIL
    return Status.INSUFFICIENT


def _missing_samples(pool: Pool, q: float, interval: Interval) -> str:
    """What would narrow a quantile's interval: samples if it is open, else more runs."""
    more = intervals.samples_needed(q, interval.confidence) - int(pool.latency.counts.sum())
    if interval.high is None and more > 0:
        return f"{count(more, 'more sample')}: p{100 * q:g} has no upper bound with fewer."
    return f"More runs: the limit lies inside the interval of p{100 * q:g}."


def _missing_messages(
    lost: float, sent: float, share: float, limit: float, confidence: float
) -> str:
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
    more = math.ceil((high - sent) / share)
    return f"{count(more, 'more message')} without another loss."


def _sampled(pool: Pool) -> str:
    samples = int(pool.latency.counts.sum())
    return f"{count(samples, 'sample')} in {count(len(pool.runs), 'run')}"


def _unknown(
    name: str, limit: float, unit: str, pool: Pool, fields: tuple[str, ...]
) -> ConstraintResult:
    if not pool.runs:
        return _no_data(name, limit, unit)
    runs = [run for run in pool.runs.values() if _lacks(run, fields)]
    counted = "lost messages" if name == "loss" else "reconnects"
    which = f" in {len(runs)} of {count(len(pool.runs), 'run')}" if runs else ""
    return ConstraintResult(
        name,
        Status.INSUFFICIENT,
        None,
        None,
        limit,
        unit,
        f"It is not known how many {counted} there were{which}.",
        f"Runs in which {counted} are counted.",
    )


def _lacks(run: RunEvidence, fields: tuple[str, ...]) -> bool:
    return any(getattr(run, field) is None for field in fields)


def _no_data(name: str, limit: float, unit: str) -> ConstraintResult:
    return ConstraintResult(
        name,
        Status.INSUFFICIENT,
        None,
        None,
        limit,
        unit,
        "There is no usable observation.",
        "At least one usable run.",
    )


def _span(interval: Interval, form: Callable[[float], str]) -> str:
    low = "?" if interval.low is None else form(interval.low)
    high = "?" if interval.high is None else form(interval.high)
    return f"{percent(interval.confidence)} interval {low} to {high}"


def _bound(status: Status, low: str, high: str) -> str:
    """The bound that the status rests on: what is broken is so by the lower one."""
    return f"at least {low}" if status is Status.FAIL else f"at most {high}"


def _plus(value: float | None, shift: float) -> float | None:
    return None if value is None else value + shift


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    if numerator is None or denominator is None or denominator <= 0:
        return None
    return numerator / denominator
