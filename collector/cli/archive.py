"""`sweep archive`: save the evidence on this machine and in S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.collector import state
from latency_sweep.collector.aws.session import Aws
from latency_sweep.collector.cli import steps
from latency_sweep.contract.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from latency_sweep.collector.cli.options import ArchiveOptions


def run(options: ArchiveOptions, console: Console) -> ExitCode:
    """Archive what has been measured so far."""
    sweep = state.find(options.sweep.sweeps, options.sweep.experiment_id)
    with state.exclusive(sweep.folder):
        steps.archive(options.prometheus, sweep, Aws(), console)
    return ExitCode.DONE
