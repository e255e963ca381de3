"""`sweep run`: the whole sweep, from preflight to an empty account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.collector import state
from latency_sweep.collector.aws.session import Aws
from latency_sweep.collector.cli import begin, steps
from latency_sweep.collector.state import Stage
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime.progress import reporter

if TYPE_CHECKING:
    from rich.console import Console

    from latency_sweep.collector.cli.options import SweepRunOptions


def run(options: SweepRunOptions, console: Console) -> ExitCode:
    """Begin a sweep or resume one, and carry it to its end."""
    aws, terraform = Aws(), options.deployment.terraform
    sweep = begin.find_or_begin(options.sweep, options.deployment, aws, console)
    with state.exclusive(sweep.folder):
        if sweep.state.stage < Stage.DEPLOYED:
            steps.deploy(terraform, sweep, aws, console)
        if sweep.state.stage < Stage.COLLECTED:
            steps.collect(options.prometheus, options.ready_timeout_sec, sweep, aws, console)
        if sweep.state.stage < Stage.ARCHIVED:
            steps.archive(options.prometheus, sweep, aws, console)
        if sweep.state.stage < Stage.DESTROYED:
            steps.destroy(terraform, sweep, aws, console, discard_evidence=False)
    reporter(console)(f"Done. Next: analyze --from-archive {sweep.evidence_file}")
    return ExitCode.DONE
