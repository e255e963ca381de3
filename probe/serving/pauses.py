"""Breaks of a thread that shares a core with the reader."""

from __future__ import annotations

import time
from typing import Final

# How long the thread may keep the core in one go.
_STRETCH_NS: Final = 250_000
# Sleeping for as short as the kernel can hands the core over at once.
_SLEEP_SEC: Final = 2e-5
# On a host whose core others take, a break may last milliseconds: then fewer are made, so that a
# rendering takes no more than twice its work, and this.
_FREE_NS: Final = 50_000_000


class Pauses:
    """Call it often: it sleeps where the thread has worked for a while.

    At the reader's own priority the kernel may let a thread run for milliseconds before the reader,
    on their one core. One of these belongs to one rendering.
    """

    def __init__(self) -> None:
        """Work begins now."""
        self._began_ns = self._woke_ns = time.perf_counter_ns()
        self._slept_ns = 0

    def __call__(self) -> None:
        """Sleep if it is time."""
        now_ns = time.perf_counter_ns()
        if now_ns - self._woke_ns < _STRETCH_NS:
            return
        worked_ns = now_ns - self._began_ns - self._slept_ns
        if self._slept_ns > worked_ns + _FREE_NS:
            return
        time.sleep(_SLEEP_SEC)
        self._woke_ns = time.perf_counter_ns()
        self._slept_ns += self._woke_ns - now_ns
