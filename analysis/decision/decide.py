"""The decision: from evidence to a verdict. `docs/method.md` explains every rule."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import TYPE_CHECKING

from latency_sweep.analysis.decision import constraints
from latency_sweep.analysis.decision.change_points import change_points
from latency_sweep.analysis.decision.comparison import Spread, compare, conclude
from latency_sweep.analysis.decision.conclusion import answer
from latency_sweep.analysis.decision.findings import Findings
from latency_sweep.analysis.decision.leader import choose_leader, score_draws
from latency_sweep.analysis.decision.preferences import preferences
from latency_sweep.analysis.decision.ranking import Evaluated, measure, row
from latency_sweep.analysis.decision.score import scores, sensitivity
from latency_sweep.analysis.decision.strata import Contest, strata
from latency_sweep.analysis.decision.verdict import Rule, Status, Verdict
from latency_sweep.analysis.decision.warnings import warnings
from latency_sweep.analysis.evidence.pool import pools_of
from latency_sweep.analysis.pricing.prices import PriceTable, load_prices
from latency_sweep.analysis.stats.resample import Bootstrap

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Comparison, Relation
    from latency_sweep.analysis.evidence.pool import Pool
    from latency_sweep.analysis.evidence.records import Evidence
    from latency_sweep.contract.experiment import Decision, Experiment


def decide(
    evidence: Evidence, experiment: Experiment, *, prices: PriceTable | None = None, seed: int = 0
) -> Verdict:
    """Decide which candidate sees the feeds soonest and most steadily, if the evidence allows.

    The same evidence, experiment, prices and seed give the same verdict.

    Args:
        evidence: what was observed.
        experiment: thresholds, weights, confidence and strata.
        prices: USD per hour; the shipped table if None.
        seed: of the bootstrap.

    Raises:
        PricesError: the shipped price table cannot be read.
    """
    rule = experiment.decision
    prices = prices or load_prices()
    run_sec = experiment.timing.measurement_sec
    bootstrap = Bootstrap(rule.bootstrap_resamples, seed, rule.outlier_cap_percentile)
    evaluated = tuple(_judge(pool, rule, bootstrap) for pool in pools_of(evidence).values())
    measures = {j.pool.candidate: j.measure for j in evaluated if j.pool.runs}
    passing = tuple(j.pool for j in evaluated if j.status is Status.PASS)
    eligible = frozenset(pool.candidate for pool in passing)
    ranked = passing or tuple(j.pool for j in evaluated if j.pool.runs)
    found = scores({p.candidate: measures[p.candidate] for p in ranked}, rule.weights)
    parts = preferences(ranked, experiment, prices, partial(_relate, rule, bootstrap, run_sec))
    draws = score_draws(passing, rule, bootstrap)
    leader = choose_leader(passing, found, draws)
    rivals = tuple(
        j.pool
        for j in evaluated
        if j.status is not Status.FAIL and j.pool.runs and j.pool is not leader
    )
    comparisons: list[Comparison] = []
    if leader is not None:
        drafts = [compare(leader, rival, rule, bootstrap, run_sec) for rival in rivals]
        spreads = [Spread.of(leader, rival, run_sec) for rival in rivals]
        for rival, finding in zip(rivals, conclude(drafts, spreads, rule), strict=True):
            difference = None
            if rival.candidate in found and leader.candidate in found:
                difference = found[rival.candidate].total - found[leader.candidate].total
            interval = draws.interval(rival.candidate, leader.candidate)
            comparisons.append(
                dataclasses.replace(finding, score_difference=difference, score_interval=interval)
            )
    required = tuple(experiment.time_strata)
    pools = tuple(j.pool for j in evaluated)
    findings = Findings(
        evaluated=evaluated,
        passing=passing,
        leader=leader,
        rivals=rivals,
        comparisons=tuple(sorted(comparisons, key=_closeness)),
        strata=strata(Contest(leader, rivals, pools, required, rule)),
        scores=found,
        preferences=parts,
        experiment=experiment,
    )
    words = answer(findings)
    table = sensitivity(measures, eligible, rule.weights)
    ordered = sorted(evaluated, key=lambda j: _order(j, findings))
    return Verdict(
        kind=words.kind,
        winner=words.winner,
        tied=words.tied,
        leader=leader.name if leader else None,
        sentence=words.sentence,
        reasons=words.reasons,
        next_steps=words.next_steps,
        ranking=tuple(
            row(
                j,
                rank,
                found.get(j.pool.candidate),
                parts.get(j.pool.candidate),
                prices=prices,
                rule=rule,
            )
            for rank, j in enumerate(ordered, start=1)
        ),
        comparisons=findings.comparisons,
        strata=findings.strata,
        sensitivity=table,
        change_points=change_points(pools, rule),
        scope=evidence.scope,
        rule=_rule(experiment, prices, seed),
        source=evidence.source,
        warnings=warnings(evidence, findings, table, prices),
    )


def _judge(pool: Pool, rule: Decision, bootstrap: Bootstrap) -> Evaluated:
    quantiles = constraints.quantile_intervals(pool, bootstrap, rule.confidence)
    results = constraints.check(pool, rule, quantiles)
    return Evaluated(pool, constraints.overall(results), results, quantiles, measure(pool, rule))


def _relate(
    rule: Decision, bootstrap: Bootstrap, run_sec: float, first: Pool, second: Pool
) -> Relation:
    """What the evidence says of one candidate against another, by themselves."""
    draft = compare(first, second, rule, bootstrap, run_sec)
    return conclude([draft], [Spread.of(first, second, run_sec)], rule)[0].relation


def _rule(experiment: Experiment, prices: PriceTable, seed: int) -> Rule:
    rule = experiment.decision
    return Rule(
        confidence=rule.confidence,
        min_runs=rule.min_runs,
        weight_p99=rule.weights.p99,
        weight_stability=rule.weights.stability,
        preference_cost=rule.preferences.cost,
        preference_redundancy=rule.preferences.redundancy,
        preference_graviton=rule.preferences.graviton,
        outlier_cap_percentile=rule.outlier_cap_percentile,
        relevant_difference_ratio=rule.equivalence_ratio,
        redundancy_within_sec=rule.redundancy_within_sec,
        bootstrap_resamples=rule.bootstrap_resamples,
        required_strata=tuple(experiment.time_strata),
        seed=seed,
        prices_date=prices.date.isoformat(),
        prices_source=prices.source,
    )


def _order(evaluated: Evaluated, findings: Findings) -> tuple[bool, int, float, float, str]:
    """The leader, then those that pass by score, those that might, those that fail, the rest."""
    position = (Status.PASS, Status.INSUFFICIENT, Status.FAIL).index(evaluated.status)
    if not evaluated.pool.runs:
        position = 3
    score = findings.scores.get(evaluated.pool.candidate)
    return (
        evaluated.pool is not findings.leader,
        position,
        math.inf if score is None else score.total,
        evaluated.pool.p99,
        evaluated.pool.name,
    )


def _closeness(comparison: Comparison) -> tuple[float, str]:
    shift = comparison.shift_sec
    return (math.inf if shift is None else shift, comparison.rival)
