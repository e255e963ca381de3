"""What to do next: what would settle the question, or what follows from the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.analysis.decision.verdict import Relation, Status
from latency_sweep.analysis.wording import constraint, count, duration, enumeration

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.findings import Findings
    from latency_sweep.analysis.evidence.pool import Pool

_SEC_PER_HOUR = 3600


def deploy(place: Pool) -> str:
    """What a winner is good for."""
    return (
        f"Place the consumer at {place.name}, and keep a probe there to notice when this changes."
    )


def next_steps(findings: Findings) -> tuple[str, ...]:
    """What would settle it, most needed first."""
    steps = []
    for stratum in findings.strata:
        # Without a place to test there are no paired runs; it is enough if any place was seen.
        seen = stratum.runs if findings.leader is not None else len(stratum.p99_sec)
        if stratum.required and not seen:
            window = findings.experiment.time_strata[stratum.name]
            steps.append(
                f"Run all places between {window.start} and {window.end} UTC"
                f" (time stratum {stratum.name})."
            )
    steps += _more_runs(findings)
    for comparison in findings.related(Relation.WORSE):
        if findings.status_of(comparison.rival) is Status.PASS:
            steps.append(
                f"Decide what matters more, p99 ({comparison.rival}) or steadiness"
                f" ({comparison.leader}), and set decision.weights so."
            )
    for evaluated in findings.evaluated:
        # Places that are beaten anyway, or cannot pass, need no further evidence.
        beaten = {c.rival for c in findings.related(Relation.BETTER)}
        if evaluated.status is Status.INSUFFICIENT and evaluated.pool.name not in beaten:
            steps += [
                f"{evaluated.pool.name}, {constraint(result.name)}: {result.missing}"
                for result in evaluated.constraints
                if result.missing
            ]
    # Runs outside all strata have a row too, without a name.
    if any(s.consistent is False and s.name for s in findings.strata):
        steps.append("Add runs in the time strata that disagree, or choose by the hours you trade.")
    return tuple(steps)


def _more_runs(findings: Findings) -> list[str]:
    undecided = findings.related(Relation.UNDECIDED)
    if not undecided:
        return []
    steps = []
    close = min(undecided, key=lambda c: c.effective_runs / max(c.pairs, 1))
    if close.close_together:
        steps.append(
            f"Spread the runs over hours or days: the difference between {close.leader} and"
            f" {close.rival} drifts so slowly that {count(close.pairs, 'run')} as close together as"
            f" these are worth about {close.effective_runs:.1f} spread out."
        )
    timing = findings.experiment.timing
    cycle = (timing.warmup_sec + timing.measurement_sec + timing.cooldown_sec) / _SEC_PER_HOUR
    wanted = [(c.runs_needed - c.pairs, c) for c in undecided if c.runs_needed is not None]
    if wanted:
        more, hardest = max(wanted, key=lambda item: (item[0], item[1].rival))
        steps.append(
            f"About {count(more, 'more run')} of all places ({duration(more * cycle)}) would"
            f" settle it at the variance observed; {hardest.rival} needs them most."
        )
    hopeless = [c.rival for c in undecided if c.runs_needed is None]
    if hopeless:
        steps.append(
            f"No practical number of runs would tell {findings.comparisons[0].leader} from"
            f" {enumeration(hopeless, conjunction='or')}: the difference is too near the margin for"
            " its noise, so choose another decision.equivalence_ratio or take either."
        )
    return steps
