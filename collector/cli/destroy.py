"""`sweep destroy`: remove a sweep from AWS and see that nothing is left."""

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
  sweep destroy
  sweep destroy --experiment-id latency-sweep-20260131-060000 --discard-evidence
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subcommand.add(
        commands,
        "destroy",
        summary="remove the sweep from AWS and verify that nothing is left",
        description="Destroy what Terraform created, then look in every region of the account for "
        "anything with the sweep's tags, and list what is left.",
        examples=_EXAMPLES,
        codes=(
            ExitCode.BAD_INPUT,
            ExitCode.AWS_FAILED,
            ExitCode.TERRAFORM_FAILED,
            ExitCode.LEFTOVERS,
        ),
        run=_run,
    )
    options.add_sweep(parser)
    options.add_terraform(parser)
    add_discard(parser)


def add_discard(parser: argparse.ArgumentParser) -> None:
    """Add the option that gives up evidence."""
    parser.add_argument(
        "--discard-evidence",
        action="store_true",
        help="destroy even though what was measured is not archived",
    )


def _run(given: argparse.Namespace, console: Console) -> ExitCode:
    sweep = state.find(given.sweeps, given.experiment_id)
    with state.exclusive(sweep.folder):
        steps.destroy(given, sweep, Aws(), console)
    return ExitCode.DONE
