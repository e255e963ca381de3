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
from latency_sweep.runtime import options as shared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latency_sweep.probe.settings import Settings

_SHORTEST_WATCH_SEC: Final = 0.05
_LONGEST_WATCH_SEC: Final = 3600.0
_EXAMPLES: Final = """\
examples:
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


def parse(argv: Sequence[str] | None = None) -> ProbeRunOptions | DoctorOptions:
    """What the command line asks for.

    Args:
        argv: arguments without the program's name; those of the process if None.

    Raises:
        SystemExit: help was asked for, or an option is not valid.
    """
    given = _parser().parse_args(argv)
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
    return parser


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
