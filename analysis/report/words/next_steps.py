"""What to do next: what would settle the question, or what follows from the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.analysis.decision.results import ConstraintStatus, Relation, ValueBasis
from latency_sweep.analysis.decision.verdict import VerdictBasis, VerdictKind
from latency_sweep.analysis.report.words import blocks
from latency_sweep.analysis.report.words.quantities import (
    constraint,
    count,
    duration,
    enumeration,
)
from latency_sweep.analysis.report.words.sentences import constraint_missing

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Verdict

_SEC_PER_HOUR = 3600


def next_steps(verdict: Verdict) -> tuple[str, ...]:
    """What to do next, the most needed first."""
    return (*_by_kind(verdict), *_clocks_to_fix(verdict))


def _clocks_to_fix(verdict: Verdict) -> list[str]:
    return [
        f"Fix the clock of {row.name} and measure again: its latencies so far say nothing."
        for row in verdict.ranking
        for result in row.constraints
        if result.basis is ValueBasis.CLOCK_REFUTED
    ]


def _by_kind(verdict: Verdict) -> tuple[str, ...]:
    if verdict.kind is VerdictKind.WINNER:
        return (
            (
                f"Deploy the consumer to {verdict.winner}, and keep a probe there to notice when"
                " this changes."
            ),
        )
    if verdict.kind is VerdictKind.TIE:
        return (
            f"Choose {verdict.tied[0]}, or any of the tied candidates for other reasons.",
            (
                "More runs will not help unless a smaller difference matters"
                " (decision.equivalence_ratio) or the clocks improve."
            ),
        )
    if verdict.kind is VerdictKind.NONE_PASSES:
        return ("Add candidates to the sweep, or relax the violated limits in the experiment.",)
    if verdict.basis is VerdictBasis.NO_USABLE_RUN:
        return ("Check that the probes run, that Prometheus scrapes them, and the time range.",)
    if verdict.basis is VerdictBasis.ONLY_CANDIDATE:
        return ("Measure at least one more candidate over the same runs.",)
    return tuple(_what_would_settle_it(verdict))


def _what_would_settle_it(verdict: Verdict) -> list[str]:
    steps = []
    for stratum in verdict.strata:
        # Without a leader there are no paired runs; it is enough if any candidate was seen.
        seen = stratum.runs if verdict.leader is not None else len(stratum.p99_sec)
        if stratum.required and not seen:
            steps.append(
                f"Measure all candidates between {stratum.starts} and {stratum.ends} UTC"
                f" (time stratum {stratum.name})."
            )
    steps += _more_runs(verdict)
    steps += [
        f"Decide what matters more, p99 ({found.rival}) or stability ({found.leader}), and set"
        " decision.weights accordingly."
        for found in verdict.related(Relation.WORSE)
        if verdict.status_of(found.rival) is ConstraintStatus.PASS
    ]
    # Candidates that are beaten anyway, or cannot pass, need no further evidence.
    beaten = {found.rival for found in verdict.related(Relation.BETTER)}
    steps += [
        f"{row.name}, {constraint(result.name)}: {constraint_missing(result)}"
        for row in verdict.ranking
        if row.status is ConstraintStatus.INSUFFICIENT and row.name not in beaten
        for result in row.constraints
        if result.lacking is not None
    ]
    # Runs outside all strata have a row too, without a name.
    if any(stratum.consistent is False and stratum.name for stratum in verdict.strata):
        steps.append("Add runs in the time strata that disagree, or choose by the hours you trade.")
    return steps


def _more_runs(verdict: Verdict) -> list[str]:
    undecided = verdict.related(Relation.UNDECIDED)
    if not undecided:
        return []
    if verdict.blocks is not None:
        return blocks.next_steps(verdict, verdict.blocks)
    steps = []
    close = min(undecided, key=lambda c: c.effective_runs / max(c.pairs, 1))
    if close.close_together:
        steps.append(
            f"Spread the runs over hours or days: the difference between {close.leader} and"
            f" {close.rival} drifts so slowly that the effective number of these"
            f" {count(close.pairs, 'run')} is {close.effective_runs:.1f}."
        )
    cycle = verdict.rule.run_cycle_sec / _SEC_PER_HOUR
    wanted = [(c.runs_needed - c.pairs, c) for c in undecided if c.runs_needed is not None]
    if wanted:
        more, hardest = max(wanted, key=lambda item: (item[0], item[1].rival))
        steps.append(
            f"About {count(more, 'more run')} of all candidates ({duration(more * cycle)}) would"
            f" settle it at the observed variance; {hardest.rival} needs them most."
        )
    out_of_reach = [c.rival for c in undecided if c.runs_needed is None]
    if out_of_reach:
        steps.append(
            f"No practical number of runs would separate {verdict.leader} from"
            f" {enumeration(out_of_reach, conjunction='or')}: the difference is too close to the"
            " margin for its noise. Choose another decision.equivalence_ratio, or take either."
        )
    return steps
