"""A command of this project that sees the wall clock set by 5 ms when it gets SIGUSR1.

    python settable_clock.py MODULE ARGUMENTS...

The clock of the machine stays as it is: only what the program reads of it changes, not the kernel's
timestamps. MODULE has a `main` that reads `sys.argv`.
"""

from __future__ import annotations

import importlib
import signal
import sys
import time

STEP_NS = 5_000_000


class SettableClock:
    """CLOCK_REALTIME as it would be had it been set."""

    def __init__(self) -> None:
        self._true_ns = time.time_ns
        self._set_by_ns = 0

    def time_ns(self) -> int:
        return self._true_ns() + self._set_by_ns

    def step(self, *_signal: object) -> None:
        self._set_by_ns += STEP_NS


if __name__ == "__main__":
    clock = SettableClock()
    # Before anything is imported that keeps a reference to it.
    time.time_ns = clock.time_ns
    signal.signal(signal.SIGUSR1, clock.step)
    module = importlib.import_module(sys.argv.pop(1))
    sys.exit(module.main())
