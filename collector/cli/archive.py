"""`sweep archive`: keep the raw evidence on this machine and in S3."""

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
  sweep archive
  sweep archive --experiment-id latency-sweep-20260131-060000
  analyze --from-archive sweeps/latency-sweep-20260131-060000/evidence.parquet
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subcommand.add(
        commands,
        "archive",
        summary="keep the raw evidence on this machine and in S3",
        description="Write all evidence of the sweep's finished runs to its folder, in the format "
        "of `analyze export`, and a verified copy to its bucket.",
        examples=_EXAMPLES,
        codes=(
            ExitCode.BAD_INPUT,
            ExitCode.NO_DATA,
            ExitCode.PROMETHEUS_FAILED,
            ExitCode.AWS_FAILED,
        ),
        run=_run,
    )
    options.add_sweep(parser)
    options.add_access(parser)


def _run(given: argparse.Namespace, console: Console) -> ExitCode:
    sweep = state.find(given.sweeps, given.experiment_id)
    with state.exclusive(sweep.folder):
        steps.archive(given, sweep, Aws(), console)
    return ExitCode.DONE
