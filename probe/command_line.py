"""The command line of `probe`: parses it into a record, and explains it in `--help`."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from latency_sweep.contract import exit_codes
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.program import program_version
from latency_sweep.probe import options
from latency_sweep.probe.doctor.checks import WATCH_SEC
from latency_sweep.probe.summary.conditions import SYNTAX, ConditionError, FailCondition
from latency_sweep.probe.summary.conditions import parse as parse_condition
from latency_sweep.runtime import options as shared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latency_sweep.probe.settings import Settings

_SHORTEST_WATCH_SEC: Final = 0.05
_LONGEST_WATCH_SEC: Final = 3600.0
_EXAMPLES: Final = """\
examples:
  probe try                        measure for a minute and print the latency
  probe doctor                     say whether this host can measure
  probe run                        serve http://127.0.0.1:9090/metrics
  probe run --symbols BTCUSDT --streams trade

"""
_RUN_EXAMPLES: Final = """\
example, on an EC2 instance in Tokyo:
  probe run --region ap-northeast-1 --metrics-host 0.0.0.0

signals:
  SIGTERM  stop measuring, wait for a last scrape, exit
  SIGINT   stop and exit at once; so does a second SIGTERM
  SIGHUP   reload the API key, the web configuration and the bearer tokens

"""
_TRY_EXAMPLES: Final = """\
examples:
  probe try
  probe try 5m --symbols BTCUSDT,ETHUSDT --streams trade,depth@100ms
  probe try 30s --json --fail-if 'p99>20ms' --fail-if 'loss>0.1%' > try.json

"""
_LONGEST_TRY_SEC: Final = 86_400
_DOCTOR_EXAMPLES: Final = """\
examples:
  probe doctor
  probe doctor --region ap-northeast-1 --metrics-host 0.0.0.0
  probe doctor --json --watch-sec 120 > doctor.json

"""


@dataclass(frozen=True, slots=True)
class ProbeRunOptions:
    """`probe run`.

    Attributes:
        settings: resolves the probe's settings; raises SettingsError or ExperimentError.
    """

    settings: Callable[[], Settings]


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """`probe doctor`.

    Attributes:
        settings: resolves the probe's settings; raises SettingsError or ExperimentError, which
            is a finding.
        json: print JSON.
        watch_sec: how long to watch what moves.
    """

    settings: Callable[[], Settings]
    json: bool
    watch_sec: float


@dataclass(frozen=True, slots=True)
class TryOptions:
    """`probe try`.

    Attributes:
        settings: resolves the probe's settings; raises SettingsError or ExperimentError.
        duration_sec: how long to measure.
        json: print JSON.
        fail_if: what makes it fail.
    """

    settings: Callable[[], Settings]
    duration_sec: int
    json: bool
    fail_if: tuple[FailCondition, ...]


def parse(argv: Sequence[str] | None = None) -> ProbeRunOptions | DoctorOptions | TryOptions:
    """What the command line asks for.

    Args:
        argv: arguments without the program's name; those of the process if None.

    Raises:
        SystemExit: help was asked for, or an option is not valid.
    """
    given = _parser().parse_args(argv)
    if given.command == "try":
        return TryOptions(
            partial(options.resolve_try, given, os.environ),
            duration_sec=given.duration,
            json=given.json,
            fail_if=tuple(given.fail_if),
        )
    settings = partial(options.resolve, given, os.environ)
    if given.command == "run":
        return ProbeRunOptions(settings)
    return DoctorOptions(settings, json=given.json, watch_sec=given.watch_sec)


def _parser() -> argparse.ArgumentParser:
    parser = shared.parser(
        "probe",
        "Receive Binance market data, timestamp every message in the kernel and expose the "
        "latencies as Prometheus native histograms.",
        _EXAMPLES + exit_codes.table(ExitCode.BAD_INPUT, ExitCode.INTERRUPTED),
    )
    shared.add_version(parser, program_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = shared.add_command(
        commands,
        "run",
        summary="measure and serve metrics until stopped",
        description="Measure and serve metrics until stopped. Every flag can also be given as the "
        "environment variable in brackets; the flag takes precedence.",
        epilog=_RUN_EXAMPLES
        + exit_codes.table(
            ExitCode.BAD_INPUT,
            ExitCode.CANNOT_LISTEN,
            ExitCode.INTERNAL_ERROR,
            success="stopped by SIGTERM or Ctrl-C",
        ),
    )
    options.add_flags(run)
    doctor = shared.add_command(
        commands,
        "doctor",
        summary="check whether this host can measure, and say what to do",
        description="Check the clock, kernel timestamps, CPU, network card and the route to the "
        "exchange, with the given settings. Takes a few seconds more than --watch-sec. Colors "
        "follow the terminal and NO_COLOR.",
        epilog=_DOCTOR_EXAMPLES
        + exit_codes.table(
            ExitCode.CHECK_FAILED,
            ExitCode.BAD_INPUT,
            ExitCode.INTERNAL_ERROR,
            ExitCode.INTERRUPTED,
            success="no check failed (PASS, WARN or SKIP)",
        ),
    )
    shared.add_json(doctor)
    doctor.add_argument(
        "--watch-sec",
        metavar="N",
        type=_watch_sec,
        default=WATCH_SEC,
        help="seconds to watch clocks and delays; 120 show a drift of 50 ppm "
        f"(default: {WATCH_SEC:g})",
    )
    options.add_flags(doctor)
    _add_try(commands)
    return parser


def _add_try(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(
        commands,
        "try",
        summary="measure for a minute and print the latency",
        description="Measure at once for a while, show a live table on a terminal and print a "
        "final one. Needs no experiment file, no Prometheus and no port. Ctrl-C ends it early "
        "with the final table.",
        epilog=_TRY_EXAMPLES
        + exit_codes.table(
            ExitCode.CHECK_FAILED,
            ExitCode.BAD_INPUT,
            ExitCode.NO_DATA,
            ExitCode.EXCHANGE_UNREACHABLE,
            ExitCode.INTERNAL_ERROR,
            ExitCode.INTERRUPTED,
            ExitCode.TERMINATED,
            success="measured, and no --fail-if is met",
        ),
    )
    parser.add_argument(
        "duration",
        nargs="?",
        type=_duration,
        default=60,
        metavar="DURATION",
        help="how long to measure, such as 30s, 5m or 1h (default: 60s)",
    )
    shared.add_json(parser)
    parser.add_argument(
        "--fail-if",
        metavar="CONDITION",
        type=_condition,
        action="append",
        default=[],
        help=f"exit with 1 if a stream meets this, {SYNTAX}; may be given several times".replace(
            "%", "%%"
        ),
    )
    options.add_try_flags(parser)


def _condition(text: str) -> FailCondition:
    try:
        return parse_condition(text)
    except ConditionError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _duration(text: str) -> int:
    seconds = shared.seconds(text)
    if seconds > _LONGEST_TRY_SEC:
        raise argparse.ArgumentTypeError(f"{text!r} is more than a day; run probe run instead")
    return seconds


def _watch_sec(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _SHORTEST_WATCH_SEC <= seconds <= _LONGEST_WATCH_SEC:
        raise argparse.ArgumentTypeError(
            f"{text} is not {_SHORTEST_WATCH_SEC:g} to {_LONGEST_WATCH_SEC:g} seconds"
        )
    return seconds
