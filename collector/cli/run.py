"""`sweep run`: the whole sweep, from preflight to an empty account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.collector import state
from latency_sweep.collector.aws.access import Aws
from latency_sweep.collector.cli import options, steps, subcommand
from latency_sweep.collector.cli.collect import add_patience
from latency_sweep.collector.errors import ExitCode
from latency_sweep.collector.state import Stage

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

_EXAMPLES: Final = """\
  sweep run --bucket my-bucket --wheel dist/binance_latency_sweep-0.1.0-py3-none-any.whl
  sweep run --phase 2 --runs 3 --strata low,high,peak --bucket my-bucket --wheel s3://b/probe.whl
  sweep run                           goes on with the sweep that was interrupted
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subcommand.add(
        commands,
        "run",
        summary="the whole sweep in AWS: preflight, deploy, collect, archive, destroy",
        description="Check, create, measure, keep the evidence and remove everything. Stopped or "
        "killed at any point, the same command goes on from there.",
        examples=_EXAMPLES,
        codes=tuple(
            code
            for code in ExitCode
            if code not in {ExitCode.DONE, ExitCode.INTERRUPTED, ExitCode.TERMINATED}
        ),
        run=_run,
    )
    options.add_sweep(parser)
    options.add_request(parser)
    options.add_creation(parser)
    options.add_access(parser)
    add_patience(parser)
    parser.set_defaults(discard_evidence=False)


def _run(given: argparse.Namespace, console: Console) -> ExitCode:
    aws = Aws()
    sweep = steps.find_or_begin(given, aws, console)
    with state.exclusive(sweep.folder):
        if sweep.state.stage < Stage.DEPLOYED:
            steps.deploy(given, sweep, aws, console)
        if sweep.state.stage < Stage.COLLECTED:
            steps.collect(given, sweep, aws, console)
        if sweep.state.stage < Stage.ARCHIVED:
            steps.archive(given, sweep, aws, console)
        if sweep.state.stage < Stage.DESTROYED:
            steps.destroy(given, sweep, aws, console)
    say = steps.announcer(console)
    say(f"Done. Next: analyze --from-archive {sweep.evidence_file}")
    return ExitCode.DONE
