"""Geometry of the charts: positions in per cent, so that a browser can draw them at any width."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_sweep.analysis.evidence.sample import samples_of
from latency_sweep.analysis.report.charts.scale import Scale
from latency_sweep.analysis.report.words import figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.decision.results import Comparison, ConstraintStatus, Interval
    from latency_sweep.analysis.decision.verdict import CandidateRow, RunPoint, Verdict
    from latency_sweep.analysis.evidence.records import Evidence
    from latency_sweep.analysis.evidence.sample import CandidateSample

# Candidates drawn in a colour of their own; the eye tells no more lines apart.
HIGHLIGHTED: Final = 6
_CURVE_POINTS: Final = 90
# The tail is drawn up to percentile 99.999, and as far as there is at least one observation.
_MOST_NINES: Final = 5.0
_NINES_LABELS: Final = (
    (0.5, "50 %"),
    (0.9, "90"),
    (0.99, "99"),
    (0.999, "99.9"),
    (0.9999, "99.99"),
    (0.99999, "99.999"),
)
_RUN_LABELS: Final = 6
# Rivals beyond so many times the nearest one's distance would squeeze it to nothing.
_PAIR_REACH: Final = 8.0
_PAIRS_SHOWN: Final = 8
_SHADES: Final = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at a position in per cent; a minor one may be omitted where space is short."""

    at: float
    label: str
    minor: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Dot:
    """One candidate's p99 and its interval, in per cent of the axis."""

    rank: int
    name: str
    status: ConstraintStatus
    at: float
    low: float
    high: float
    open_low: bool
    open_high: bool
    value: str
    description: str


@dataclass(frozen=True, slots=True)
class DotChart:
    """p99 with its interval, a row per candidate; those without data have none."""

    dots: tuple[Dot, ...]
    ticks: tuple[Tick, ...]
    limit: float | None
    limit_label: str
    log: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points in per cent; `style` is 1 to `HIGHLIGHTED`, or 0 for the others."""

    name: str
    style: int
    path: str


@dataclass(frozen=True, slots=True)
class CurveChart:
    """Share of messages by latency, the tail stretched."""

    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    log: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """One run of one candidate, in per cent of both axes; `y` grows downwards."""

    x: float
    y: float
    low: float | None
    high: float | None
    used: bool
    description: str


@dataclass(frozen=True, slots=True)
class Strip:
    """One candidate over the runs: its marks, and the line through those that were used."""

    name: str
    style: int
    path: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class StripChart:
    """p99 of each run, runs of the same minutes above each other."""

    strips: tuple[Strip, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    log: bool


@dataclass(frozen=True, slots=True)
class PairRow:
    """One rival: the difference in each shared run, and the typical one with its interval."""

    name: str
    relation: str
    runs: tuple[Mark, ...]
    at: float
    low: float | None
    high: float | None
    margin_low: float
    margin_high: float
    value: str
    description: str


@dataclass(frozen=True, slots=True)
class PairChart:
    """p99 of the closest rivals against the leader, run by run; `zero` is no difference."""

    rows: tuple[PairRow, ...]
    ticks: tuple[Tick, ...]
    zero: float
    not_drawn: int


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A candidate's p99 by hour of the day: text and shade, -1 without data."""

    name: str
    cells: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """p99 by UTC hour in which a run began."""

    hours: tuple[str, ...]
    rows: tuple[HeatRow, ...]


@dataclass(frozen=True, slots=True)
class Charts:
    """All charts of a report; None where there is nothing to draw."""

    dots: DotChart | None
    curves: CurveChart | None
    strips: StripChart | None
    pairs: PairChart | None
    heat: HeatMap | None


def charts(verdict: Verdict, evidence: Evidence) -> Charts:
    """Everything that the report draws.

    Args:
        verdict: what was decided.
        evidence: what it was decided on.
    """
    samples = samples_of(evidence)
    known = [(row, samples[row.candidate]) for row in verdict.ranking if row.candidate in samples]
    return Charts(
        dots=_dots(verdict.ranking),
        curves=_curves([(row, sample) for row, sample in known if sample.runs]),
        strips=_strips(verdict.ranking),
        pairs=_pairs(verdict),
        heat=_heat(known),
    )


