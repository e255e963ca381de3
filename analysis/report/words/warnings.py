"""Warnings: what the reader of a report should know that does not change the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.analysis.decision.results import ConstraintStatus
from latency_sweep.analysis.report.words.quantities import count, enumeration

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Verdict


def warnings(verdict: Verdict) -> tuple[str, ...]:
    """Everything odd about the evidence, the ranking and the prices, one sentence each."""
    found = list(verdict.source_warnings)
    if verdict.approximate:
        found.append(
            "The histograms were rebuilt from percentiles: all numbers drawn from them are"
            " approximate."
        )
    without = sorted(row.name for row in verdict.ranking if not row.runs_used)
    if without:
        found.append(f"Not evaluated, because they have no usable run: {enumeration(without)}.")
    excluded = sum(row.runs_excluded for row in verdict.ranking)
    if excluded:
        found.append(f"{count(excluded, 'run')} excluded; the reasons are listed.")
    for row in verdict.ranking:
        negative = sum(run.negative or 0 for run in row.runs if run.used)
        if negative:
            found.append(
                f"{row.name}: {count(negative, 'event')} timestamped later than received; its"
                " clock or the exchange's is off by more than the latency."
            )
    found += [
        (
            f'The ranking depends on the rule: under "{changed.name}" {changed.best} has the best'
            " score."
        )
        for changed in verdict.sensitivity
        if changed.changed and changed.best is not None
    ]
    found += _better_scores(verdict)
    if not verdict.rule.prices_verified:
        found.append(
            f"Prices of {verdict.rule.prices_date} were not checked against AWS; they are used only"
            " to break ties."
        )
    return tuple(found)


def _better_scores(verdict: Verdict) -> list[str]:
    """Candidates with a better score than the leader, which was chosen by its p99."""
    own = next((row.score for row in verdict.ranking if row.name == verdict.leader), None)
    if own is None:
        return []
    better = [
        row.name
        for row in verdict.ranking
        if row.status is ConstraintStatus.PASS and row.score is not None and row.score < own
    ]
    if not better:
        return []
    return [
        (
            f"{enumeration(better)}: the score is lower than that of {verdict.leader}, but by no"
            " more than chance explains; among equal scores the candidate with the lower p99 is"
            " tested."
        )
    ]
