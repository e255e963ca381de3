"""`sweep archive`: keep the raw evidence on this machine and in S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collector import options, state
from collector.aws import Aws
from collector.commands import entry, steps
from collector.errors import ExitCode

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
    parser = entry.add(
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
