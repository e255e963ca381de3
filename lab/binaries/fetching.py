"""What the sources of programs have in common."""

from __future__ import annotations


class FetchError(Exception):
    """A source cannot provide the program; the message says why, in one sentence."""
