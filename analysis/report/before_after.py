"""Reports of what changed between two sweeps or two places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.decision.before_after import Movement
from latency_sweep.analysis.report import figures, formats
from latency_sweep.analysis.report.facts import moment
from latency_sweep.analysis.report.json import dumps
from latency_sweep.analysis.report.markdown import escape, listed, section
from latency_sweep.analysis.report.printable import legible
from latency_sweep.analysis.report.tables import (
    CONSTRAINT_TITLES,
    STATUS_LEGEND,
    STATUS_LETTERS,
    Column,
    Kind,
    Table,
)
from latency_sweep.analysis.report.terminal import Page, terminal_width
from latency_sweep.contract.program import DISTRIBUTION, program_version

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.before_after import PlaceChange, Side, SweepComparison
    from latency_sweep.analysis.decision.verdict import Status

FORMATS: Final = formats.CHANGE
_SIGNS: Final = {Movement.UNCHANGED: "=", Movement.UNDECIDED: "~"}


def render_change(
    comparison: SweepComparison, output: str, *, color: bool = False, width: int | None = None
) -> str:
    """What changed, in one of the `FORMATS`.

    Args:
        comparison: from `latency_sweep.analysis.decision.before_after`.
        output: the format.
        color: ANSI colours; only `text` has them.
        width: columns of `text`; those of the terminal if None.

    Raises:
        ValueError: there is no such format.
    """
    if output == "json":
        return dumps(comparison)
    plain = legible(comparison)
    if output == "text":
        return _text(plain, color=color, width=width)
    if output == "markdown":
        return _markdown(plain)
    raise ValueError(f"There is no format {output!r}; choose one of {', '.join(FORMATS)}.")


def _text(comparison: SweepComparison, *, color: bool, width: int | None) -> str:
    page = Page(width or terminal_width(), color=color)
    page.paragraph(comparison.sentence, "bold")
    if comparison.warnings:
        page.heading("Warnings")
        page.items(comparison.warnings, "!")
    page.heading("p99, before and after")
    page.table(_changes(comparison))
    page.heading("p50, p99 and p99.9")
    page.table(_quantiles(comparison))
    if any(c.changed for place in comparison.places for c in place.constraints):
        page.heading("Hard constraints that changed")
        page.table(_constraints(comparison))
    page.heading("In words")
    page.items(place.sentence for place in comparison.places)
    page.items(_unmatched(comparison))
    page.heading("The two sides")
    page.items(_sides(comparison))
    return page.text()


def _markdown(comparison: SweepComparison) -> str:
    changed = any(c.changed for place in comparison.places for c in place.constraints)
    parts = [
        "# What changed",
        f"**{escape(comparison.sentence)}**",
        *listed("Warnings", comparison.warnings),
        *section("p99, before and after", _changes(comparison)),
        *section("p50, p99 and p99.9", _quantiles(comparison)),
        *(section("Hard constraints that changed", _constraints(comparison)) if changed else ()),
        *listed("In words", [*(p.sentence for p in comparison.places), *_unmatched(comparison)]),
        *listed("The two sides", _sides(comparison)),
    ]
    return "\n\n".join(parts) + "\n"


def _changes(comparison: SweepComparison) -> Table:
    """The answer for each place: what happened to p99."""
    columns = (
        Column("place", Kind.PLACE),
        Column("before"),
        Column("after"),
        Column("change"),
        Column("rank", Kind.WORDS),
    )
    rows = []
    for place in comparison.places:
        (p99,) = (q for q in place.quantiles if q.name == "p99")
        before, after = figures.milliseconds(p99.before_sec), figures.milliseconds(p99.after_sec)
        ranks = f"{place.rank_before} -> {place.rank_after}"
        rows.append((_name(place), before, after, _change(place), ranks))
    note = (
        "Pooled p99 in ms. Change: of the typical run's p99; ~ not surely any, = less than counts;"
        " p after Holm."
    )
    return Table(columns, tuple(rows), (note,))


def _quantiles(comparison: SweepComparison) -> Table:
    columns = (
        Column("place", Kind.PLACE),
        Column("quantile"),
        Column("before"),
        Column("after"),
        Column("shift"),
        Column("interval"),
    )
    rows = tuple(
        (
            _name(place) if quantile is place.quantiles[0] else "",
            quantile.name,
            figures.milliseconds(quantile.before_sec),
            figures.milliseconds(quantile.after_sec),
            figures.shift(quantile.shift_sec),
            figures.span(quantile.interval, signed=True),
        )
        for place in comparison.places
        for quantile in place.quantiles
    )
    note = (
        "In ms, pooled over the runs; shift: after minus before, with its bootstrap interval at"
        f" {figures.share(comparison.confidence)}."
    )
    return Table(columns, rows, (note,))


def _change(place: PlaceChange) -> str:
    sign = _SIGNS.get(place.movement)
    if sign is None:
        sign = figures.share(place.shift_ratio, signed=True)
    runs = f"{place.runs_after}" if place.paired else f"{place.runs_before}+{place.runs_after}"
    return f"{sign} {figures.evidence(place.p_holm, runs)}"


def _constraints(comparison: SweepComparison) -> Table:
    columns = (
        Column("place", Kind.PLACE),
        Column("constraint", Kind.WORDS),
        Column("before", Kind.STATUS),
        Column("after", Kind.STATUS),
    )
    rows = tuple(
        (
            _name(place),
            CONSTRAINT_TITLES.get(change.name, change.name),
            _letter(change.before),
            _letter(change.after),
        )
        for place in comparison.places
        for change in place.constraints
        if change.changed
    )
    return Table(columns, rows, (f"{STATUS_LEGEND}.",))


def _letter(status: Status | None) -> str:
    return figures.UNKNOWN if status is None else STATUS_LETTERS[status]


def _name(place: PlaceChange) -> str:
    return place.after if place.before == place.after else f"{place.before} -> {place.after}"


def _unmatched(comparison: SweepComparison) -> list[str]:
    return [
        *(f"{name} is only on the first side." for name in comparison.only_before),
        *(f"{name} is only on the second side." for name in comparison.only_after),
    ]


def _sides(comparison: SweepComparison) -> list[str]:
    sides: tuple[tuple[str, Side], ...] = (
        ("Before", comparison.before),
        ("After", comparison.after),
    )
    own = f"Program: {DISTRIBUTION} {program_version()}, seed {comparison.seed}."
    if comparison.before == comparison.after:  # two places of one sweep
        sides = (("Both", comparison.after),)
    return [*(_side(title, side) for title, side in sides), own]


def _side(title: str, side: Side) -> str:
    return (
        f"{title}: {side.experiment}, {moment(side.since)} to {moment(side.until)},"
        f" from {side.source}. {side.sentence}"
    )
