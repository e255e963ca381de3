"""The name and version of this program, and how it reports a fault of its own."""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from latency_sweep.contract.exit_codes import ExitCode

DISTRIBUTION: Final = "binance-latency-sweep"


def program_version() -> str:
    """The version of this program; `unknown` in a checkout that is not installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def report_internal_error(command: str, error: Exception) -> ExitCode:
    """Print the traceback of an error that no command expects, and what to do; returns the code."""
    traceback.print_exception(error, file=sys.stderr)
    print(
        f"{command}: internal error: {error!r}; please report it with the lines above.",
        file=sys.stderr,
    )
    return ExitCode.INTERNAL_ERROR
