"""Reports of what changed between two sweeps, or differs between two candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.decision.before_after import Movement
from latency_sweep.analysis.report import formats
from latency_sweep.analysis.report.json import dumps
from latency_sweep.analysis.report.markdown import escape, listed, section
from latency_sweep.analysis.report.tables import (
    CONSTRAINT_TITLES,
    STATUS_LEGEND,
    STATUS_LETTERS,
    CellKind,
    Column,
    Table,
)
from latency_sweep.analysis.report.terminal import Page, terminal_width
from latency_sweep.analysis.report.words import before_after as words
from latency_sweep.analysis.report.words import conclusion, figures
from latency_sweep.analysis.report.words.facts import moment
from latency_sweep.analysis.report.words.printable import legible
from latency_sweep.analysis.report.words.sentences import change
from latency_sweep.contract.program import DISTRIBUTION, program_version

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.before_after import BeforeAfter, CandidateChange
    from latency_sweep.analysis.decision.results import ConstraintStatus
    from latency_sweep.analysis.decision.verdict import Verdict

FORMATS: Final = formats.CHANGE
_SIGNS: Final = {Movement.UNCHANGED: "=", Movement.UNDECIDED: "~"}


def render_change(
    comparison: BeforeAfter, output: str, *, color: bool = False, width: int | None = None
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


def _text(comparison: BeforeAfter, *, color: bool, width: int | None) -> str:
    page = Page(width or terminal_width(), color=color)
    page.paragraph(words.sentence(comparison), "bold")
    warned = words.warnings(comparison)
    if warned:
        page.heading("Warnings")
        page.items(warned, "!")
    page.heading("p99, before and after")
    page.table(_changes(comparison))
    page.heading("p50, p99 and p99.9")
    page.table(_quantiles(comparison))
    if any(c.changed for candidate in comparison.candidates for c in candidate.constraints):
        page.heading("Hard constraints that changed")
        page.table(_constraints(comparison))
    page.heading("In words")
    page.items(change(candidate) for candidate in comparison.candidates)
    page.items(_unmatched(comparison))
    page.heading("The two sides")
    page.items(_sides(comparison))
    return page.text()


def _markdown(comparison: BeforeAfter) -> str:
    changed = any(c.changed for candidate in comparison.candidates for c in candidate.constraints)
    parts = [
        "# What changed",
        f"**{escape(words.sentence(comparison))}**",
        *listed("Warnings", words.warnings(comparison)),
        *section("p99, before and after", _changes(comparison)),
        *section("p50, p99 and p99.9", _quantiles(comparison)),
        *(section("Hard constraints that changed", _constraints(comparison)) if changed else ()),
        *listed("In words", [*(change(c) for c in comparison.candidates), *_unmatched(comparison)]),
        *listed("The two sides", _sides(comparison)),
    ]
    return "\n\n".join(parts) + "\n"


def _changes(comparison: BeforeAfter) -> Table:
    """For each candidate: what happened to p99."""
    columns = (
        Column("candidate", CellKind.NAME),
        Column("before"),
        Column("after"),
        Column("change"),
        Column("rank", CellKind.WORDS),
    )
    rows = []
    for candidate in comparison.candidates:
        (p99,) = (q for q in candidate.quantiles if q.name == "p99")
        before, after = figures.milliseconds(p99.before_sec), figures.milliseconds(p99.after_sec)
        ranks = f"{candidate.rank_before} -> {candidate.rank_after}"
        rows.append((_name(candidate), before, after, _change(candidate), ranks))
    note = (
        "Pooled p99 in ms. Change: of the typical run's p99; ~ no proven change, = within the"
        " margin; p after Holm."
    )
    return Table(columns, tuple(rows), (note,))


def _quantiles(comparison: BeforeAfter) -> Table:
    columns = (
        Column("candidate", CellKind.NAME),
        Column("quantile"),
        Column("before"),
        Column("after"),
        Column("shift"),
        Column("interval"),
    )
    rows = tuple(
        (
            _name(candidate) if quantile is candidate.quantiles[0] else "",
            quantile.name,
            figures.milliseconds(quantile.before_sec),
            figures.milliseconds(quantile.after_sec),
            figures.shift(quantile.shift_sec),
            figures.span(quantile.interval, signed=True),
        )
        for candidate in comparison.candidates
        for quantile in candidate.quantiles
    )
    note = (
        "In ms, pooled over the runs; shift: after minus before, with its bootstrap interval at"
        f" {figures.share(comparison.confidence)}."
    )
    return Table(columns, rows, (note,))


def _change(candidate: CandidateChange) -> str:
    sign = _SIGNS.get(candidate.movement)
    if sign is None:
        sign = figures.share(candidate.shift_ratio, signed=True)
    runs = (
        f"{candidate.runs_after}"
        if candidate.paired
        else f"{candidate.runs_before}+{candidate.runs_after}"
    )
    return f"{sign} {figures.evidence(candidate.p_holm, runs)}"


def _constraints(comparison: BeforeAfter) -> Table:
    columns = (
        Column("candidate", CellKind.NAME),
        Column("constraint", CellKind.WORDS),
        Column("before", CellKind.STATUS),
        Column("after", CellKind.STATUS),
    )
    rows = tuple(
        (
            _name(candidate),
            CONSTRAINT_TITLES.get(constraint.name, constraint.name),
            _letter(constraint.before),
            _letter(constraint.after),
        )
        for candidate in comparison.candidates
        for constraint in candidate.constraints
        if constraint.changed
    )
    return Table(columns, rows, (f"{STATUS_LEGEND}.",))


def _letter(status: ConstraintStatus | None) -> str:
    return figures.UNKNOWN if status is None else STATUS_LETTERS[status]


def _name(candidate: CandidateChange) -> str:
    return (
        candidate.after
        if candidate.before == candidate.after
        else f"{candidate.before} -> {candidate.after}"
    )


def _unmatched(comparison: BeforeAfter) -> list[str]:
    return [
        *(f"{name} is only on the first side." for name in comparison.only_before),
        *(f"{name} is only on the second side." for name in comparison.only_after),
    ]


def _sides(comparison: BeforeAfter) -> list[str]:
    sides = [("Before", comparison.before), ("After", comparison.after)]
    if comparison.same_sweep:
        sides = [("Both", comparison.after)]
    own = f"Program: {DISTRIBUTION} {program_version()}, seed {comparison.seed}."
    return [*(_side(title, side) for title, side in sides), own]


def _side(title: str, side: Verdict) -> str:
    selection = side.selection
    return (
        f"{title}: {selection.experiment}, {moment(selection.since)} to {moment(selection.until)},"
        f" from {side.source}. {conclusion.sentence(side)}"
    )
