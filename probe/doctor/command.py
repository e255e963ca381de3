"""The `doctor` subcommand."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from latency_sweep.probe import settings
from latency_sweep.probe.doctor.checks import WATCH_SEC, run_checks
from latency_sweep.probe.doctor.report import WIDTH, render_json, render_text
from latency_sweep.probe.doctor.result import CheckResult, CheckStatus
from latency_sweep.runtime import standard_output
from latency_sweep.runtime.help import HelpFormatter

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND: Final = "doctor"
_WIDEST: Final = 120
_SHORTEST_WATCH_SEC: Final = 0.05
_LONGEST_WATCH_SEC: Final = 3600.0
_EPILOG: Final = """\
examples:
  probe doctor
  probe doctor --region ap-northeast-1 --metrics-host 0.0.0.0
  probe doctor --json --watch-sec 120 > doctor.json

exit codes:
  0    no check failed (PASS, WARN or SKIP)
  1    a check failed: what is measured here cannot be trusted
  2    a flag is not valid
  130  stopped by Ctrl-C
"""


class ExitCode(IntEnum):
    """What the command's exit code means."""

    HEALTHY = 0
    FAILED = 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `doctor` to a command's subparsers."""
    parser = subparsers.add_parser(
        COMMAND,
        help="say whether this host can measure, and what to do",
        description="Check clock, kernel timestamps, processors, network card and the path to the "
        "exchange, for the settings given. Takes a few seconds more than --watch-sec. Colours "
        "follow the terminal and NO_COLOR.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a screen")
    parser.add_argument(
        "--watch-sec",
        metavar="N",
        type=_watch_sec,
        default=WATCH_SEC,
        help=f"how long to watch clock and load; 120 shows 50 ppm of drift (default {WATCH_SEC:g})",
    )
    settings.add_flags(parser)


def run(arguments: argparse.Namespace) -> ExitCode:
    """Run all checks and print them; returns the exit code."""
    results = run_checks(lambda: settings.from_process(arguments), watch_sec=arguments.watch_sec)
    if arguments.json:
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


def _watch_sec(text: str) -> float:
    seconds = float(text)
    if not _SHORTEST_WATCH_SEC <= seconds <= _LONGEST_WATCH_SEC:
        raise argparse.ArgumentTypeError(
            f"{text} is not {_SHORTEST_WATCH_SEC:g} to {_LONGEST_WATCH_SEC:g} seconds"
        )
    return seconds


def _width(*, terminal: bool) -> int:
    """Columns to use: lines that run across a wide screen are hard to read."""
    return min(shutil.get_terminal_size((WIDTH, 0)).columns, _WIDEST) if terminal else WIDTH


def exit_code(results: Sequence[CheckResult]) -> ExitCode:
    """FAILED if any check failed."""
    failed = any(result.status is CheckStatus.FAIL for result in results)
    return ExitCode.FAILED if failed else ExitCode.HEALTHY