def _dots(rows: Sequence[CandidateRow]) -> DotChart | None:
    shown = [(row, row.p99_sec) for row in rows if row.p99_sec is not None]
    if not shown:
        return None
    intervals = [row.p99_interval for row, _ in shown if row.p99_interval]
    ends = [end for interval in intervals for end in (interval.low, interval.high)]
    limits = {c.limit for row, _ in shown for c in row.constraints if c.name == "p99"}
    scale = Scale.over([*(p99 for _, p99 in shown), *ends])
    # The limit is drawn where it lies among the values; it must not squeeze them.
    limit = min(limits, default=None)
    within = limit is not None and scale.low <= limit <= scale.high
    return DotChart(
        tuple(_dot(row, p99, scale) for row, p99 in shown),
        _ticks(scale),
        scale.at(limit) if limit is not None and within else None,
        f"limit {figures.milliseconds(limit)} ms",
        scale.log,
    )


def _dot(row: CandidateRow, p99: float, scale: Scale) -> Dot:
    interval = row.p99_interval
    low, high = _ends(interval)
    value = figures.milliseconds(p99)
    span = figures.span(interval)
    return Dot(
        rank=row.rank,
        name=row.name,
        status=row.status,
        at=scale.at(p99),
        low=scale.at(p99 if low is None else low),
        high=scale.at(p99 if high is None else high),
        open_low=low is None,
        open_high=high is None,
        value=value,
        description=f"{row.name}: p99 {value} ms, interval {span} ms",
    )


def _curves(known: Sequence[tuple[CandidateRow, CandidateSample]]) -> CurveChart | None:
    if not known:
        return None
    points = []
    for _, sample in known:
        observed = float(sample.latency.counts.sum())
        nines = np.linspace(0.01, min(_MOST_NINES, max(0.1, math.log10(observed))), _CURVE_POINTS)
        points.append((nines, sample.latency.quantiles((1 - 10**-nines).tolist())))
    scale = Scale.over(float(x) for _, values in points for x in (values[0], values[-1]))
    top = max(float(nines[-1]) for nines, _ in points)
    heights = [(-math.log10(1 - q) / top, label) for q, label in _NINES_LABELS]
    curves = []
    for index, ((row, _), (nines, values)) in enumerate(zip(known, points, strict=True)):
        line = [
            (scale.at(float(x)), 100 - 100 * float(y) / top)
            for x, y in zip(values, nines, strict=True)
            if not math.isnan(x)
        ]
        curves.append(Curve(row.name, _style(index), _path(line)))
    return CurveChart(
        tuple(curves),
        _ticks(scale),
        tuple(_upwards(100 * y, label) for y, label in heights if y <= 1),
        scale.log,
    )


def _strips(rows: Sequence[CandidateRow]) -> StripChart | None:
    shown = [row for row in rows if any(run.p99_sec is not None for run in row.runs)]
    strata = {run.run: run.stratum or "" for row in shown for run in row.runs}
    labels = sorted(strata)
    if not labels:
        return None
    values = [run.p99_sec for row in shown for run in row.runs]
    ends = [
        end
        for row in shown[:HIGHLIGHTED]
        for run in row.runs
        if run.used and run.p99_interval
        for end in (run.p99_interval.low, run.p99_interval.high)
    ]
    scale = Scale.over([*values, *ends])
    columns = {label: 100 * (i + 0.5) / len(labels) for i, label in enumerate(labels)}
    strips = []
    for index, row in enumerate(shown):
        style = _style(index)
        # Beside each other within the column, so that the intervals can be told apart.
        aside = (style - (HIGHLIGHTED + 1) / 2) * 60 / HIGHLIGHTED / len(labels) if style else 0.0
        marks = tuple(
            _mark(run, run.p99_sec, columns[run.run] + aside, scale, row.name)
            for run in row.runs
            if run.p99_sec is not None
        )
        line = [(mark.x, mark.y) for mark in marks if mark.used]
        strips.append(Strip(row.name, style, _path(line), marks))
    every, last = math.ceil(len(labels) / _RUN_LABELS), len(labels) - 1
    kept = {0, last}
    ticks = (
        Tick(round(columns[label], 3), *_run_tick(label, strata[label], minor=i not in kept))
        for i, label in enumerate(labels)
        if i == last or (i % every == 0 and last - i >= every)
    )
    upwards = tuple(_upwards(tick.at, tick.label) for tick in _ticks(scale))
    return StripChart(tuple(strips), tuple(ticks), upwards, scale.log)


def _mark(run: RunPoint, p99: float, x: float, scale: Scale, name: str) -> Mark:
    interval = run.p99_interval
    low, high = _ends(interval)
    state = "" if run.used else f", excluded: {'; '.join(run.reasons)}"
    return Mark(
        x=round(x, 3),
        y=round(100 - scale.at(p99), 3),
        low=None if low is None else round(100 - scale.at(low), 3),
        high=None if high is None else round(100 - scale.at(high), 3),
        used=run.used,
        description=f"{name}, run {run.run}: p99 {figures.milliseconds(p99)} ms{state}",
    )


