"""What changed between two sweeps, or between two places of one sweep: before and after.

The unit of evidence is the run, as everywhere. Where both sides measured the same minutes, as two
places of one sweep did, runs are paired by their label. Two sweeps at different times have no
pairs; then the runs of the one are tested against those of the other, and a change of the
exchange or of the hour cannot be told from a change of the place.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from latency_sweep.analysis.decision.comparison import Pairs, margin_between
from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.verdict import Interval, Margin, Status, VerdictKind
from latency_sweep.analysis.evidence.pool import P99, P999, Pool, pools_of
from latency_sweep.analysis.stats import inference
from latency_sweep.analysis.stats.resample import percentile_interval
from latency_sweep.analysis.wording import count, enumeration, ms, percent
from latency_sweep.nativehist.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from latency_sweep.analysis.decision.verdict import CandidateRow, Verdict
    from latency_sweep.analysis.evidence.archive import Archive
    from latency_sweep.analysis.pricing.prices import PriceTable
    from latency_sweep.contract.experiment import Decision

    Floats = NDArray[np.float64]

_QUANTILES = {"p50": 0.5, "p99": P99, "p99.9": P999}


class CompareError(Exception):
    """The two sides cannot be compared; the message says why and what to do."""


class Movement(StrEnum):
    """What the evidence says happened to p99."""

    FASTER = "faster"
    SLOWER = "slower"
    UNCHANGED = "unchanged"
    UNDECIDED = "undecided"


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
    before: Status | None
    after: Status | None
    changed: bool


@dataclass(frozen=True, slots=True)
class PlaceChange:
    """One place before and after, or one place against another.

    Attributes:
        before: name of the place on the first side.
        after: name of the place on the second side; the same unless two places are compared.
        movement: of p99, what the evidence says.
        paired: whether runs were paired by their label.
        runs_before: usable runs on the first side that were tested.
        runs_after: usable runs on the second side that were tested.
        quantiles: p50, p99 and p99.9.
        p_value: two-sided exact p of p99 over runs: sign-flip if paired, else Mann-Whitney.
        p_holm: the same, adjusted by Holm over all places compared; this one decides.
        smallest_p: the smallest p that so many runs can give.
        shift_sec: typical p99 of a run, after minus before (Hodges-Lehmann).
        shift_ratio: the same as a ratio of the first side's p99; None if that is not positive.
        cliffs_delta: -1 to 1; 1 means every run after is slower than every run before.
        margin: the difference that counts.
        constraints: each hard constraint.
        rank_before: place in the ranking.
        rank_after: place in the ranking.
        sentence: the finding in words.
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
    sentence: str


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the comparison.

    Attributes:
        experiment: its name.
        source: where its evidence came from.
        since: Unix seconds, start of its range.
        until: Unix seconds, end of its range.
        kind: its verdict by itself.
        winner: the winner, or None.
        sentence: its verdict in words.
    """

    experiment: str
    source: str
    since: float
    until: float
    kind: VerdictKind
    winner: str | None
    sentence: str


@dataclass(frozen=True, slots=True)
class SweepComparison:
    """The answer to "what changed".

    Attributes:
        sentence: the answer in one sentence.
        verdict_changed: whether the two sides end in another verdict or another winner.
        before: the first side.
        after: the second side.
        places: each place that both sides have, largest change first.
        only_before: places that only the first side has.
        only_after: places that only the second side has.
        confidence: that of the intervals and tests.
        seed: of the bootstrap.
        warnings: what makes the two sides less comparable.
    """

    sentence: str
    verdict_changed: bool
    before: Side
    after: Side
    places: tuple[PlaceChange, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    confidence: float
    seed: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Judged:
    """A side with its verdict and pools by candidate name."""

    archive: Archive
    verdict: Verdict
    pools: dict[str, Pool]
    rows: dict[str, CandidateRow]

    @classmethod
    def of(cls, archive: Archive, prices: PriceTable | None, seed: int) -> _Judged:
        found = decide(archive.evidence, archive.experiment, prices=prices, seed=seed)
        pools = {c.name: pool for c, pool in pools_of(archive.evidence).items()}
        return cls(archive, found, pools, {row.name: row for row in found.ranking})

    def side(self) -> Side:
        scope, found = self.archive.evidence.scope, self.verdict
        return Side(
            experiment=scope.experiment,
            source=self.archive.evidence.source,
            since=scope.since,
            until=scope.until,
            kind=found.kind,
            winner=found.winner,
            sentence=found.sentence,
        )


def compare_sweeps(
    before: Archive, after: Archive, *, prices: PriceTable | None = None, seed: int = 0
) -> SweepComparison:
    """Compare each place that two sweeps have in common.

    Thresholds, confidence and weights of each side are those of its own experiment; the
    comparison uses those of the second.

    Args:
        before: the earlier evidence, and what it was evaluated under.
        after: the later evidence.
        prices: USD per hour; the shipped table if None.
        seed: of the bootstrap; the same evidence and seed give the same answer.

    Raises:
        CompareError: the two have no place in common.
    """
    first, second = (_Judged.of(archive, prices, seed) for archive in (before, after))
    shared = [name for name in second.rows if name in first.rows]
    if not shared:
        raise CompareError(
            "The two sides have no place in common: the first has"
            f" {_listing(first.pools)}, the second {_listing(second.pools)}."
            " Analyse both with the same --by, or name two places of one source."
        )
    return _comparison(first, second, [(name, name) for name in shared], seed)


def compare_places(
    archive: Archive, first: str, second: str, *, prices: PriceTable | None = None, seed: int = 0
) -> SweepComparison:
    """Compare two places of one sweep, over the runs that both have.

    Args:
        archive: the evidence, and what it is evaluated under.
        first: name of the place that counts as before.
        second: name of the place that counts as after.
        prices: USD per hour; the shipped table if None.
        seed: of the bootstrap.

    Raises:
        CompareError: a name is no candidate of the evidence.
    """
    evaluated = _Judged.of(archive, prices, seed)
    for name in (first, second):
        if name not in evaluated.pools:
            raise CompareError(
                f"There is no place {name!r} in the evidence; it has {_listing(evaluated.pools)}."
            )
    return _comparison(evaluated, evaluated, [(first, second)], seed)


def _comparison(
    first: _Judged, second: _Judged, names: Sequence[tuple[str, str]], seed: int
) -> SweepComparison:
    rule = second.archive.experiment.decision
    drafts = [_draft((first, second), pair, rule, seed) for pair in names]
    adjusted = inference.holm([draft.p_value for draft in drafts])
    places = [_settled(draft, p, rule) for draft, p in zip(drafts, adjusted, strict=True)]
    places.sort(key=lambda c: (-abs(c.shift_ratio or 0.0), c.after))
    old, new = first.verdict, second.verdict
    same_sweep = first is second
    answer = SweepComparison(
        sentence="",
        verdict_changed=(old.kind, old.winner, old.tied) != (new.kind, new.winner, new.tied),
        before=first.side(),
        after=second.side(),
        places=tuple(places),
        only_before=() if same_sweep else tuple(n for n in first.rows if n not in second.rows),
        only_after=() if same_sweep else tuple(n for n in second.rows if n not in first.rows),
        confidence=rule.confidence,
        seed=seed,
        warnings=tuple(_warnings(first, second, places)),
    )
    sentence = places[0].sentence if same_sweep else _sentence(answer)
    return dataclasses.replace(answer, sentence=sentence)


def _draft(
    sides: tuple[_Judged, _Judged], names: tuple[str, str], rule: Decision, seed: int
) -> PlaceChange:
    """Everything but the adjusted p, and what follows from it."""
    before, after = (side.pools[name] for side, name in zip(sides, names, strict=True))
    old, new = (side.rows[name] for side, name in zip(sides, names, strict=True))
    pairs = Pairs.of(before, after)
    # A few runs in common by chance are no pairing: it would throw all others away.
    fewest = min(len(before.runs), len(after.runs))
    paired = bool(pairs.labels) and 2 * len(pairs.labels) >= fewest
    labels = (pairs.labels, pairs.labels) if paired else (tuple(before.runs), tuple(after.runs))
    mine, theirs = (
        np.array([pool.run_p99[label] for label in chosen])
        for pool, chosen in zip((before, after), labels, strict=True)
    )
    shared = pairs.dependence(sides[1].archive.experiment.timing.measurement_sec)
    if paired:
        p_value = inference.sign_flip_p(pairs.tested, shared.covariance)
        smallest = inference.smallest_sign_flip_p(len(pairs.labels))
        shift = inference.hodges_lehmann(pairs.seconds)
    else:
        p_value = inference.mann_whitney_p(mine, theirs)
        smallest = inference.smallest_mann_whitney_p(mine.size, theirs.size)
        shift = (
            float(np.median(np.subtract.outer(theirs, mine)))
            if mine.size and theirs.size
            else (math.nan)
        )
    level = float(np.median(mine)) if mine.size else math.nan
    ratio = shift / level if level > 0 else math.nan
    if paired and pairs.log_scale:  # as `analyze` tells it of the same two places
        ratio = math.expm1(inference.hodges_lehmann(pairs.tested))
    return PlaceChange(
        before=before.name,
        after=after.name,
        movement=Movement.UNDECIDED,
        paired=paired,
        runs_before=len(labels[0]),
        runs_after=len(labels[1]),
        quantiles=_quantiles(
            (before, after),
            labels,
            rule,
            seed,
            stretch=shared.stretch(pairs.tested) if paired else None,
        ),
        p_value=p_value,
        p_holm=p_value,
        smallest_p=smallest,
        shift_sec=_finite(shift),
        shift_ratio=_finite(ratio),
        cliffs_delta=_finite(inference.cliffs_delta(mine, theirs)),
        margin=margin_between(before, after, rule),
        constraints=_constraints(old, new),
        rank_before=old.rank,
        rank_after=new.rank,
        sentence="",
    )


def _quantiles(
    pools: tuple[Pool, Pool],
    labels: tuple[tuple[str, ...], tuple[str, ...]],
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
        Grid.of([pool.runs[label].latency for label in chosen])
        for pool, chosen in zip(pools, labels, strict=True)
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


def _settled(draft: PlaceChange, p_holm: float, rule: Decision) -> PlaceChange:
    movement = _movement(draft, p_holm, rule)
    settled = dataclasses.replace(draft, p_holm=p_holm, movement=movement)
    return dataclasses.replace(settled, sentence=_finding(settled, rule))


def _movement(draft: PlaceChange, p_holm: float, rule: Decision) -> Movement:
    """Significant and larger than the margin; or shown to be smaller; or neither."""
    alpha, margin, shift = 1 - rule.confidence, draft.margin.total_sec, draft.shift_sec
    if shift is None or min(draft.runs_before, draft.runs_after) < rule.min_runs:
        return Movement.UNDECIDED
    if p_holm < alpha and abs(shift) > margin:
        return Movement.SLOWER if shift > 0 else Movement.FASTER
    interval = next(q.interval for q in draft.quantiles if q.name == "p99")
    low, high = (interval.low, interval.high) if interval else (None, None)
    if draft.smallest_p < alpha and low is not None and high is not None:
        within = -margin <= low and high <= margin and abs(shift) <= margin
        return Movement.UNCHANGED if within else Movement.UNDECIDED
    return Movement.UNDECIDED


def _finding(change: PlaceChange, rule: Decision) -> str:
    two = change.before != change.after
    subject = f"{change.after}, against {change.before}," if two else change.after
    if change.shift_sec is None:
        return f"{subject} has no usable run on one of the sides."
    relative = "" if change.shift_ratio is None else f", {percent(abs(change.shift_ratio))}"
    by = f"{ms(abs(change.shift_sec))}{relative}"
    runs = (
        f"n = {change.runs_after}"
        if change.paired
        else f"n = {change.runs_before} and {change.runs_after}"
    )
    facts = f"p = {change.p_holm:.2g} after Holm, {runs}"
    verb = "is" if two else "became"
    margin = ms(change.margin.total_sec)
    if change.movement in {Movement.FASTER, Movement.SLOWER}:
        return f"{subject} {verb} {change.movement} at p99 by {by} ({facts})."
    if change.movement is Movement.UNCHANGED:
        what = "differs" if two else "changed"
        return f"{subject} {what} by less than {margin} at p99, which does not count."
    if change.smallest_p >= 1 - rule.confidence:
        return (
            f"{subject} has too few runs for any change to be significant"
            f" ({runs}; the smallest possible p is {change.smallest_p:.2g})."
        )
    return f"{subject} shows no sure change at p99: {by} ({facts}; {margin} count)."


def _sentence(answer: SweepComparison) -> str:
    moved = {m: [c.after for c in answer.places if c.movement is m] for m in Movement}
    parts = [f"{len(names)} {movement}" for movement, names in moved.items() if names]
    total = count(len(answer.places), "place")
    verdict = "the verdict stays the same"
    if answer.verdict_changed:
        verdict = f"the verdict changed from {_outcome(answer.before)} to {_outcome(answer.after)}"
    return f"Of {total} in common, {enumeration(parts)}; {verdict}."


def _outcome(side: Side) -> str:
    name = side.kind.replace("_", " ")
    return f"{name} ({side.winner})" if side.winner else name


def _warnings(first: _Judged, second: _Judged, places: Sequence[PlaceChange]) -> list[str]:
    if first is second:
        return list(second.archive.evidence.warnings)
    warnings = []
    old, new = first.archive, second.archive
    for what in ("market", "streams", "symbols"):
        values = [getattr(a.evidence.scope, what) for a in (old, new)]
        if values[0] != values[1]:
            shown = " and ".join(_shown(value) for value in values)
            warnings.append(f"The two sides hold different {what}: {shown}.")
    if old.experiment.decision != new.experiment.decision:
        warnings.append(
            "The two sides were evaluated by different rules; the comparison uses the second's."
        )
    if any(not c.paired for c in places):
        warnings.append(
            "The two sides measured at different times: a change of the exchange, or of the hours"
            " measured, looks like a change of the place."
        )
    if any(archive.evidence.approximate for archive in (old, new)):
        warnings.append("One side's histograms were rebuilt from percentiles: it is rough.")
    return warnings


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "all"


def _listing(pools: dict[str, Pool]) -> str:
    names = list(pools)
    if not names:
        return "none"
    if len(names) <= 5:  # noqa: PLR2004 - as many as a sentence holds
        return enumeration(names)
    return f"{', '.join(names[:4])} and {len(names) - 4} more"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
