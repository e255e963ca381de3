"""`sweep destroy`: remove a sweep from AWS and verify that nothing remains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.collector import state
from latency_sweep.collector.aws.session import Aws
from latency_sweep.collector.cli import steps
from latency_sweep.contract.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from latency_sweep.collector.cli.options import DestroyOptions


def run(options: DestroyOptions, console: Console) -> ExitCode:
    """Remove the sweep from AWS."""
    sweep = state.find(options.sweep.sweeps, options.sweep.experiment_id)
    with state.exclusive(sweep.folder):
        steps.destroy(
            options.terraform,
            sweep,
            Aws(),
            console,
            discard_evidence=options.discard_evidence,
        )
    return ExitCode.DONE
