"""The report for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.decision.verdict import Status, VerdictKind
from latency_sweep.analysis.report import facts, tables
from latency_sweep.analysis.report.tables import STATUS_LEGEND, STATUS_LETTERS
from latency_sweep.analysis.report.terminal import Page, terminal_width

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Verdict
    from latency_sweep.analysis.report.tables import Table

_REASONS_SHOWN: Final = 8
_STYLES: Final = {
    VerdictKind.WINNER: "bold green",
    VerdictKind.TIE: "bold green",
    VerdictKind.INCONCLUSIVE: "bold yellow",
    VerdictKind.NONE_PASSES: "bold red",
}


def render_text(verdict: Verdict, *, color: bool, width: int | None = None) -> str:
    """The report as text, the verdict first.

    Args:
        verdict: with printable texts only.
        color: whether to write ANSI colours.
        width: columns; those of the terminal if None.
    """
    page = Page(width or terminal_width(), color=color)
    _answer(page, verdict)
    _ranking(page, verdict)
    _comparisons(page, verdict)
    _constraints(page, verdict)
    _section(page, "Time strata", tables.strata(verdict))
    _section(page, "Sensitivity: who has the best score under another rule", _sensitive(verdict))
    _section(page, "Instances by themselves", tables.replicas(verdict))
    _section(page, "Level shifts inside runs", tables.change_points(verdict))
    _kept_out(page, verdict)
    _footer(page, verdict)
    return page.text()


def _answer(page: Page, verdict: Verdict) -> None:
    page.paragraph(facts.HEADLINES[verdict.kind], _STYLES[verdict.kind])
    page.paragraph(verdict.sentence, "bold")
    if verdict.reasons:
        page.heading("Why")
        page.items(verdict.reasons[:_REASONS_SHOWN])
        more = len(verdict.reasons) - _REASONS_SHOWN
        if more > 0:
            page.items([f"and {more} more like these; the other formats list them all."])
    if verdict.next_steps:
        page.heading("What to do next")
        page.items(verdict.next_steps)
    if verdict.warnings:
        page.heading("Warnings")
        page.items(verdict.warnings, "!")


def _ranking(page: Page, verdict: Verdict) -> None:
    if not verdict.ranking:
        return
    page.heading("Ranking")
    whole = tables.ranking(verdict)
    page.table(
        whole,
        whole.only("#", "place", *tables.LATENCY_COLUMNS).without("p99 interval"),
        whole.only("#", "place", *tables.STANDING_COLUMNS),
    )


def _comparisons(page: Page, verdict: Verdict) -> None:
    if not verdict.comparisons:
        return
    page.heading(f"p99 in ms, {verdict.leader} against")
    whole = tables.comparisons(verdict)
    page.table(
        whole.without("pooled shift", "pooled interval"),
        whole.only("rival", "change", "shift", "interval", "MW p", "delta"),
    )


def _constraints(page: Page, verdict: Verdict) -> None:
    if not verdict.ranking:
        return
    page.heading(f"Hard constraints ({STATUS_LEGEND})")
    for row in verdict.ranking:
        page.item(STATUS_LETTERS[row.status], f"{row.rank}. {row.name}", "bold")
        # All evidence of the places in question; of the others what they do not pass.
        in_question = row.name == verdict.leader or row.name in verdict.tied
        passed = []
        for result in row.constraints:
            title = tables.CONSTRAINT_TITLES[result.name]
            if result.status is Status.PASS and not in_question:
                passed.append(title)
                continue
            missing = f" Missing: {result.missing}" if result.missing else ""
            letter = STATUS_LETTERS[result.status]
            # Most sentences name what they are about.
            topic = "" if title in result.evidence else f"{title}: "
            page.item(letter, f"{topic}{result.evidence}{missing}", indent=2)
        if passed:
            page.item(STATUS_LETTERS[Status.PASS], ", ".join(passed), "dim", indent=2)


def _sensitive(verdict: Verdict) -> Table:
    return tables.sensitivity(verdict).only("rule", "best score", "changes")


def _section(page: Page, title: str, table: Table) -> None:
    if table.rows:
        page.heading(title)
        page.table(table)


def _kept_out(page: Page, verdict: Verdict) -> None:
    rows = [(row, [run for run in row.runs if not run.used]) for row in verdict.ranking]
    if not any(runs for _, runs in rows):
        return
    page.heading("Runs kept out")
    for row, runs in rows:
        by_reason: dict[str, list[str]] = {}
        for run in runs:
            by_reason.setdefault("; ".join(run.reasons), []).append(run.run)
        for reason, names in by_reason.items():
            page.item("-", f"{row.name}, {', '.join(names)}: {reason}.", indent=2)


def _footer(page: Page, verdict: Verdict) -> None:
    page.heading("To repeat this")
    for label, value in facts.provenance(verdict):
        page.paragraph(f"{label}: {value}", "dim", indent=2)
    command = facts.command(verdict)
    if command is not None:
        page.verbatim(command)
