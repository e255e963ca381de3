"""Where the `probe` command starts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from latency_sweep.runtime import entry

if TYPE_CHECKING:
    from collections.abc import Callable

_STOPPED: Final = 0  # Ctrl-C is how a user stops a probe


def main() -> int:
    """Run the command; returns its exit code."""
    runs = sys.argv[1:2] == ["run"]
    return entry.run(_load, interrupted=_STOPPED if runs else entry.INTERRUPTED)


def _load() -> Callable[[], int]:
    from latency_sweep.probe.cli import main as command  # noqa: PLC0415 - takes a second

    return command
