"""The rows of the ranking: everything known about each candidate, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latency_sweep.analysis.decision.preferences import price_of
from latency_sweep.analysis.decision.results import ConstraintResult, ConstraintStatus, Interval
from latency_sweep.analysis.decision.score import Measure
from latency_sweep.analysis.decision.strata import labels_in
from latency_sweep.analysis.decision.verdict import (
    CandidateRow,
    InstanceRow,
    RunPoint,
)
from latency_sweep.analysis.evidence.records import total
from latency_sweep.analysis.evidence.sample import P99, P999
from latency_sweep.analysis.evidence.timestamps import lateness
from latency_sweep.analysis.stats.intervals import quantile_interval
from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.constraints import Quantiles
    from latency_sweep.analysis.decision.score import Score
    from latency_sweep.analysis.decision.verdict import PreferenceParts
    from latency_sweep.analysis.evidence.records import InstanceEvidence, RunEvidence
    from latency_sweep.analysis.evidence.sample import CandidateSample
    from latency_sweep.analysis.pricing.prices import PriceTable
    from latency_sweep.contract.experiment import Decision

_PERCENTILES = (0.5, 0.9, 0.95, P99, P999)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A candidate with what has been found out about it.

    Attributes:
        sample: its usable runs.
        status: over all constraints.
        constraints: each one.
        quantiles: intervals of p99 and p99.9.
        measure: what its score is made of.
    """

    sample: CandidateSample
    status: ConstraintStatus
    constraints: tuple[ConstraintResult, ...]
    quantiles: Quantiles
    measure: Measure


def measure(sample: CandidateSample, rule: Decision) -> Measure:
    """What the score is made of; a mean that is not positive leaves cv undefined (NaN)."""
    cap = rule.outlier_cap_percentile
    mean, sd = sample.latency.mean(cap), sample.latency.sd(cap)
    return Measure(p99=sample.p99, cv=sd / mean if mean > 0 else math.nan, sd=sd)


def row(
    evaluated: Evaluated,
    rank: int,
    score: Score | None,
    preferences: PreferenceParts | None,
    *,
    prices: PriceTable,
    rule: Decision,
) -> CandidateRow:
    """One row of the ranking."""
    sample = evaluated.sample
    runs = sample.runs.values()
    p50, p90, p95, p99, p999 = (_finite(sample.latency.quantile(q)) for q in _PERCENTILES)
    strata = {run.stratum for run in runs if run.stratum is not None}
    return CandidateRow(
        candidate=sample.candidate,
        name=sample.name,
        rank=rank,
        status=evaluated.status,
        constraints=evaluated.constraints,
        samples=int(sample.latency.counts.sum()),
        p50_sec=p50,
        p90_sec=p90,
        p95_sec=p95,
        p99_sec=p99,
        p999_sec=p999,
        p99_interval=evaluated.quantiles.p99 if runs else None,
        p999_interval=evaluated.quantiles.p999 if runs else None,
        mean_sec=_finite(sample.latency.mean(rule.outlier_cap_percentile)),
        sd_sec=_finite(evaluated.measure.sd),
        cv=_finite(evaluated.measure.cv),
        negative=total(run.negative for run in runs),
        messages=total(run.messages for run in runs),
        lost=total(run.lost for run in runs),
        never_sent=total(run.never_sent for run in runs),
        reconnects=total(run.reconnects for run in runs),
        hours=total(run.hours for run in runs),
        runs_used=len(sample.runs),
        runs_excluded=len(sample.seen) - len(sample.runs),
        runs=tuple(_point(run, sample, rule.confidence) for run in sample.seen),
        clock_error_bound_sec=sample.clock_bound,
        score=score.total if score else None,
        score_p99_part=score.p99_part if score else None,
        score_stability_part=score.stability_part if score else None,
        adjusted_score=score.total - (preferences.credit if preferences else 0.0)
        if score
        else None,
        preferences=preferences,
        usd_per_hour=price_of(sample.candidate, prices),
        strata_p99_sec={name: sample.p99_over(labels_in(sample, name)) for name in sorted(strata)},
        instances=_instances(sample),
        p50_lateness_sec=_finite_or_none(sample.lateness(0.5)),
        p99_lateness_sec=_finite_or_none(sample.lateness(P99)),
        p999_lateness_sec=_finite_or_none(sample.lateness(P999)),
        timestamp_kinds=sample.timestamp_kinds,
    )


def _point(run: RunEvidence, sample: CandidateSample, confidence: float) -> RunPoint:
    used, reasons = run.run in sample.runs, sample.reasons_against(run)
    low, high = quantile_interval(run.latency, P99, confidence)
    return RunPoint(
        run=run.run,
        stratum=run.stratum,
        used=used,
        reasons=reasons if used or reasons else ("no latency sample",),
        samples=int(run.latency.counts.sum()),
        p50_sec=_finite(run.latency.quantile(0.5)),
        p99_sec=_finite(sample.run_p99[run.run] if used else run.latency.quantile(P99)),
        p99_interval=Interval(low, high, confidence) if run.latency.counts.size else None,
        negative=run.negative,
        hours=run.hours,
        coverage=run.coverage,
        clock_error_bound_sec=run.clock_error_bound_sec,
        p50_lateness_sec=_finite_or_none(lateness(run.readings, 0.5)),
        p99_lateness_sec=_finite_or_none(lateness(run.readings, P99)),
        p999_lateness_sec=_finite_or_none(lateness(run.readings, P999)),
    )


def _instances(sample: CandidateSample) -> tuple[InstanceRow, ...]:
    seen: dict[str, list[InstanceEvidence]] = {}
    for run in sample.runs.values():
        for one in run.instances:
            seen.setdefault(one.instance, []).append(one)
    rows = []
    for name, parts in sorted(seen.items()):
        latency = FloatHistogram.merge(*(part.latency for part in parts))
        rows.append(
            InstanceRow(
                instance=name,
                az_id=parts[-1].az_id,
                runs=len(parts),
                samples=int(latency.counts.sum()),
                p50_sec=_finite(latency.quantile(0.5)),
                p99_sec=_finite(latency.quantile(P99)),
            )
        )
    return tuple(rows)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite_or_none(value: float | None) -> float | None:
    return None if value is None else _finite(value)
