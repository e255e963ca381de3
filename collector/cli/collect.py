"""`sweep collect`: wait until every probe is ready and every run is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.collector import state
from latency_sweep.collector.aws.access import Aws
from latency_sweep.collector.cli import options, steps, subcommand
from latency_sweep.collector.errors import ExitCode
from latency_sweep.collector.lifecycle.collecting import READY_WITHIN_SEC

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

_EXAMPLES: Final = """\
  sweep collect
  sweep collect --prometheus-url http://127.0.0.1:9090        through a tunnel
  sweep collect --token-parameter eu-west-1:/sweep/prometheus-token
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subcommand.add(
        commands,
        "collect",
        summary="wait for the probes and for the runs that were asked for",
        description="Wait until Prometheus sees every probe at work, then until the last run is "
        "over. Probes measure by the clock: this may be stopped and started again at any time.",
        examples=_EXAMPLES,
        codes=(
            ExitCode.BAD_INPUT,
            ExitCode.PROMETHEUS_FAILED,
            ExitCode.AWS_FAILED,
            ExitCode.NOT_READY,
        ),
        run=_run,
    )
    options.add_sweep(parser)
    options.add_access(parser)
    add_patience(parser)


def add_patience(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how long to wait for the probes."""
    parser.add_argument(
        "--ready-timeout",
        metavar="TIME",
        type=options.seconds,
        default=READY_WITHIN_SEC,
        help="how long to wait for the probes (default: 30m)",
    )


def _run(given: argparse.Namespace, console: Console) -> ExitCode:
    sweep = state.find(given.sweeps, given.experiment_id)
    with state.exclusive(sweep.folder):
        steps.collect(given, sweep, Aws(), console)
    return ExitCode.DONE
