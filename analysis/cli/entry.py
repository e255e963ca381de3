"""Where the `analyze` command starts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from probe.contract import entry

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Run the command; returns its exit code."""
    return entry.run(_load)


def _load() -> Callable[[], int]:
    """Read the command line first: help and complaints need none of the statistics."""
    from analysis.command_line import parse  # noqa: PLC0415 - takes time

    given = parse()

    from analysis.cli import run  # noqa: PLC0415 - takes seconds

    return partial(run, given)
