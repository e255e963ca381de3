"""Reports of a verdict: for a terminal, a browser, a wiki, a spreadsheet and a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.report import formats
from latency_sweep.analysis.report.csv import render_csv
from latency_sweep.analysis.report.html import render_html
from latency_sweep.analysis.report.json import render_json
from latency_sweep.analysis.report.markdown import render_markdown
from latency_sweep.analysis.report.text import render_text
from latency_sweep.analysis.report.words.printable import legible

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Verdict
    from latency_sweep.analysis.evidence.records import Evidence

FORMATS: Final = formats.REPORT


def render(
    verdict: Verdict,
    evidence: Evidence,
    output: str,
    *,
    color: bool = False,
    width: int | None = None,
) -> str:
    """The report in one of the `FORMATS`; the same input gives the same text.

    Args:
        verdict: what was decided.
        evidence: what it was decided on; only `html` draws from it.
        output: the format.
        color: ANSI colours; only `text` has them.
        width: columns of `text`; those of the terminal if None.

    Raises:
        ValueError: there is no such format.
    """
    if output == "json":
        return render_json(verdict)
    if output == "csv":
        return render_csv(verdict)
    plain = legible(verdict)
    if output == "text":
        return render_text(plain, color=color, width=width)
    if output == "markdown":
        return render_markdown(plain)
    if output == "html":
        return render_html(plain, evidence)
    raise ValueError(f"There is no report format {output!r}; choose one of {', '.join(FORMATS)}.")
