"""The contest over random blocks in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.analysis.decision.results import Relation
from latency_sweep.analysis.report.words import sentences
from latency_sweep.analysis.report.words.quantities import count, enumeration, ms, percent

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.block_results import BlockFindings
    from latency_sweep.analysis.decision.verdict import Verdict


def period(found: BlockFindings) -> str:
    """What the conclusion rests on: blocks, days, dates."""
    first, last = found.first[:10], found.last[:10]
    dates = first if first == last else f"{first} to {last}"
    return f"{count(found.rests_on, 'block')} on {count(found.days, 'day')}, {dates}"


def winner(verdict: Verdict, found: BlockFindings) -> str:
    """The headline of a winner: for which period, faster than whom, by how much."""
    closest = verdict.comparisons[0]
    rivals = "its only rival" if len(verdict.comparisons) == 1 else "every rival"
    p99 = next(row.p99_sec for row in verdict.ranking if row.name == verdict.winner)
    by = "" if closest.lead is None else f" ({sentences.lead_size(closest, closest.lead)})"
    return (
        f"{verdict.winner} wins for the measured period ({period(found)}): p99 {ms(p99 or 0.0)},"
        f" proven faster than {rivals}; the closest is {closest.rival}{by}. {general(found)}"
    )


def general(found: BlockFindings) -> str:
    """What may be said beyond the measured period."""
    if found.general:
        return "The lead is proven in general too, if days are independent and each counts once."
    if found.fewest_days is None:
        return "Nothing is claimed in general: that takes more days than random_blocks.most allows."
    return (
        "Nothing is claimed in general: that takes"
        f" {count(found.fewest_days, 'whole day')} or more that agree."
    )


def shortlist(verdict: Verdict) -> str:
    """The headline of a shortlist."""
    over = "" if verdict.blocks is None else f" ({period(verdict.blocks)})"
    return (
        f"The best for the measured period{over} is one of {enumeration(verdict.tied)}; all others"
        " are beaten."
    )


def reasons(verdict: Verdict, found: BlockFindings) -> list[str]:
    """Why: constraints, hosts, and the leader against each rival."""
    hosts = "Every block had fresh hosts."
    if found.kept_hosts:
        hosts = (
            "Hosts were kept from block to block, so this is about these instances, and intervals"
            " include the error bounds of their clocks."
        )
    return [
        f"Every hard constraint is passed at {percent(verdict.rule.confidence)} confidence.",
        hosts,
        *(sentences.comparison(comparison) for comparison in verdict.comparisons),
    ]


def next_steps(verdict: Verdict, found: BlockFindings) -> list[str]:
    """What would settle it."""
    undecided = [c.rival for c in verdict.related(Relation.UNDECIDED)]
    left = found.most - found.measured
    between = enumeration([verdict.leader or "", *undecided])
    if left > 0:
        rest = f"{count(left, 'block')} of {found.most} are left"
        return [f"Measure on: {rest} to decide between {between}."]
    instead = "raise random_blocks.most in a new sweep of these"
    return [f"Choose any of {between}, or {instead}: all {found.most} blocks are measured."]
