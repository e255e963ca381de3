"""How a command starts: Ctrl-C ends it quietly, also while it is still importing."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from latency_sweep.runtime.extras import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED: Final = 130  # what shells report for a program ended by SIGINT
MISSING_EXTRA: Final = 2


def run(load: Callable[[], Callable[[], int]], *, interrupted: int = INTERRUPTED) -> int:
    """Import a command and run it.

    Nothing is imported here that takes long, so that little can happen before Ctrl-C is heeded.

    Args:
        load: imports the command, which may take seconds, and returns it. A `MissingExtraError` is
            printed.
        interrupted: exit code if Ctrl-C comes when the command does not, or not yet, heed it.

    Returns:
        The command's exit code.
    """
    try:
        return _run(load, interrupted)
    except MissingExtraError as error:
        print(error, file=sys.stderr)
        return MISSING_EXTRA


def _run(load: Callable[[], Callable[[], int]], interrupted: int) -> int:
    # Whoever starts a program with SIGINT ignored, as `nohup` does, means it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # There is nothing to clean up yet, and no traceback out of a library to be seen.
        signal.signal(signal.SIGINT, lambda *_: os._exit(interrupted))
        command = load()
        signal.signal(signal.SIGINT, signal.default_int_handler)
    else:
        command = load()
    try:
        return command()
    except KeyboardInterrupt:
        return interrupted
