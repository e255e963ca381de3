"""The conclusion of a verdict in words: one sentence, and the reasons for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.decision.results import ConstraintStatus
from latency_sweep.analysis.decision.verdict import ObstacleKind, VerdictBasis
from latency_sweep.analysis.report.words import blocks, sentences
from latency_sweep.analysis.report.words.quantities import (
    constraint,
    count,
    enumeration,
    ms,
    percent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latency_sweep.analysis.decision.results import ConstraintResult
    from latency_sweep.analysis.decision.verdict import (
        CandidateRow,
        Obstacle,
        StratumRow,
        Verdict,
    )


def sentence(verdict: Verdict) -> str:
    """The verdict in one sentence, or two where something keeps the leader from winning."""
    return _SENTENCES[verdict.basis](verdict)


def reasons(verdict: Verdict) -> tuple[str, ...]:
    """Why, one sentence each, the weightiest first."""
    if verdict.obstacles:
        return tuple(_obstacle(verdict, obstacle) for obstacle in verdict.obstacles)
    return tuple(_REASONS[verdict.basis](verdict))


def _no_usable_run(verdict: Verdict) -> str:
    if not verdict.ranking:
        return "No verdict: no run was observed."
    if len(verdict.ranking) == 1:
        return "No verdict: the only candidate has no usable run."
    return f"No verdict: none of the {len(verdict.ranking)} candidates has a usable run."


def _all_fail(verdict: Verdict) -> str:
    violated = sorted({result.name for _, result in _results(verdict, ConstraintStatus.FAIL)})
    names = enumeration([constraint(name) for name in violated])
    return (
        f"No candidate passes: each of the {len(verdict.ranking)} violates a hard constraint"
        f" ({names})."
    )


def _none_proven(verdict: Verdict) -> str:
    might = sum(row.status is ConstraintStatus.INSUFFICIENT for row in verdict.ranking)
    return (
        "No winner yet: no candidate is proven to pass the hard constraints, and"
        f" {count(might, 'candidate')} might."
    )


def _only_candidate(verdict: Verdict) -> str:
    return (
        f"No winner: {verdict.leader} passes, but it is the only candidate with usable evidence,"
        " so there is nothing to compare it with."
    )


def _only_one_passes(verdict: Verdict) -> str:
    if verdict.obstacles:
        first = _obstacle(verdict, verdict.obstacles[0])
        return f"No winner yet, though only {verdict.leader} passes. {first}"
    return f"{verdict.leader} wins: it is the only candidate that passes every hard constraint."


def _open_questions(verdict: Verdict) -> str:
    first = _obstacle(verdict, verdict.obstacles[0])
    return f"No winner yet: {verdict.leader} leads, but this is not proven. {first}"


def _equivalent_rivals(verdict: Verdict) -> str:
    return (
        f"A tie: {enumeration(verdict.tied)} differ by less than the margin; by cost, failover and"
        f" Graviton {verdict.tied[0]} is preferred."
    )


def _better_than_every_rival(verdict: Verdict) -> str:
    if verdict.blocks is not None:
        return blocks.winner(verdict, verdict.blocks)
    closest = verdict.comparisons[0]
    paired = [found.pairs for found in verdict.comparisons]
    relative = "" if closest.shift_ratio is None else f" ({percent(closest.shift_ratio)})"
    rivals = "its only rival" if len(verdict.comparisons) == 1 else "every rival"
    fewest, most = min(paired), max(paired)
    over = count(most, "paired run") if fewest == most else f"{fewest} to {most} paired runs"
    p99 = _row(verdict, closest.leader).p99_sec
    return (
        f"{verdict.leader} wins: p99 {ms(p99 or 0.0)}, lower than {rivals} over {over}; the"
        f" closest, {closest.rival}, is slower by {ms(closest.shift_sec or 0.0)}{relative}."
    )


_SENTENCES: Final[dict[VerdictBasis, Callable[[Verdict], str]]] = {
    VerdictBasis.NO_USABLE_RUN: _no_usable_run,
    VerdictBasis.ALL_FAIL: _all_fail,
    VerdictBasis.NONE_PROVEN: _none_proven,
    VerdictBasis.ONLY_CANDIDATE: _only_candidate,
    VerdictBasis.ONLY_ONE_PASSES: _only_one_passes,
    VerdictBasis.OPEN_QUESTIONS: _open_questions,
    VerdictBasis.ALL_BLOCKS_MEASURED: blocks.shortlist,
    VerdictBasis.EQUIVALENT_RIVALS: _equivalent_rivals,
    VerdictBasis.BETTER_THAN_EVERY_RIVAL: _better_than_every_rival,
}


def _why_no_usable_run(verdict: Verdict) -> list[str]:
    why = {reason for row in verdict.ranking for run in row.runs for reason in run.reasons}
    return [f"Excluded: {reason}." for reason in sorted(why)] or ["No run was observed."]


def _why_all_fail(verdict: Verdict) -> list[str]:
    return [
        f"{row.name} fails: {sentences.constraint_evidence(result)}"
        for row, result in _results(verdict, ConstraintStatus.FAIL)
        if row.status is ConstraintStatus.FAIL
    ]


def _why_none_proven(verdict: Verdict) -> list[str]:
    unproven = [
        f"{row.name} is not proven to pass: {sentences.constraint_evidence(result)}"
        for row, result in _results(verdict, ConstraintStatus.INSUFFICIENT)
        if row.status is ConstraintStatus.INSUFFICIENT
    ]
    return [*unproven, *_why_all_fail(verdict)]


def _why_only_candidate(verdict: Verdict) -> list[str]:
    return [f"{verdict.leader} passes every hard constraint."]


def _why_only_one_passes(verdict: Verdict) -> list[str]:
    return [
        f"{row.name} is proven to violate a hard constraint."
        if any(c.status is ConstraintStatus.FAIL and c.name != "clock" for c in row.constraints)
        else f"{row.name} is excluded, because its clock is proven wrong."
        for row in verdict.ranking
        if row.status is ConstraintStatus.FAIL
    ]


def _why_equivalent(verdict: Verdict) -> list[str]:
    preferred = verdict.tied[0]
    notes = sentences.preference_notes(_row(verdict, preferred))
    return [
        *(sentences.comparison(found) for found in verdict.comparisons),
        *(f"{preferred}: {note}" for note in notes),
    ]


def _why_shortlist(verdict: Verdict) -> list[str]:
    return [] if verdict.blocks is None else blocks.reasons(verdict, verdict.blocks)


def _why_better(verdict: Verdict) -> list[str]:
    if verdict.blocks is not None:
        return blocks.reasons(verdict, verdict.blocks)
    required = [stratum.name for stratum in verdict.strata if stratum.required]
    in_strata = ""
    if required:
        in_strata = (
            "; no rival is ahead of it by more than the margin in any required time stratum"
            f" ({enumeration(required)})"
        )
    return [
        f"Every hard constraint is passed at {percent(verdict.rule.confidence)} confidence.",
        f"It leads every rival by more than the margin{in_strata}.",
        *(sentences.comparison(found) for found in verdict.comparisons),
    ]


_REASONS: Final[dict[VerdictBasis, Callable[[Verdict], list[str]]]] = {
    VerdictBasis.NO_USABLE_RUN: _why_no_usable_run,
    VerdictBasis.ALL_FAIL: _why_all_fail,
    VerdictBasis.NONE_PROVEN: _why_none_proven,
    VerdictBasis.ONLY_CANDIDATE: _why_only_candidate,
    VerdictBasis.ONLY_ONE_PASSES: _why_only_one_passes,
    VerdictBasis.ALL_BLOCKS_MEASURED: _why_shortlist,
    VerdictBasis.EQUIVALENT_RIVALS: _why_equivalent,
    VerdictBasis.BETTER_THAN_EVERY_RIVAL: _why_better,
}


def _obstacle(verdict: Verdict, obstacle: Obstacle) -> str:
    if obstacle.kind is ObstacleKind.STRATUM_WITHOUT_RUNS:
        stratum = _stratum(verdict, obstacle.subject)
        return (
            f"There is no usable run of all candidates in the time stratum {stratum.name}"
            f" ({stratum.starts} to {stratum.ends} UTC)."
        )
    if obstacle.kind is ObstacleKind.RIVAL_AHEAD_IN_STRATUM:
        stratum = _stratum(verdict, obstacle.subject)
        return (
            f"In the time stratum {stratum.name} {stratum.closest_rival} is ahead by"
            f" {ms(abs(stratum.shift_sec or 0.0))} at p99."
        )
    found = verdict.comparison_with(obstacle.subject)
    finding = sentences.comparison(found)
    if obstacle.kind is ObstacleKind.UNDECIDED_RIVAL:
        return finding
    but = {
        ObstacleKind.FASTER_RIVAL: (
            f"but {found.leader} has the better score because it is more stable: the weights"
            " decide between them, not the evidence"
        ),
        ObstacleKind.FASTER_UNPROVEN_RIVAL: (
            f"and {found.rival} may still pass the hard constraints"
        ),
        ObstacleKind.EQUIVALENT_UNPROVEN_RIVAL: f"but {found.rival} is not proven to pass",
    }
    return f"{finding.removesuffix('.')}, {but[obstacle.kind]}."


def _results(
    verdict: Verdict, status: ConstraintStatus
) -> Iterator[tuple[CandidateRow, ConstraintResult]]:
    for row in verdict.ranking:
        for result in row.constraints:
            if result.status is status:
                yield row, result


def _row(verdict: Verdict, name: str) -> CandidateRow:
    return next(row for row in verdict.ranking if row.name == name)


def _stratum(verdict: Verdict, name: str) -> StratumRow:
    return next(stratum for stratum in verdict.strata if stratum.name == name)
