"""Standard output: its reader may be gone, its disk full, and a character missing in it."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path


def write(text: str, *, encoding: str | None = None) -> OSError | None:
    """Write a text at once; returns why that cannot be done, or None.

    What cannot be written is let go, so that the interpreter does not try again when it ends.

    Args:
        text: what to write.
        encoding: to write it in; that of the terminal, with `?` for what it lacks, if None.
    """
    if sys.stdout is None:  # closed by whoever started the program
        return None
    if isinstance(sys.stdout, io.TextIOWrapper):
        unknown = "replace" if encoding is None else "backslashreplace"
        sys.stdout.reconfigure(encoding=encoding, errors=unknown)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return error
    return None
