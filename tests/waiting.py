"""Waiting for something to come true, with an end to patience."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import requests

if TYPE_CHECKING:
    from collections.abc import Callable

# A busy machine takes its time; a test that fails may.
WITHIN_SEC: Final = 60
_PAUSE_SEC: Final = 0.1


def wait_until(what: str, condition: Callable[[], bool], *, within_sec: float = WITHIN_SEC) -> None:
    """Look again and again until the condition holds; fail, naming `what`, if it never does."""
    deadline = time.monotonic() + within_sec
    while not condition():
        assert time.monotonic() < deadline, f"not {what} within {within_sec:g} s"
        time.sleep(_PAUSE_SEC)


def says_yes(ask: Callable[[], object]) -> bool:
    """Whether a server's answer is true; it is not while the server is too busy to give one."""
    try:
        return bool(ask())
    except requests.RequestException:
        return False
