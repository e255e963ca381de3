"""The rule that turns findings into a verdict, and its words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latency_sweep.analysis.decision.next_steps import deploy, next_steps
from latency_sweep.analysis.decision.preferences import by_preference
from latency_sweep.analysis.decision.verdict import Relation, Status, VerdictKind
from latency_sweep.analysis.wording import constraint, count, enumeration, ms, percent

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.findings import Findings
    from latency_sweep.analysis.evidence.pool import Pool


@dataclass(frozen=True, slots=True)
class Answer:
    """The part of the verdict that is words."""

    kind: VerdictKind
    sentence: str
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]
    winner: str | None = None
    tied: tuple[str, ...] = ()


def answer(findings: Findings) -> Answer:
    """The rule. Each case is final for those that follow it."""
    leader = findings.leader
    if not any(j.pool.runs for j in findings.evaluated):
        return _no_evidence(findings)
    if leader is None:
        return _none_proven(findings)
    if not findings.rivals:
        return _unopposed(findings, leader)
    obstacles = (*_obstacles(findings), *_strata_obstacles(findings))
    if obstacles:
        return Answer(
            VerdictKind.INCONCLUSIVE,
            f"No winner yet: {leader.name} comes first, but not surely. {obstacles[0]}",
            tuple(obstacles),
            next_steps(findings),
        )
    if findings.related(Relation.EQUIVALENT):
        return _tie(findings, leader)
    return _winner(findings, leader)


def _no_evidence(findings: Findings) -> Answer:
    places = count(len(findings.evaluated), "place")
    why = {
        reason
        for j in findings.evaluated
        for run in j.pool.seen
        for reason in run.exclusion_reasons
    }
    kept_out = tuple(f"Kept out: {reason}." for reason in sorted(why))
    return Answer(
        VerdictKind.INCONCLUSIVE,
        f"No verdict: there is not one usable run of the {places} seen.",
        kept_out or ("No run was observed.",),
        ("Check that the probes run, that Prometheus scrapes them, and the range asked for.",),
    )


def _none_proven(findings: Findings) -> Answer:
    failed = [j for j in findings.evaluated if j.status is Status.FAIL]
    reasons = tuple(
        f"{j.pool.name} fails: {result.evidence}"
        for j in failed
        for result in j.constraints
        if result.status is Status.FAIL
    )
    if len(failed) == len(findings.evaluated):
        limits = sorted({r.name for j in failed for r in j.constraints if r.status is Status.FAIL})
        return Answer(
            VerdictKind.NONE_PASSES,
            f"No place passes: each of the {len(failed)} breaks a hard limit"
            f" ({enumeration([constraint(name) for name in limits])}).",
            reasons,
            ("Add places to the sweep, or relax the limits that break in the experiment.",),
        )
    open_places = [j for j in findings.evaluated if j.status is Status.INSUFFICIENT]
    lacking = tuple(
        f"{j.pool.name} is not proven to pass: {result.evidence}"
        for j in open_places
        for result in j.constraints
        if result.status is Status.INSUFFICIENT
    )
    return Answer(
        VerdictKind.INCONCLUSIVE,
        f"No winner yet: no place is proven to pass the hard constraints, and"
        f" {count(len(open_places), 'place')} might.",
        (*lacking, *reasons),
        next_steps(findings),
    )


def _unopposed(findings: Findings, leader: Pool) -> Answer:
    failed = [j.pool.name for j in findings.evaluated if j.status is Status.FAIL]
    if not failed:
        return Answer(
            VerdictKind.INCONCLUSIVE,
            f"No winner: {leader.name} passes, but it is the only place with usable evidence,"
            " so there is nothing to compare it with.",
            (f"{leader.name} passes every hard constraint.",),
            ("Measure at least one more place over the same runs.",),
        )
    missing = _strata_obstacles(findings)
    if missing:
        return Answer(
            VerdictKind.INCONCLUSIVE,
            f"No winner yet, though only {leader.name} passes. {missing[0]}",
            missing,
            next_steps(findings),
        )
    return Answer(
        VerdictKind.WINNER,
        f"{leader.name} wins: it is the only place that passes every hard constraint.",
        tuple(f"{name} is proven to break a hard limit." for name in failed),
        (deploy(leader),),
        winner=leader.name,
    )


def _winner(findings: Findings, leader: Pool) -> Answer:
    closest = findings.comparisons[0]
    paired = [comparison.pairs for comparison in findings.comparisons]
    relative = "" if closest.shift_ratio is None else f" ({percent(closest.shift_ratio)})"
    rivals = "its only rival" if len(findings.rivals) == 1 else "every rival"
    required = [s.name for s in findings.strata if s.required]
    in_strata = f", in each time stratum ({enumeration(required)})" if required else ""
    fewest, most = min(paired), max(paired)
    over = count(most, "paired run") if fewest == most else f"{fewest} to {most} paired runs"
    return Answer(
        VerdictKind.WINNER,
        f"{leader.name} wins: p99 {ms(leader.p99)}, lower than {rivals} over"
        f" {over}; the closest, {closest.rival}, is slower by {ms(closest.shift_sec or 0.0)}"
        f"{relative}.",
        (
            f"Every hard constraint is passed at {_confidence(findings)} confidence.",
            f"Its lead counts against each rival{in_strata}.",
            *(c.sentence for c in findings.comparisons),
        ),
        (deploy(leader),),
        winner=leader.name,
    )


def _tie(findings: Findings, leader: Pool) -> Answer:
    equal = {c.rival for c in findings.related(Relation.EQUIVALENT)}
    tied = by_preference(
        findings.preferences, [leader, *(p for p in findings.rivals if p.name in equal)]
    )
    names = tuple(pool.name for pool in tied)
    preferred = findings.preferences[tied[0].candidate]
    return Answer(
        VerdictKind.TIE,
        f"A tie: {enumeration(names)} differ by less than counts; by cost, failover and Graviton"
        f" {names[0]} is preferred.",
        (
            *(c.sentence for c in findings.comparisons),
            *(f"{names[0]}: {note}" for note in preferred.notes),
        ),
        (
            f"Choose {names[0]}, or any of the tied places for reasons of your own.",
            (
                "More runs will not help unless a smaller difference matters"
                " (decision.equivalence_ratio) or the clocks get better."
            ),
        ),
        tied=names,
    )


def _obstacles(findings: Findings) -> tuple[str, ...]:
    """Why the leader is not shown to be at least as good as every rival."""
    obstacles = []
    for comparison in findings.related(Relation.WORSE):
        if findings.status_of(comparison.rival) is Status.PASS:
            obstacles.append(
                f"{comparison.sentence[:-1]}, while {comparison.leader} has the better score for"
                " being steadier: the weights decide between them, not the evidence."
            )
        else:
            obstacles.append(
                f"{comparison.sentence[:-1]}, and {comparison.rival} may yet prove to pass."
            )
    obstacles += [c.sentence for c in findings.related(Relation.UNDECIDED)]
    obstacles += [
        f"{comparison.sentence[:-1]}, and {comparison.rival} is not proven to pass."
        for comparison in findings.related(Relation.EQUIVALENT)
        if findings.status_of(comparison.rival) is not Status.PASS
    ]
    return tuple(obstacles)


def _strata_obstacles(findings: Findings) -> tuple[str, ...]:
    obstacles = []
    windows = findings.experiment.time_strata
    for stratum in findings.strata:
        if stratum.required and not stratum.runs:
            window = windows[stratum.name]
            obstacles.append(
                f"There is no usable run of all places in the time stratum {stratum.name}"
                f" ({window.start} to {window.end} UTC)."
            )
        elif stratum.consistent is False and stratum.name:
            obstacles.append(
                f"In the time stratum {stratum.name} {stratum.closest_rival} is ahead by"
                f" {ms(abs(stratum.shift_sec or 0.0))} at p99."
            )
    return tuple(obstacles)


def _confidence(findings: Findings) -> str:
    return percent(findings.experiment.decision.confidence)
