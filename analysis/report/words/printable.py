"""The texts of a record made fit for reports: names are label values that somebody else chose."""

from __future__ import annotations

import dataclasses
import re
from enum import Enum
from typing import Any, Final, TypeVar

from latency_sweep.analysis.evidence.records import Candidate
from latency_sweep.runtime.printable import printable

Record = TypeVar("Record")

NO_BREAK: Final = "\u00a0"
# Blanks inside `12.4 ms`, `95 %` and `p = 0.01`, where a line must not break.
_GLUE: Final = re.compile(r"(?<=\d) (?=(?:ms|h|min|s)\b|%)|(?<=\b[pn]) (?==)|(?<==) (?=\d)")


def glued(sentence: str) -> str:
    """The sentence with no-break spaces where a line break would tear a number from its unit."""
    return _GLUE.sub(NO_BREAK, sentence)


def legible(record: Record) -> Record:
    """A copy of a record with every text in it printable; candidates stay as they are.

    Args:
        record: a dataclass of texts, numbers, tuples, dicts and such dataclasses.
    """
    result: Record = _legible(record)
    return result


def _legible(value: Any) -> Any:
    if isinstance(value, (Enum, Candidate)):
        return value
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, tuple):
        return tuple(_legible(part) for part in value)
    if isinstance(value, dict):
        return {_legible(key): _legible(part) for key, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _legible(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value
