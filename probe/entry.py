"""Where the `probe` command starts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime import entry

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Run the command; returns its exit code."""
    # Ctrl-C is how a user stops a probe.
    runs = sys.argv[1:2] == ["run"]
    return entry.run(_load, interrupted=ExitCode.DONE if runs else ExitCode.INTERRUPTED)


def _load() -> Callable[[], int]:
    from latency_sweep.probe.cli import main as command  # noqa: PLC0415 - takes a second

    return command
