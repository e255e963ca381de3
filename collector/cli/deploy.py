"""`sweep deploy`: begin a sweep, or complete one that was interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.collector import state
from latency_sweep.collector.aws.access import Aws
from latency_sweep.collector.cli import options, steps, subcommand
from latency_sweep.collector.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

_EXAMPLES: Final = """\
  sweep deploy --bucket my-bucket --wheel dist/binance_latency_sweep-0.1.0-py3-none-any.whl
  sweep deploy --phase 2 --strata low,high,peak --bucket my-bucket --wheel s3://b/probe.whl
  sweep deploy                        goes on with the sweep that was interrupted
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subcommand.add(
        commands,
        "deploy",
        summary="create the probes and the central Prometheus in AWS",
        description="Check everything as preflight does, then create the probes with Terraform. "
        "A place that AWS has no capacity for is left out with a note.",
        examples=_EXAMPLES,
        codes=(
            ExitCode.BAD_INPUT,
            ExitCode.PREFLIGHT_FAILED,
            ExitCode.AWS_FAILED,
            ExitCode.TERRAFORM_FAILED,
        ),
        run=_run,
    )
    options.add_sweep(parser)
    options.add_request(parser)
    options.add_creation(parser)
    parser.add_argument(
        "--prometheus-url", metavar="URL", help="where this machine reaches Prometheus"
    )


def _run(given: argparse.Namespace, console: Console) -> ExitCode:
    aws = Aws()
    sweep = steps.find_or_begin(given, aws, console)
    with state.exclusive(sweep.folder):
        steps.deploy(given, sweep, aws, console)
    return ExitCode.DONE
