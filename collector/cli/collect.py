"""`sweep collect`: wait until every probe is ready and every run is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.collector import state
from latency_sweep.collector.aws.session import Aws
from latency_sweep.collector.cli import steps
from latency_sweep.contract.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from latency_sweep.collector.cli.options import CollectOptions


def run(options: CollectOptions, console: Console) -> ExitCode:
    """Wait for the probes and for the runs."""
    sweep = state.find(options.sweep.sweeps, options.sweep.experiment_id)
    with state.exclusive(sweep.folder):
        steps.collect(options.prometheus, options.ready_timeout_sec, sweep, Aws(), console)
    return ExitCode.DONE
