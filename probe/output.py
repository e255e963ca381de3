"""Standard output, whose reader may be gone and whose disk may be full."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path


def write(text: str) -> OSError | None:
    """Write a text at once; returns why that cannot be done, or None.

    What cannot be written is let go, so that the interpreter does not try again when it ends.
    """
    if sys.stdout is None:  # closed by whoever started the program
        return None
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal need not have every character
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return error
    return None
