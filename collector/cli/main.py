"""The `sweep` command: one subcommand for each step in the life of a sweep."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.collector.cli import (
    archive,
    collect,
    deploy,
    destroy,
    preflight,
    reap,
    run,
    status,
)
from latency_sweep.collector.watch import command
from latency_sweep.runtime import logs
from latency_sweep.runtime.help import HelpFormatter
from latency_sweep.runtime.logs import LogFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

DISTRIBUTION: Final = "binance-latency-sweep"
BAD_INPUT: Final = 2

_EPILOG: Final = """\
examples:
  sweep demo                       the whole sweep on this machine, nothing to set up
  sweep preflight --bucket my-bucket
                                   what a sweep in AWS would lack and cost
  sweep watch --prometheus http://prometheus:9090

exit codes:
  0    done
  2    there is no such command, or an option or a file is not valid
  130  stopped by Ctrl-C; 143 by SIGTERM
Each command has more of both: sweep COMMAND --help.
"""
_DEMO_EPILOG: Final = """\
examples:
  sweep demo                                  six simulated places, about four minutes
  sweep demo --runs 3                         sooner, with less evidence
  sweep demo --replay frames.dat.gz --speed 20
                                              real recorded frames through the same stack

exit codes:
  0    there is a winner; after --replay, there is a report (one run cannot decide)
  3    several places are equally good
  4    there is not enough evidence; more runs would help
  5    every place breaks a hard limit
  2    a flag or a file is not valid, or there is no Prometheus to be had
  6    the analysis found no data
  7    Prometheus did not answer the analysis
  69   a process of the stack did not start or ended early
  70   a fault of the analysis
  130  stopped by Ctrl-C; 143 by SIGTERM
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    with logs.configured(LogFormat(arguments.log_format), arguments.log_level):
        code: int = arguments.run(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweep",
        description="Runs a latency sweep.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version(DISTRIBUTION))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in _SUBCOMMANDS:
        add(commands)
    for subcommand in commands.choices.values():
        _add_log_options(subcommand)
    return parser


def _add_log_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("log on standard error")
    group.add_argument(
        "--log-format",
        choices=tuple(LogFormat),
        default=LogFormat.TEXT.value,
        help="how a line is written (default: text)",
    )
    group.add_argument(
        "--log-level",
        choices=logs.LEVELS,
        default="warning",
        help="the least that is logged (default: warning)",
    )


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser(
        "demo",
        help="the whole sweep on this machine, against a simulated exchange",
        description="Start a simulated exchange, probes for six places, a simulated EC2 and a "
        "real Prometheus on this machine, measure, analyse and stop everything again. Nothing "
        "leaves this machine, except to fetch Prometheus once if it is not on PATH.",
        epilog=_DEMO_EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    demo.add_argument("--config", type=Path, metavar="FILE", help="another experiment file")
    demo.add_argument("--sites", type=Path, metavar="FILE", help="another file of places")
    demo.add_argument(
        "--runs", type=_positive_int, metavar="N", help="runs to wait for (default: what it needs)"
    )
    demo.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        default=Path("results"),
        help="where the report's folder is made (default: results)",
    )
    demo.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="send recorded frames: lines of a receive timestamp in microseconds and a frame",
    )
    demo.add_argument(
        "--speed",
        type=_positive_float,
        metavar="X",
        help="with --replay: send X times faster; latencies stay (default: 1)",
    )
    demo.add_argument(
        "--ground-truth",
        action="store_true",
        help="also write down what the exchange really sent, and when",
    )
    demo.add_argument(
        "--keep", action="store_true", help="leave the stack running after the report"
    )
    demo.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    if arguments.replay is not None and arguments.runs is not None:
        return _refuse("--runs is for the simulated market; a recording is one run")
    if arguments.replay is None and arguments.speed is not None:
        return _refuse("--speed only works with --replay")
    try:
        from latency_sweep.lab.local import demo, plan  # noqa: PLC0415 - needs the `local` extra
    except ModuleNotFoundError as error:
        return _refuse(f"{error.name} is missing; in a checkout, run pip install -e '.[local]'")
    given = {
        name: getattr(arguments, name)
        for name in (
            "config",
            "sites",
            "runs",
            "results",
            "replay",
            "speed",
            "keep",
            "ground_truth",
        )
        if getattr(arguments, name) is not None
    }
    return demo.run(plan.Options(**given))


def _refuse(complaint: str) -> int:
    print(f"sweep demo: {complaint}.", file=sys.stderr)
    return BAD_INPUT


def _positive_int(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def _positive_float(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


# Each adds one subcommand; the parser calls what it sets as `run`.
_SUBCOMMANDS: Final = (
    _add_demo,
    preflight.add,
    deploy.add,
    collect.add,
    status.add,
    archive.add,
    destroy.add,
    reap.add,
    run.add,
    command.add,
)
