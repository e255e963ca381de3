"""Text that somebody else chose, made harmless for terminals, logs and tables.

A line feed in a name breaks a table, an escape sequence can rewrite a terminal, and a change of
writing direction can make one name look like another.
"""

from __future__ import annotations

import unicodedata
from typing import Final

# Control, format (writing direction), surrogate and private characters, line separators.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_PLANE_SIZE: Final = 0x10000


def printable(text: str) -> str:
    r"""The text with every character that cannot be seen written as its escape, such as `\n`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode("ascii") if unicodedata.category(c) in _HIDDEN else c
        for c in text
    )


def printable_lines(text: str) -> str:
    """As `printable`, but for the line feeds between lines."""
    return "\n".join(map(printable, text.splitlines()))


def printable_json(document: str) -> str:
    r"""A JSON document with what cannot be seen in its strings as `\u` escapes; the same data.

    Args:
        document: as `json.dumps` writes it, so that line feeds are only between values.
    """
    if document.isascii():  # json.dumps has escaped the control characters, but for DEL
        return document.replace("\x7f", "\\u007f")
    return "".join(
        _json_escape(c) if c != "\n" and unicodedata.category(c) in _HIDDEN else c for c in document
    )


def _json_escape(character: str) -> str:
    code = ord(character)
    if code < _PLANE_SIZE:
        return f"\\u{code:04x}"
    high, low = divmod(code - _PLANE_SIZE, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
