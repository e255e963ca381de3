"""What the sources of a Prometheus have in common."""

from __future__ import annotations


class FetchError(Exception):
    """A source cannot provide Prometheus; the message says why, in one sentence."""
