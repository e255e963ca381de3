"""The steps in the life of a sweep, as several commands take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.collector.aws.terraform import Terraform, find_program
from latency_sweep.collector.cli import prometheus
from latency_sweep.collector.lifecycle import archiving, collecting, deploying, teardown
from latency_sweep.collector.state import Stage, StateError, Sweep
from latency_sweep.contract import experiment as experiments
from latency_sweep.runtime.progress import ProgressDisplay, reporter

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from latency_sweep.collector.aws.session import Aws
    from latency_sweep.collector.cli.options import PrometheusAccess


def deploy(program: Path | None, sweep: Sweep, aws: Aws, console: Console) -> None:
    """Create the sweep's resources, or complete them; `program` is Terraform's."""
    deploying.deploy(sweep, _terraform(program, sweep), aws, report=reporter(console))


def collect(
    access: PrometheusAccess, ready_within_sec: float, sweep: Sweep, aws: Aws, console: Console
) -> None:
    """Wait for the probes and for the runs."""
    if sweep.state.stage < Stage.DEPLOYED:
        raise StateError(
            f"{sweep.plan.experiment_id} is not deployed; run sweep deploy "
            f"--experiment-id {sweep.plan.experiment_id} first."
        )
    experiment = experiments.load(sweep.experiment_file)
    with (
        prometheus.reached(access, sweep, aws, console) as client,
        ProgressDisplay(console) as display,
    ):
        collecting.collect(sweep, experiment, client, display, ready_within_sec=ready_within_sec)


def archive(access: PrometheusAccess, sweep: Sweep, aws: Aws, console: Console) -> None:
    """Archive the evidence of what has been measured so far."""
    if sweep.state.stage < Stage.READY:
        raise StateError(
            f"{sweep.plan.experiment_id} has measured nothing yet; run sweep collect first."
        )
    if sweep.state.stage >= Stage.DESTROYED:
        raise StateError(
            f"{sweep.plan.experiment_id} is destroyed; what was archived is in {sweep.folder}."
        )
    experiment = experiments.load(sweep.experiment_file)
    with prometheus.reached(access, sweep, aws, console) as client:
        archiving.keep(sweep, experiment, client, aws, report=reporter(console))


def destroy(
    program: Path | None, sweep: Sweep, aws: Aws, console: Console, *, discard_evidence: bool
) -> None:
    """Remove the sweep from AWS; `program` is Terraform's."""
    teardown.destroy(
        sweep,
        _terraform(program, sweep),
        aws,
        discard_evidence=discard_evidence,
        report=reporter(console),
    )


def _terraform(program: Path | None, sweep: Sweep) -> Terraform:
    return Terraform(find_program(program), sweep.folder)
