"""What can be wrong with the web configuration and the token file."""

from __future__ import annotations


class WebConfigError(Exception):
    """A file cannot be used; one sentence says which, where and why, without secrets."""
