"""The `probe` command."""

from __future__ import annotations

import argparse
import sys
from enum import IntEnum
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.experiment import ExperimentError
from latency_sweep.probe import app, settings
from latency_sweep.probe.doctor import command as doctor
from latency_sweep.probe.http.errors import WebConfigError
from latency_sweep.probe.serving.server import ListenError
from latency_sweep.runtime import logs
from latency_sweep.runtime.help import HelpFormatter

if TYPE_CHECKING:
    from collections.abc import Sequence

_OVERVIEW: Final = """\
examples:
  probe doctor                                say whether this host can measure
  probe run                                   measure and serve on http://127.0.0.1:9090/metrics
  probe run --symbols BTCUSDT --streams trade

exit codes:
  0    shown, or done
  2    there is no such command, or a flag is not valid
  130  stopped by Ctrl-C; probe run ends with 0 then
The others: probe run --help and probe doctor --help.
"""
_EXAMPLE: Final = """\
example, on an EC2 instance in Tokyo:
  probe run --region ap-northeast-1 --instance-family network --metrics-host 0.0.0.0

signals:
  SIGTERM  stop measuring; exit once the final values were scraped, or after a timeout
  SIGINT   stop and exit; so does a second SIGTERM
  SIGHUP   reload the API key, the web configuration and the tokens

exit codes:
  0  stopped by SIGTERM or SIGINT
  2  a flag, an environment variable, the experiment or the web configuration is not valid
  3  the metrics port cannot be listened on
"""


class ExitCode(IntEnum):
    """What the command's exit code means."""

    STOPPED = 0
    BAD_INPUT = 2
    CANNOT_LISTEN = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.command == doctor.COMMAND:
        return doctor.run(arguments)
    try:
        chosen = settings.from_process(arguments)
        with logs.configured(chosen.log_format, chosen.log_level):
            app.run(chosen)
    except (ExperimentError, settings.SettingsError, WebConfigError) as error:
        print(f"probe: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    except ListenError as error:
        print(f"probe: {error}", file=sys.stderr)
        return ExitCode.CANNOT_LISTEN
    return ExitCode.STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="probe",
        description="Receives Binance's market data, timestamps every message at the kernel and "
        "serves Prometheus native histograms.",
        epilog=_OVERVIEW,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version(app.DISTRIBUTION))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="measure and serve until stopped",
        description="Measure and serve until stopped. Every flag can also be given as the "
        "environment variable in brackets; a flag weighs more.",
        epilog=_EXAMPLE,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    settings.add_flags(run)
    doctor.add_parser(commands)
    return parser
