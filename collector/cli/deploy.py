"""`sweep deploy`: begin a sweep, or complete one that was interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.collector import state
from latency_sweep.collector.aws.session import Aws
from latency_sweep.collector.cli import begin, steps
from latency_sweep.contract.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from latency_sweep.collector.cli.options import DeployOptions


def run(options: DeployOptions, console: Console) -> ExitCode:
    """Create the probes and the central Prometheus."""
    aws = Aws()
    sweep = begin.find_or_begin(options.sweep, options.deployment, aws, console)
    with state.exclusive(sweep.folder):
        steps.deploy(options.deployment.terraform, sweep, aws, console)
    return ExitCode.DONE
