"""The decision: from evidence to a verdict. `docs/method.md` explains every rule."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from latency_sweep.analysis.decision import constraints
from latency_sweep.analysis.decision.block_contest import BlockContest
from latency_sweep.analysis.decision.change_points import change_points
from latency_sweep.analysis.decision.comparison import Method, compare, relate
from latency_sweep.analysis.decision.conclusion import Findings, conclude
from latency_sweep.analysis.decision.leader import choose_leader, score_draws
from latency_sweep.analysis.decision.preferences import preferences
from latency_sweep.analysis.decision.ranking import Evaluated, measure, row
from latency_sweep.analysis.decision.results import ConstraintStatus
from latency_sweep.analysis.decision.score import scores, sensitivity
from latency_sweep.analysis.decision.strata import Contest, strata
from latency_sweep.analysis.decision.verdict import Rule, Verdict
from latency_sweep.analysis.evidence.clock_findings import clock_findings
from latency_sweep.analysis.evidence.sample import samples_of
from latency_sweep.analysis.evidence.timestamp_warnings import timestamp_warnings
from latency_sweep.analysis.pricing.prices import PriceTable, load_prices
from latency_sweep.analysis.stats.resample import Bootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latency_sweep.analysis.decision.leader import ScoreDraws
    from latency_sweep.analysis.decision.results import Comparison
    from latency_sweep.analysis.decision.score import Score
    from latency_sweep.analysis.evidence.records import Candidate, Evidence
    from latency_sweep.analysis.evidence.sample import CandidateSample
    from latency_sweep.contract.experiment import Decision, Experiment


def decide(
    evidence: Evidence, experiment: Experiment, *, prices: PriceTable | None = None, seed: int = 0
) -> Verdict:
    """Decide which candidate receives the feeds earliest and most stably, if the evidence allows.

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
    bootstrap = Bootstrap(rule.bootstrap_resamples, seed, rule.outlier_cap_percentile)
    method = Method(rule, bootstrap, experiment.timing.measurement_sec)
    clocks = clock_findings(evidence)
    samples = tuple(samples_of(evidence, clocks).values())
    evaluated = tuple(_evaluate(sample, rule, bootstrap) for sample in samples)
    passing = tuple(e.sample for e in evaluated if e.status is ConstraintStatus.PASS)
    ranked = passing or tuple(sample for sample in samples if sample.runs)
    measures = {e.sample.candidate: e.measure for e in evaluated if e.sample.runs}
    found = scores(
        {sample.candidate: measures[sample.candidate] for sample in ranked}, rule.weights
    )
    parts = preferences(ranked, experiment, prices, partial(relate, method=method))
    draws = score_draws(passing, rule, bootstrap)
    leader = choose_leader(passing, found, draws)
    rivals = tuple(
        e.sample
        for e in evaluated
        if e.status is not ConstraintStatus.FAIL and e.sample.runs and e.sample is not leader
    )
    blocks = experiment.timing.random_blocks
    contest = None
    if leader is not None and blocks is not None:
        contest = BlockContest.of((leader, *rivals), rule, blocks)
        leader, rivals = _led(contest, leader, rivals, passing, draws)
    comparisons: tuple[Comparison, ...] = ()
    if leader is not None:
        comparisons = compare(leader, rivals, method, found, draws, contest=contest)
    # Random blocks are spread over the whole day by themselves.
    required = experiment.time_strata if blocks is None else {}
    block_findings = contest.findings() if contest else None
    findings = Findings(
        evaluated=evaluated,
        leader=leader,
        rivals=rivals,
        comparisons=tuple(sorted(comparisons, key=_closeness)),
        strata=strata(Contest(leader, rivals, samples, required, rule)),
        preferences=parts,
        blocks=block_findings,
    )
    conclusion = conclude(findings)
    ordered = sorted(evaluated, key=partial(_order, leader=leader, scores=found))
    return Verdict(
        kind=conclusion.kind,
        basis=conclusion.basis,
        winner=conclusion.winner,
        tied=conclusion.tied,
        leader=leader.name if leader else None,
        obstacles=conclusion.obstacles,
        ranking=tuple(
            row(
                e,
                rank,
                found.get(e.sample.candidate),
                parts.get(e.sample.candidate),
                prices=prices,
                rule=rule,
            )
            for rank, e in enumerate(ordered, start=1)
        ),
        comparisons=findings.comparisons,
        strata=findings.strata,
        sensitivity=sensitivity(
            measures, frozenset(sample.candidate for sample in passing), rule.weights
        ),
        change_points=change_points(samples, rule),
        selection=evidence.selection,
        rule=_rule(experiment, prices, seed),
        source=evidence.source,
        source_warnings=(*evidence.warnings, *clocks.warnings, *timestamp_warnings(evidence)),
        approximate=evidence.approximate,
        same_events=evidence.same_events,
        blocks=block_findings,
    )


def _led(
    contest: BlockContest,
    leader: CandidateSample,
    rivals: tuple[CandidateSample, ...],
    passing: tuple[CandidateSample, ...],
    draws: ScoreDraws,
) -> tuple[CandidateSample, tuple[CandidateSample, ...]]:
    """Leader and rivals, led by who leads the contest unless its score is proven to be worse."""
    ahead = contest.leader
    if ahead is leader or ahead not in passing:
        return leader, rivals
    interval = draws.interval(ahead.candidate, leader.candidate)
    if interval is not None and (interval.low or 0.0) > 0:
        return leader, rivals
    return ahead, (leader, *(rival for rival in rivals if rival is not ahead))


def _evaluate(sample: CandidateSample, rule: Decision, bootstrap: Bootstrap) -> Evaluated:
    quantiles = constraints.quantile_intervals(sample, bootstrap, rule.confidence)
    results = constraints.check(sample, rule, quantiles)
    return Evaluated(
        sample, constraints.overall(results), results, quantiles, measure(sample, rule)
    )


def _rule(experiment: Experiment, prices: PriceTable, seed: int) -> Rule:
    rule, timing = experiment.decision, experiment.timing
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
        required_strata=() if timing.random_blocks else tuple(experiment.time_strata),
        run_cycle_sec=timing.warmup_sec + timing.measurement_sec + timing.cooldown_sec,
        seed=seed,
        prices_date=prices.date.isoformat(),
        prices_source=prices.source,
        prices_verified=prices.verified,
    )


def _order(
    evaluated: Evaluated, leader: CandidateSample | None, scores: Mapping[Candidate, Score]
) -> tuple[bool, int, float, float, str]:
    """The leader, then those that pass by score, those that might, those that fail, the rest."""
    position = (ConstraintStatus.PASS, ConstraintStatus.INSUFFICIENT, ConstraintStatus.FAIL).index(
        evaluated.status
    )
    sample = evaluated.sample
    if not sample.runs:
        position = 3
    score = scores.get(sample.candidate)
    return (
        sample is not leader,
        position,
        math.inf if score is None else score.total,
        sample.p99,
        sample.name,
    )


def _closeness(comparison: Comparison) -> tuple[float, str]:
    shift = comparison.shift_sec
    return (math.inf if shift is None else shift, comparison.rival)
