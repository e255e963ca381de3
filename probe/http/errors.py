"""What can be wrong with the files that describe the door."""

from __future__ import annotations


class WebConfigError(Exception):
    """The door's files cannot be used; one sentence says which, where and why, without secrets."""
