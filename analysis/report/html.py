"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from latency_sweep.analysis.report import tables
from latency_sweep.analysis.report.charts.charts import charts
from latency_sweep.analysis.report.same_events_table import same_events
from latency_sweep.analysis.report.timestamp_table import timestamps
from latency_sweep.analysis.report.words import conclusion, facts, sentences
from latency_sweep.analysis.report.words.next_steps import next_steps
from latency_sweep.analysis.report.words.printable import glued
from latency_sweep.analysis.report.words.warnings import warnings
from latency_sweep.contract.program import program_version

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Verdict
    from latency_sweep.analysis.evidence.records import Evidence

# A part of a name up to this length is never broken.
_WHOLE: Final = 24


def render_html(verdict: Verdict, evidence: Evidence) -> str:
    """The report as HTML.

    Args:
        verdict: with printable texts only.
        evidence: what it was decided on, for the charts.
    """
    template = _environment().get_template("report.html.j2")
    return template.render(
        verdict=verdict,
        headline=facts.HEADLINES[verdict.kind],
        sentence=conclusion.sentence(verdict),
        reasons=conclusion.reasons(verdict),
        next_steps=next_steps(verdict),
        warnings=warnings(verdict),
        comparisons=[sentences.comparison(found) for found in verdict.comparisons],
        sentences=sentences,
        charts=charts(verdict, evidence),
        tables=tables,
        timestamps=timestamps(verdict),
        same_events=same_events(verdict),
        method=facts.method(verdict.rule),
        provenance=facts.provenance(verdict),
        command=facts.command(verdict),
        version=program_version(),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("latency_sweep.analysis.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["breakable"] = breakable
    environment.filters["glued"] = glued
    environment.filters["prose"] = prose
    environment.filters["unbroken"] = unbroken
    return environment


def prose(sentence: str) -> Markup:
    """A sentence, escaped, that breaks neither inside a quantity nor after a hyphen."""
    return unbroken(glued(sentence))


def unbroken(words: str) -> Markup:
    """Words, escaped, that do not break after the hyphens of a name or a time."""
    return Markup(" ").join(
        breakable(word) if "/" in word or "-" in word else escape(word) for word in words.split(" ")
    )


def breakable(name: str) -> Markup:
    """A name, escaped, in which a line breaks after slashes and not after hyphens."""
    parts = (
        Markup("<span class=whole>{}</span>").format(part) if len(part) <= _WHOLE else escape(part)
        for part in name.replace("/", "/\n").split("\n")
    )
    return Markup("<wbr>").join(parts)
