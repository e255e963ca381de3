"""Single key presses, without Enter and without an echo."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def key_presses() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds at most for keys, and returns those that came.

    The terminal is as before when the context ends, however it ends. Where standard input is no
    terminal, or one that another program reads from, the function only waits.
    """
    if not sys.stdin.isatty() or not _is_ours(sys.stdin.fileno()):
        yield _wait
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def wait(seconds: float) -> str:
        if not select.select([terminal], [], [], seconds)[0]:
            return ""
        keys = os.read(terminal, 1024)
        if not keys:
            # The terminal is gone: it would be readable for ever.
            return _wait(seconds)
        return keys.decode(errors="replace")

    try:
        # Ctrl-C stays a signal.
        tty.setcbreak(terminal)
        yield wait
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _is_ours(terminal: int) -> bool:
    """Whether this program may read from it; one in the background would be stopped."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # not the controlling terminal, so there is no foreground group
        return True


def _wait(seconds: float) -> str:
    time.sleep(seconds)
    return ""
