"""The rows of the ranking: everything known about each candidate, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latency_sweep.analysis.decision.preferences import price_of
from latency_sweep.analysis.decision.score import Measure
from latency_sweep.analysis.decision.strata import labels_in
from latency_sweep.analysis.decision.verdict import (
    CandidateRow,
    Interval,
    PreferenceParts,
    ReplicaRow,
    RunPoint,
    Status,
)
from latency_sweep.analysis.evidence.pool import P99, P999, total
from latency_sweep.analysis.stats.intervals import quantile_interval
from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.constraints import Quantiles
    from latency_sweep.analysis.decision.score import Score
    from latency_sweep.analysis.decision.verdict import ConstraintResult
    from latency_sweep.analysis.evidence.pool import Pool
    from latency_sweep.analysis.evidence.records import ReplicaEvidence, RunEvidence
    from latency_sweep.analysis.pricing.prices import PriceTable
    from latency_sweep.contract.experiment import Decision

NO_PREFERENCES = PreferenceParts(
    None, None, None, 0.0, ("Preferences are weighed between places that pass.",)
)
_PERCENTILES = (0.5, 0.9, 0.95, P99, P999)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A candidate with what has been found out about it.

    Attributes:
        pool: its evidence.
        status: over all constraints.
        constraints: each one.
        quantiles: intervals of p99 and p99.9.
        measure: what its score is made of.
    """

    pool: Pool
    status: Status
    constraints: tuple[ConstraintResult, ...]
    quantiles: Quantiles
    measure: Measure


def measure(pool: Pool, rule: Decision) -> Measure:
    """What the score is made of; a mean that is not positive leaves cv undefined (NaN)."""
    cap = rule.outlier_cap_percentile
    mean, sd = pool.latency.mean(cap), pool.latency.sd(cap)
    return Measure(p99=pool.p99, cv=sd / mean if mean > 0 else math.nan, sd=sd)


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
    pool = evaluated.pool
    runs = pool.runs.values()
    p50, p90, p95, p99, p999 = (_finite(pool.latency.quantile(q)) for q in _PERCENTILES)
    parts = preferences or NO_PREFERENCES
    strata = {run.stratum for run in runs if run.stratum is not None}
    return CandidateRow(
        candidate=pool.candidate,
        name=pool.name,
        rank=rank,
        status=evaluated.status,
        constraints=evaluated.constraints,
        samples=int(pool.latency.counts.sum()),
        p50_sec=p50,
        p90_sec=p90,
        p95_sec=p95,
        p99_sec=p99,
        p999_sec=p999,
        p99_interval=evaluated.quantiles.p99 if runs else None,
        p999_interval=evaluated.quantiles.p999 if runs else None,
        mean_sec=_finite(pool.latency.mean(rule.outlier_cap_percentile)),
        sd_sec=_finite(evaluated.measure.sd),
        cv=_finite(evaluated.measure.cv),
        negative=_whole(total(run.negative for run in runs)),
        messages=_whole(total(run.messages for run in runs)),
        lost=_whole(total(run.lost for run in runs)),
        reconnects=_whole(total(run.reconnects for run in runs)),
        hours=total(run.hours for run in runs),
        runs_used=len(pool.runs),
        runs_excluded=len(pool.seen) - len(pool.runs),
        runs=tuple(_point(run, pool, rule.confidence) for run in pool.seen),
        clock_error_bound_sec=pool.clock_bound,
        score=score.total if score else None,
        score_p99_part=score.p99_part if score else None,
        score_stability_part=score.stability_part if score else None,
        adjusted_score=score.total - parts.credit if score else None,
        preferences=parts,
        usd_per_hour=price_of(pool.candidate, prices),
        strata_p99_sec={name: pool.p99_over(labels_in(pool, name)) for name in sorted(strata)},
        replicas=_replicas(pool),
    )


def _point(run: RunEvidence, pool: Pool, confidence: float) -> RunPoint:
    used = run.run in pool.runs
    low, high = quantile_interval(run.latency, P99, confidence)
    return RunPoint(
        run=run.run,
        stratum=run.stratum,
        used=used,
        reasons=run.exclusion_reasons if used or run.exclusion_reasons else ("no latency sample",),
        samples=int(run.latency.counts.sum()),
        p50_sec=_finite(run.latency.quantile(0.5)),
        p99_sec=_finite(pool.run_p99[run.run] if used else run.latency.quantile(P99)),
        p99_interval=Interval(low, high, confidence) if run.latency.counts.size else None,
        hours=run.hours,
        coverage=run.coverage,
        clock_error_bound_sec=run.clock_error_bound_sec,
    )


def _replicas(pool: Pool) -> tuple[ReplicaRow, ...]:
    seen: dict[str, list[ReplicaEvidence]] = {}
    for run in pool.runs.values():
        for replica in run.replicas:
            seen.setdefault(replica.instance, []).append(replica)
    rows = []
    for instance, parts in sorted(seen.items()):
        latency = FloatHistogram.merge(*(part.latency for part in parts))
        rows.append(
            ReplicaRow(
                instance,
                parts[-1].az_id,
                len(parts),
                int(latency.counts.sum()),
                _finite(latency.quantile(0.5)),
                _finite(latency.quantile(P99)),
            )
        )
    return tuple(rows)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
