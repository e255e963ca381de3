"""Text that comes from labels, made harmless for terminals and tables.

Names are label values that somebody else chose. A line feed in one breaks a table, an escape
sequence can rewrite a terminal, and a change of writing direction can make one name look like
another.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from enum import Enum
from typing import Any, Final, TypeVar

from latency_sweep.analysis.evidence.records import Candidate

Record = TypeVar("Record")

NO_BREAK: Final = "\u00a0"
# Blanks inside `12.4 ms`, `95 %` and `p = 0.01`, where a line must not break.
_GLUE: Final = re.compile(r"(?<=\d) (?=(?:ms|h|min|s)\b|%)|(?<=\b[pn]) (?==)|(?<==) (?=\d)")
# Control, format (writing direction), surrogate and private characters, line separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    r"""The text with every character that cannot be seen written as its escape, such as `\n`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode("ascii") if unicodedata.category(c) in _HIDDEN else c
        for c in text
    )


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
