"""Where the `analyze` command starts."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime import entry, extras
from latency_sweep.runtime.extras import Extra

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Run the command; returns its exit code."""
    return entry.run(_load)


def _load() -> Callable[[], int]:
    """Read the command line first: help and its errors need none of the statistics."""
    from latency_sweep.analysis.cli.command_line import parse  # noqa: PLC0415 - takes time
    from latency_sweep.runtime.options import UsageError  # noqa: PLC0415 - imports argparse

    try:
        options = parse()
    except UsageError as error:
        print(f"analyze: {error}", file=sys.stderr)
        return lambda: ExitCode.BAD_INPUT
    extras.require(Extra.ANALYSIS, "analyze")

    from latency_sweep.analysis.cli.main import run  # noqa: PLC0415 - takes seconds

    return partial(run, options)
