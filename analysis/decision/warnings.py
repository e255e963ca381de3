"""Warnings: what the reader of a verdict should know that does not change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.analysis.wording import count, enumeration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.decision.findings import Findings
    from latency_sweep.analysis.decision.verdict import SensitivityRow
    from latency_sweep.analysis.evidence.records import Evidence
    from latency_sweep.analysis.pricing.prices import PriceTable


def warnings(
    evidence: Evidence,
    findings: Findings,
    table: Sequence[SensitivityRow],
    prices: PriceTable,
) -> tuple[str, ...]:
    """Everything odd about the evidence, the ranking and the prices, one sentence each."""
    warnings = list(evidence.warnings)
    if evidence.approximate:
        warnings.append(
            "The histograms were rebuilt from percentiles: all numbers drawn from them are rough."
        )
    unjudged = [j.pool.name for j in findings.evaluated if not j.pool.runs]
    if unjudged:
        warnings.append(f"Not evaluated, for want of a usable run: {enumeration(unjudged)}.")
    excluded = sum(len(j.pool.seen) - len(j.pool.runs) for j in findings.evaluated)
    if excluded:
        warnings.append(f"{count(excluded, 'run')} kept out, listed with the reason.")
    for evaluated in findings.evaluated:
        negative = sum(run.negative or 0 for run in evaluated.pool.runs.values())
        if negative:
            warnings.append(
                f"{evaluated.pool.name}: {count(negative, 'event')} later than received;"
                " its clock or the exchange's is off by more than the latency."
            )
    warnings += [
        f"The ranking depends on the rule: with {change.name} {change.leader} has the best score."
        for change in table
        if change.changed and change.leader is not None
    ]
    warnings += _score_note(findings)
    if not prices.verified:
        warnings.append(
            f"Prices of {prices.date} were not checked against AWS; they only order what the"
            " evidence leaves open."
        )
    return tuple(warnings)


def _score_note(findings: Findings) -> list[str]:
    leader = findings.leader
    if leader is None or leader.candidate not in findings.scores:
        return []
    own = findings.scores[leader.candidate].total
    better = [
        pool.name
        for pool in findings.passing
        if pool.candidate in findings.scores and findings.scores[pool.candidate].total < own
    ]
    if not better:
        return []
    return [
        (
            f"{enumeration(better)}: the score is lower than that of {leader.name}, but by no more"
            " than chance explains; among equal scores the lower p99 is put to the test."
        )
    ]