def _run_tick(label: str, stratum: str, *, minor: bool) -> tuple[str, bool, str]:
    moment = _moment(label)
    if moment is None:
        return label[:16], minor, stratum
    return moment.strftime("%H:%M"), minor, f"{moment.strftime('%d %b')} {stratum}".strip()


def _pairs(verdict: Verdict) -> PairChart | None:
    """Differences in seconds of the rivals that are near enough to share an axis."""
    p99 = {
        row.name: {run.run: run.p99_sec for run in row.runs if run.used and run.p99_sec is not None}
        for row in verdict.ranking
    }
    known = []
    for found in verdict.comparisons:
        mine, theirs = p99.get(found.leader, {}), p99.get(found.rival, {})
        differences = {run: theirs[run] - mine[run] for run in sorted(mine.keys() & theirs.keys())}
        if differences and found.shift_sec is not None:
            known.append((found, found.shift_sec, differences))
    if not known:
        return None
    nearest = min(abs(shift) for _, shift, _ in known)
    reach = max(_PAIR_REACH * nearest, *(_PAIR_REACH * f.margin.total_sec for f, _, _ in known[:1]))
    shown = [item for item in known if abs(item[1]) <= reach][:_PAIRS_SHOWN]
    values = [0.0, *(d for _, _, differences in shown for d in differences.values())]
    for found, _, _ in shown:
        values += [found.margin.total_sec, -found.margin.total_sec]
        if found.shift_interval is not None:
            values += [e for e in (found.shift_interval.low, found.shift_interval.high) if e]
    scale = Scale.linear(values)
    return PairChart(
        tuple(_pair_row(found, shift, runs, scale) for found, shift, runs in shown),
        _ticks(scale),
        scale.at(0.0),
        len(verdict.comparisons) - len(shown),
    )


def _pair_row(
    found: Comparison, shift: float, differences: dict[str, float], scale: Scale
) -> PairRow:
    interval, margin = found.shift_interval, found.margin.total_sec
    low, high = _ends(interval)
    value, span = figures.shift(shift), figures.span(interval, signed=True)
    marks = tuple(
        Mark(scale.at(d), 50.0, None, None, used=True, description=f"{run}: {figures.shift(d)} ms")
        for run, d in differences.items()
    )
    return PairRow(
        name=found.rival,
        relation=found.relation.value,
        runs=marks,
        at=scale.at(shift),
        low=None if low is None else scale.at(low),
        high=None if high is None else scale.at(high),
        margin_low=scale.at(-margin),
        margin_high=scale.at(margin),
        value=value,
        description=f"{found.rival}: {value} ms, interval {span} ms, {found.relation.value}",
    )


def _heat(known: Sequence[tuple[CandidateRow, CandidateSample]]) -> HeatMap | None:
    by_row = []
    for row, sample in known:
        hours: dict[int, list[str]] = defaultdict(list)
        for label in sample.runs:
            moment = _moment(label)
            if moment is not None:
                hours[moment.hour].append(label)
        p99 = {hour: sample.p99_over(tuple(sorted(labels))) for hour, labels in hours.items()}
        by_row.append((row, p99))
    seen = sorted({hour for _, p99 in by_row for hour in p99})
    if len(seen) < 2:  # noqa: PLR2004 - one hour is no course of the day
        return None
    scale = Scale.over(value for _, p99 in by_row for value in p99.values())
    rows = []
    for row, p99 in by_row:
        cells = tuple(
            (figures.milliseconds(p99[hour]), min(_SHADES - 1, int(scale.at(p99[hour]) / 20)))
            if hour in p99
            else (figures.UNKNOWN, -1)
            for hour in seen
        )
        rows.append(HeatRow(row.name, cells))
    return HeatMap(tuple(f"{hour:02d} h" for hour in seen), tuple(rows))


def _style(index: int) -> int:
    return index + 1 if index < HIGHLIGHTED else 0


def _ticks(scale: Scale) -> tuple[Tick, ...]:
    return tuple(Tick(scale.at(value), f"{1e3 * value:.6g}") for value in scale.ticks())


def _upwards(at: float, label: str) -> Tick:
    """A tick of an axis that grows upwards, where positions count from above."""
    return Tick(round(100 - at, 3), label)


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(
        f"{'L' if index else 'M'}{x:.2f} {y:.2f}" for index, (x, y) in enumerate(points)
    )


def _moment(run: str) -> datetime | None:
    """When a run began, if its label says so."""
    try:
        return datetime.fromisoformat(run)
    except ValueError:
        return None
