"""Where the `probe` command starts."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime import entry

if TYPE_CHECKING:
    from collections.abc import Callable

# prometheus_client reads these when it is imported. They are meant for the web servers of the host:
# one would put the probe's values into their shared files, the other drop every counter's start.
_OTHERS_SETTINGS: Final = (
    "PROMETHEUS_MULTIPROC_DIR",
    "prometheus_multiproc_dir",
    "PROMETHEUS_DISABLE_CREATED_SERIES",
)


def main() -> int:
    """Run the command; returns its exit code."""
    for name in _OTHERS_SETTINGS:
        os.environ.pop(name, None)
    # Ctrl-C is how a user stops a probe.
    runs = sys.argv[1:2] == ["run"]
    return entry.run(_load, interrupted=ExitCode.DONE if runs else ExitCode.INTERRUPTED)


def _load() -> Callable[[], int]:
    from latency_sweep.probe.cli import main as command  # noqa: PLC0415 - takes a second

    return command
