"""Records as JSON, in the form that the schemas beside this module describe.

A document is the record, field by field, and the sentences that the reports make from it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.analysis.decision.before_after import BeforeAfter, CandidateChange
from latency_sweep.analysis.decision.results import Comparison, ConstraintResult
from latency_sweep.analysis.decision.verdict import CandidateRow, Verdict, VerdictKind
from latency_sweep.analysis.report.words import before_after, conclusion, sentences
from latency_sweep.analysis.report.words.next_steps import next_steps
from latency_sweep.analysis.report.words.warnings import warnings
from latency_sweep.contract.program import DISTRIBUTION, program_version
from latency_sweep.runtime.printable import printable_json

if TYPE_CHECKING:
    from collections.abc import Callable

# Raised when a key goes away or changes its meaning; new keys do not count.
SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Words:
    """A key of a document that holds a sentence or a list of them.

    Attributes:
        name: of the key.
        description: for the schema.
        write: makes them from the record.
        several: whether it is a list.
    """

    name: str
    description: str
    write: Callable[[Any], str | tuple[str, ...]]
    several: bool = False


@dataclass(frozen=True, slots=True)
class SideSummary:
    """One side of a comparison before and after.

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

    @classmethod
    def of(cls, verdict: Verdict) -> SideSummary:
        """The summary of a verdict."""
        return cls(
            experiment=verdict.selection.experiment,
            source=verdict.source,
            since=verdict.selection.since,
            until=verdict.selection.until,
            kind=verdict.kind,
            winner=verdict.winner,
            sentence=conclusion.sentence(verdict),
        )


WORDS: Final[dict[type, tuple[Words, ...]]] = {
    Verdict: (
        Words("sentence", "the verdict in one sentence.", conclusion.sentence),
        Words(
            "reasons",
            "why, one sentence each, the weightiest first.",
            conclusion.reasons,
            several=True,
        ),
        Words(
            "next_steps",
            "what would settle it, or what to do with it.",
            next_steps,
            several=True,
        ),
        Words("warnings", "what was unusual in the evidence.", warnings, several=True),
    ),
    ConstraintResult: (
        Words("evidence", "one sentence with the numbers.", sentences.constraint_evidence),
        Words(
            "missing",
            "one sentence that says what evidence is missing; empty unless INSUFFICIENT.",
            sentences.constraint_missing,
        ),
    ),
    CandidateRow: (
        Words(
            "preference_notes",
            "what the soft preferences rest on, one sentence per part.",
            sentences.preference_notes,
            several=True,
        ),
    ),
    Comparison: (
        Words("sentence", "the finding in words.", sentences.comparison),
        Words(
            "mann_whitney_note",
            "says so when Mann-Whitney cannot reach significance; else empty.",
            sentences.mann_whitney_note,
        ),
    ),
    CandidateChange: (Words("sentence", "the finding in words.", sentences.change),),
    BeforeAfter: (
        Words("sentence", "the answer in one sentence.", before_after.sentence),
        Words(
            "warnings",
            "what makes the two sides less comparable.",
            before_after.warnings,
            several=True,
        ),
    ),
}
# What is written of a record that is inside another one.
SUMMARIES: Final[dict[type, type]] = {Verdict: SideSummary}


def render_json(verdict: Verdict) -> str:
    """The verdict as one JSON object; durations in seconds, null where a number is not known."""
    return dumps(verdict)


def dumps(record: Any) -> str:
    """A record under its schema's version and the program's, with keys in a fixed order."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "program": {"name": DISTRIBUTION, "version": program_version()},
        **_object(record),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return printable_json(text) + "\n"


def as_json(record: Any) -> Any:
    """A record as what JSON knows: dicts, lists, strings, finite numbers, None.

    Infinite and undefined numbers become None, since JSON has no words for them. A verdict inside
    another record is summarised.
    """
    return _object(record) if dataclasses.is_dataclass(record) else _value(record)


def _object(record: Any) -> dict[str, Any]:
    fields = {f.name: _value(getattr(record, f.name)) for f in dataclasses.fields(record)}
    words = {words.name: _value(words.write(record)) for words in WORDS.get(type(record), ())}
    return {**fields, **words}


def _value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return _object(SideSummary.of(value) if isinstance(value, Verdict) else value)
    if isinstance(value, dict):
        return {str(key): _value(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(part) for part in value]
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
