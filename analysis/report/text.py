"""The report for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.decision.results import ConstraintStatus
from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.report import tables
from latency_sweep.analysis.report.same_events_table import TITLE, same_events
from latency_sweep.analysis.report.tables import STATUS_LEGEND, STATUS_LETTERS
from latency_sweep.analysis.report.terminal import Page, terminal_width
from latency_sweep.analysis.report.timestamp_table import timestamps
from latency_sweep.analysis.report.words import conclusion, facts, sentences
from latency_sweep.analysis.report.words.next_steps import next_steps
from latency_sweep.analysis.report.words.warnings import warnings

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Verdict
    from latency_sweep.analysis.report.tables import Table

_REASONS_SHOWN: Final = 8
_STYLES: Final = {
    VerdictKind.WINNER: "bold green",
    VerdictKind.SHORTLIST: "bold green",
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
    _conclusion(page, verdict)
    _ranking(page, verdict)
    _section(page, TITLE, same_events(verdict))
    _comparisons(page, verdict)
    _constraints(page, verdict)
    _section(page, "Time strata", tables.strata(verdict))
    _section(page, "Sensitivity: who has the best score under another rule", _sensitive(verdict))
    _section(page, "How late timestamps may be", timestamps(verdict))
    _section(page, "Each instance on its own", tables.instances(verdict))
    _section(page, "Level shifts inside runs", tables.change_points(verdict))
    _excluded(page, verdict)
    _footer(page, verdict)
    return page.text()


def _conclusion(page: Page, verdict: Verdict) -> None:
    page.paragraph(facts.HEADLINES[verdict.kind], _STYLES[verdict.kind])
    page.paragraph(conclusion.sentence(verdict), "bold")
    reasons = conclusion.reasons(verdict)
    if reasons:
        page.heading("Why")
        page.items(reasons[:_REASONS_SHOWN])
        more = len(reasons) - _REASONS_SHOWN
        if more > 0:
            page.items([f"and {more} more like these; the other formats list them all."])
    steps = next_steps(verdict)
    if steps:
        page.heading("What to do next")
        page.items(steps)
    warned = warnings(verdict)
    if warned:
        page.heading("Warnings")
        page.items(warned, "!")


def _ranking(page: Page, verdict: Verdict) -> None:
    if not verdict.ranking:
        return
    page.heading("Ranking")
    whole = tables.ranking(verdict)
    page.table(
        whole,
        whole.only("#", "candidate", *tables.LATENCY_COLUMNS).without("p99 interval"),
        whole.only("#", "candidate", *tables.STANDING_COLUMNS),
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
        # All evidence of the candidates in question; of the others what they do not pass.
        in_question = row.name == verdict.leader or row.name in verdict.tied
        passed = []
        for result in row.constraints:
            title = tables.CONSTRAINT_TITLES[result.name]
            if result.status is ConstraintStatus.PASS and not in_question:
                passed.append(title)
                continue
            evidence = sentences.constraint_evidence(result)
            lacking = sentences.constraint_missing(result)
            missing = f" Missing: {lacking}" if lacking else ""
            letter = STATUS_LETTERS[result.status]
            # Most sentences name what they are about.
            topic = "" if title in evidence else f"{title}: "
            page.item(letter, f"{topic}{evidence}{missing}", indent=2)
        if passed:
            page.item(STATUS_LETTERS[ConstraintStatus.PASS], ", ".join(passed), "dim", indent=2)


def _sensitive(verdict: Verdict) -> Table:
    return tables.sensitivity(verdict).only("rule", "best score", "changes")


def _section(page: Page, title: str, table: Table) -> None:
    if table.rows:
        page.heading(title)
        page.table(table)


def _excluded(page: Page, verdict: Verdict) -> None:
    rows = [(row, [run for run in row.runs if not run.used]) for row in verdict.ranking]
    if not any(runs for _, runs in rows):
        return
    page.heading("Excluded runs")
    for row, runs in rows:
        by_reason: dict[str, list[str]] = {}
        for run in runs:
            by_reason.setdefault("; ".join(run.reasons), []).append(run.run)
        for reason, names in by_reason.items():
            page.item("-", f"{row.name}, {', '.join(names)}: {reason}.", indent=2)


def _footer(page: Page, verdict: Verdict) -> None:
    page.heading("How to repeat this")
    for label, value in facts.provenance(verdict):
        page.paragraph(f"{label}: {value}", "dim", indent=2)
    command = facts.command(verdict)
    if command is not None:
        page.verbatim(command)
