"""`probe doctor`: run the checks and print what they found."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.probe.doctor.checks import run_checks
from latency_sweep.probe.doctor.report import WIDTH, render_json, render_text
from latency_sweep.probe.doctor.result import CheckResult, CheckStatus
from latency_sweep.runtime import standard_output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.probe.command_line import DoctorOptions

_WIDEST: Final = 120


def run(options: DoctorOptions) -> ExitCode:
    """Run all checks and print them; returns the exit code."""
    results = run_checks(options.settings, watch_sec=options.watch_sec)
    if options.json:
        report = render_json(results)
    else:
        terminal = sys.stdout is not None and sys.stdout.isatty()
        report = render_text(
            results,
            color=terminal and not os.environ.get("NO_COLOR"),
            width=_width(terminal=terminal),
        )
    unwritten = standard_output.write(report)
    if unwritten is not None and not isinstance(unwritten, BrokenPipeError):
        print(f"probe: the report cannot be written: {unwritten.strerror}.", file=sys.stderr)
    return exit_code(results)


def _width(*, terminal: bool) -> int:
    """Columns to use: lines that run across a wide screen are hard to read."""
    return min(shutil.get_terminal_size((WIDTH, 0)).columns, _WIDEST) if terminal else WIDTH


def exit_code(results: Sequence[CheckResult]) -> ExitCode:
    """CHECK_FAILED if any check failed."""
    failed = any(result.status is CheckStatus.FAIL for result in results)
    return ExitCode.CHECK_FAILED if failed else ExitCode.DONE
