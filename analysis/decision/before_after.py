"""What changed between two sweeps, or between two candidates of one sweep: before and after.

The unit of evidence is the run, as everywhere. Where both sides measured the same minutes, as two
candidates of one sweep did, runs are paired by their label. Two sweeps at different times have no
pairs; then the runs of the one are tested against those of the other, and a change of the exchange
or of the hour cannot be distinguished from a change of the candidate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.difference import (
    DifferenceTest,
    PairedSample,
    adjust,
    margin_between,
)
from latency_sweep.analysis.decision.results import ConstraintStatus, Interval, Margin, Relation
from latency_sweep.analysis.evidence.sample import P99, P999, CandidateSample, samples_of
from latency_sweep.analysis.stats import inference
from latency_sweep.analysis.stats.resample import percentile_interval
from latency_sweep.nativehist.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from latency_sweep.analysis.decision.difference import Adjusted
    from latency_sweep.analysis.decision.verdict import CandidateRow, Verdict
    from latency_sweep.analysis.evidence.archive import Archive
    from latency_sweep.analysis.pricing.prices import PriceTable
    from latency_sweep.contract.experiment import Decision

    Floats = NDArray[np.float64]
    Labels = tuple[str, ...]

_QUANTILES: Final = {"p50": 0.5, "p99": P99, "p99.9": P999}
_NAMES_LISTED: Final = 5


class CompareError(Exception):
    """The two sides cannot be compared; the message says why and what to do."""


class Movement(StrEnum):
    """What the evidence says happened to p99."""

    FASTER = "faster"
    SLOWER = "slower"
    UNCHANGED = "unchanged"
    UNDECIDED = "undecided"


_MOVEMENTS: Final = {
    Relation.BETTER: Movement.SLOWER,  # before is better than after
    Relation.WORSE: Movement.FASTER,
    Relation.EQUIVALENT: Movement.UNCHANGED,
    Relation.UNDECIDED: Movement.UNDECIDED,
}


@dataclass(frozen=True, slots=True)
class QuantileChange:
    """One quantile of all observations, before and after.

    Attributes:
        name: `p50`, `p99` or `p99.9`.
        before_sec: pooled over the runs tested; None without data, as the others.
        after_sec: likewise.
        shift_sec: after minus before; negative is faster.
        interval: its bootstrap interval, whole runs drawn; None with fewer than two runs a side.
    """

    name: str
    before_sec: float | None
    after_sec: float | None
    shift_sec: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class ConstraintChange:
    """One hard constraint before and after; None where it was not evaluated."""

    name: str
    before: ConstraintStatus | None
    after: ConstraintStatus | None
    changed: bool


@dataclass(frozen=True, slots=True)
class CandidateChange:
    """One candidate before and after, or one candidate against another.

    Attributes:
        before: name of the candidate on the first side.
        after: name of the candidate on the second side; the same unless two are compared.
        movement: of p99, what the evidence says.
        paired: whether runs were paired by their label.
        runs_before: usable runs on the first side that were tested.
        runs_after: usable runs on the second side that were tested.
        quantiles: p50, p99 and p99.9.
        p_value: two-sided exact p of p99 over runs: sign-flip if paired, else Mann-Whitney.
        p_holm: the same, adjusted by Holm over all candidates compared; this one decides.
        smallest_p: the smallest p that so many runs can give.
        shift_sec: typical p99 of a run, after minus before (Hodges-Lehmann).
        shift_ratio: the same as a ratio of the first side's p99; None if that is not positive.
        cliffs_delta: -1 to 1; 1 means every run after is slower than every run before.
        margin: the smallest difference that matters.
        constraints: each hard constraint.
        rank_before: position in the ranking.
        rank_after: position in the ranking.
        confidence: that of the intervals and the test.
    """

    before: str
    after: str
    movement: Movement
    paired: bool
    runs_before: int
    runs_after: int
    quantiles: tuple[QuantileChange, ...]
    p_value: float
    p_holm: float
    smallest_p: float
    shift_sec: float | None
    shift_ratio: float | None
    cliffs_delta: float | None
    margin: Margin
    constraints: tuple[ConstraintChange, ...]
    rank_before: int
    rank_after: int
    confidence: float


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """What changed from one side to the other.

    Attributes:
        same_sweep: whether two candidates of one sweep are compared.
        verdict_changed: whether the two sides end in another verdict or another winner.
        before: the verdict on the first side.
        after: the verdict on the second side.
        candidates: each candidate that both sides have, largest change first.
        only_before: candidates that only the first side has.
        only_after: candidates that only the second side has.
        same_rules: whether both sides were evaluated by the same thresholds and weights.
        confidence: that of the intervals and tests.
        seed: of the bootstrap.
    """

    same_sweep: bool
    verdict_changed: bool
    before: Verdict
    after: Verdict
    candidates: tuple[CandidateChange, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    same_rules: bool
    confidence: float
    seed: int


@dataclass(frozen=True, slots=True)
class _Side:
    """A sweep with its verdict, and its samples and rows by candidate name."""

    archive: Archive
    verdict: Verdict
    samples: dict[str, CandidateSample]
    rows: dict[str, CandidateRow]

    @classmethod
    def of(cls, archive: Archive, prices: PriceTable | None, seed: int) -> _Side:
        found = decide(archive.evidence, archive.experiment, prices=prices, seed=seed)
        samples = {c.name: sample for c, sample in samples_of(archive.evidence).items()}
        return cls(archive, found, samples, {row.name: row for row in found.ranking})


@dataclass(frozen=True, slots=True)
class _TestedPair:
    """One candidate of each side, tested by themselves."""

    before: CandidateRow
    after: CandidateRow
    paired: bool
    quantiles: tuple[QuantileChange, ...]
    cliffs_delta: float
    test: DifferenceTest


def compare_sweeps(
    before: Archive, after: Archive, *, prices: PriceTable | None = None, seed: int = 0
) -> BeforeAfter:
    """Compare each candidate that two sweeps have in common.

    Thresholds, confidence and weights of each side are those of its own experiment; the
    comparison uses those of the second.

    Args:
        before: the earlier evidence, and what it was evaluated under.
        after: the later evidence.
        prices: USD per hour; the shipped table if None.
        seed: of the bootstrap; the same evidence and seed give the same result.

    Raises:
        CompareError: the two have no candidate in common.
    """
    first, second = (_Side.of(archive, prices, seed) for archive in (before, after))
    shared = [name for name in second.rows if name in first.rows]
    if not shared:
        raise CompareError(
            "The two sides have no candidate in common: the first has"
            f" {_listing(first.samples)}, the second {_listing(second.samples)}."
            " Analyse both with the same --by, or name two candidates of one source."
        )
    return _compare(first, second, [(name, name) for name in shared], seed)


def compare_candidates(
    archive: Archive, first: str, second: str, *, prices: PriceTable | None = None, seed: int = 0
) -> BeforeAfter:
    """Compare two candidates of one sweep, over the runs that both have.

    Args:
        archive: the evidence, and what it is evaluated under.
        first: name of the candidate that counts as before.
        second: name of the candidate that counts as after.
        prices: USD per hour; the shipped table if None.
        seed: of the bootstrap.

    Raises:
        CompareError: a name is no candidate of the evidence.
    """
    side = _Side.of(archive, prices, seed)
    for name in (first, second):
        if name not in side.samples:
            raise CompareError(
                f"There is no candidate {name!r} in the evidence; it has {_listing(side.samples)}."
            )
    return _compare(side, side, [(first, second)], seed)


def _compare(
    first: _Side, second: _Side, names: Sequence[tuple[str, str]], seed: int
) -> BeforeAfter:
    rule = second.archive.experiment.decision
    pairs = [_pair((first, second), pair, rule, seed) for pair in names]
    adjusted = adjust([pair.test for pair in pairs], rule)
    changes = [_change(pair, found, rule) for pair, found in zip(pairs, adjusted, strict=True)]
    old, new = first.verdict, second.verdict
    return BeforeAfter(
        same_sweep=first is second,
        verdict_changed=(old.kind, old.winner, old.tied) != (new.kind, new.winner, new.tied),
        before=old,
        after=new,
        candidates=tuple(sorted(changes, key=lambda c: (-abs(c.shift_ratio or 0.0), c.after))),
        only_before=tuple(n for n in first.rows if n not in second.rows),
        only_after=tuple(n for n in second.rows if n not in first.rows),
        same_rules=first.archive.experiment.decision == rule,
        confidence=rule.confidence,
        seed=seed,
    )


def _pair(
    sides: tuple[_Side, _Side], names: tuple[str, str], rule: Decision, seed: int
) -> _TestedPair:
    before, after = (side.samples[name] for side, name in zip(sides, names, strict=True))
    sample = PairedSample.of(before, after)
    # A few runs in common by chance are no pairing: it would throw all others away.
    fewest = min(len(before.runs), len(after.runs))
    paired = bool(sample.labels) and 2 * len(sample.labels) >= fewest
    labels: tuple[Labels, Labels] = (tuple(before.runs), tuple(after.runs))
    shared = sample.dependence(sides[1].archive.experiment.timing.measurement_sec)
    stretch = None
    if paired:
        labels = (sample.labels, sample.labels)
        stretch = shared.stretch(sample.tested)
    quantiles = _quantiles((before, after), labels, rule, seed, stretch=stretch)
    interval = next(q.interval for q in quantiles if q.name == "p99")
    margin = margin_between(before, after, rule)
    mine, theirs = (
        np.array([side.run_p99[label] for label in chosen])
        for side, chosen in zip((before, after), labels, strict=True)
    )
    return _TestedPair(
        before=sides[0].rows[names[0]],
        after=sides[1].rows[names[1]],
        paired=paired,
        quantiles=quantiles,
        cliffs_delta=inference.cliffs_delta(mine, theirs),
        test=(
            DifferenceTest.paired(sample, shared, interval, margin)
            if paired
            else DifferenceTest.unpaired(mine, theirs, interval, margin)
        ),
    )


def _change(pair: _TestedPair, found: Adjusted, rule: Decision) -> CandidateChange:
    test = pair.test
    return CandidateChange(
        before=pair.before.name,
        after=pair.after.name,
        movement=_MOVEMENTS[found.relation],
        paired=pair.paired,
        runs_before=test.first_runs,
        runs_after=test.second_runs,
        quantiles=pair.quantiles,
        p_value=test.p_value,
        p_holm=found.p_holm,
        smallest_p=test.smallest_p,
        shift_sec=test.shift_sec,
        shift_ratio=test.shift_ratio,
        cliffs_delta=_finite(pair.cliffs_delta),
        margin=test.margin,
        constraints=_constraints(pair.before, pair.after),
        rank_before=pair.before.rank,
        rank_after=pair.after.rank,
        confidence=rule.confidence,
    )


def _quantiles(
    samples: tuple[CandidateSample, CandidateSample],
    labels: tuple[Labels, Labels],
    rule: Decision,
    seed: int,
    *,
    stretch: float | None,
) -> tuple[QuantileChange, ...]:
    """Pooled quantiles over the runs tested, with whole runs resampled.

    Runs are resampled in pairs if their intervals' `stretch` is given, and each side's by
    themselves if not.
    """
    sizes = [len(chosen) for chosen in labels]
    grids = [
        Grid.of([sample.runs[label].latency for label in chosen])
        for sample, chosen in zip(samples, labels, strict=True)
    ]
    wanted = tuple(_QUANTILES.values())
    pooled = [
        grid.quantiles(np.ones((1, size)), wanted)[0] if size else np.full(len(wanted), np.nan)
        for grid, size in zip(grids, sizes, strict=True)
    ]
    draws = None
    if min(sizes) > 1:  # one run has no spread between runs to resample
        rng = np.random.default_rng(seed)
        weights = [
            rng.multinomial(size, np.full(size, 1 / size), rule.bootstrap_resamples)
            for size in sizes
        ]
        if stretch is not None:
            weights[1] = weights[0]
        before, after = (g.quantiles(w, wanted) for g, w in zip(grids, weights, strict=True))
        draws = after - before
    changes = []
    for index, name in enumerate(_QUANTILES):
        interval = None
        if draws is not None:
            low, high = percentile_interval(
                draws[:, index], min(sizes), rule.confidence, stretch=stretch or 1.0
            )
            interval = Interval(low, high, rule.confidence)
        old, new = float(pooled[0][index]), float(pooled[1][index])
        changes.append(
            QuantileChange(name, _finite(old), _finite(new), _finite(new - old), interval)
        )
    return tuple(changes)


def _constraints(before: CandidateRow, after: CandidateRow) -> tuple[ConstraintChange, ...]:
    old = {c.name: c.status for c in before.constraints}
    new = {c.name: c.status for c in after.constraints}
    return tuple(
        ConstraintChange(name, old.get(name), new.get(name), old.get(name) != new.get(name))
        for name in dict.fromkeys((*old, *new))
    )


def _listing(samples: dict[str, CandidateSample]) -> str:
    """Names for an error message; the first few if they are many."""
    names = list(samples)
    if len(names) > _NAMES_LISTED:
        more = len(names) - _NAMES_LISTED + 1
        names = [*names[: _NAMES_LISTED - 1], f"{more} more"]
    if len(names) <= 1:
        return "".join(names) or "none"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
