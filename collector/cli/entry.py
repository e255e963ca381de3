"""Where the `sweep` command starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.runtime import entry

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Run the command; returns its exit code."""
    return entry.run(_load)


def _load() -> Callable[[], int]:
    from latency_sweep.collector.cli.main import main as command  # noqa: PLC0415 - takes seconds

    return command
