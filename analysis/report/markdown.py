"""The report in GitHub's Markdown, for a pull request or a wiki."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.decision.results import ConstraintStatus
from latency_sweep.analysis.report import tables
from latency_sweep.analysis.report.same_events_table import TITLE, same_events
from latency_sweep.analysis.report.tables import CellKind
from latency_sweep.analysis.report.timestamp_table import timestamps
from latency_sweep.analysis.report.words import conclusion, facts, sentences
from latency_sweep.analysis.report.words.next_steps import next_steps
from latency_sweep.analysis.report.words.warnings import warnings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latency_sweep.analysis.decision.verdict import Verdict
    from latency_sweep.analysis.report.tables import Table

# Everything that Markdown or HTML would read as markup; `-` and `.` only matter at line starts.
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|~&$@])")


def render_markdown(verdict: Verdict) -> str:
    """The report as Markdown, the verdict first.

    Args:
        verdict: with printable texts only.
    """
    parts = [
        f"# {facts.HEADLINES[verdict.kind]}: {escape(verdict.selection.experiment)}",
        f"**{escape(conclusion.sentence(verdict))}**",
        *listed("Why", conclusion.reasons(verdict)),
        *listed("What to do next", next_steps(verdict)),
        *listed("Warnings", warnings(verdict)),
        *section("Ranking", tables.ranking(verdict)),
        *section(TITLE, same_events(verdict)),
        *section("Comparisons at p99, in ms", tables.comparisons(verdict)),
        *section(f"Hard constraints ({tables.STATUS_LEGEND})", tables.constraints(verdict)),
        *_evidence(verdict),
        *section("Time strata", tables.strata(verdict)),
        *section("Score and preferences", tables.preferences(verdict)),
        *section("Sensitivity", tables.sensitivity(verdict)),
        *section("How late timestamps may be", timestamps(verdict)),
        *section("Each instance on its own", tables.instances(verdict)),
        *section("Level shifts inside runs", tables.change_points(verdict)),
        *section("Excluded runs", tables.excluded(verdict)),
        *listed("Method", facts.method(verdict.rule)),
        *listed("How to repeat this", (f"{a}: {b}" for a, b in facts.provenance(verdict))),
    ]
    command = facts.command(verdict)
    if command is not None:
        parts.append(f"```sh\n{command}\n```")
    return "\n\n".join(parts) + "\n"


def listed(title: str, lines: Iterable[str]) -> Iterable[str]:
    """A section with a list; nothing if the list is empty."""
    points = [f"- {escape(line)}" for line in lines]
    return [f"## {title}", "\n".join(points)] if points else []


def section(title: str, table: Table) -> Iterable[str]:
    """A section with a table; nothing if the table has no row."""
    if not table.rows:
        return []
    notes = [escape(note) for note in table.notes]
    return [f"## {title}", drawn(table), *notes]


def drawn(table: Table) -> str:
    """A table whose rows all have as many cells as its heading."""
    rules = ["---:" if column.kind is CellKind.NUMBER else ":---" for column in table.columns]
    rows = [
        [escape(column.title) for column in table.columns],
        rules,
        *([escape(cell) for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _evidence(verdict: Verdict) -> Iterable[str]:
    """What is not a clear pass, with the evidence and what is missing."""
    lines = []
    for row in verdict.ranking:
        for result in row.constraints:
            if result.status is not ConstraintStatus.PASS:
                evidence = sentences.constraint_evidence(result)
                lacking = sentences.constraint_missing(result)
                missing = f" Missing: {lacking}" if lacking else ""
                lines.append(f"{row.name}: {evidence}{missing}")
    return listed("Constraints not passed", lines)


def escape(text: str) -> str:
    """Text in which nothing is read as markup."""
    return _MARKUP.sub(r"\\\1", text)
