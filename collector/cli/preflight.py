"""`sweep preflight`: is everything there, and what will it cost?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from rich.table import Table

from latency_sweep.analysis.pricing.aws_price_list import refresh_prices
from latency_sweep.collector.aws.access import Aws
from latency_sweep.collector.cli import options, steps, subcommand
from latency_sweep.collector.errors import ExitCode
from latency_sweep.collector.lifecycle import planning
from latency_sweep.collector.lifecycle.preflight import Outcome

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from latency_sweep.analysis.pricing.aws_price_list import PricingClient
    from latency_sweep.collector.aws.cost import Estimate
    from latency_sweep.collector.lifecycle.preflight import Report

_EXAMPLES: Final = """\
  sweep preflight --bucket my-bucket
  sweep preflight --phase 2 --runs 3 --strata low,high,peak --output json
  sweep preflight --refresh-prices prices.yaml
"""
_STYLES: Final = {Outcome.PASS: "green", Outcome.NOTE: "yellow", Outcome.FAIL: "bold red"}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subcommand.add(
        commands,
        "preflight",
        summary="check credentials, quotas, types and prices; creates nothing",
        description="Ask AWS, all regions at once, whether a sweep can begin, and estimate what "
        "it will cost. Everything it asks is free of charge and changes nothing.",
        examples=_EXAMPLES,
        codes=(ExitCode.BAD_INPUT, ExitCode.PREFLIGHT_FAILED),
        run=_run,
    )
    options.add_request(parser)
    parser.add_argument("--bucket", metavar="NAME", help="S3 bucket that the sweep will use")
    parser.add_argument("--monitor-region", metavar="REGION", help="of the central Prometheus")
    parser.add_argument("--monitor-cidr", metavar="CIDR", help="your own Prometheus is used")
    parser.add_argument(
        "--refresh-prices",
        metavar="FILE",
        type=Path,
        help="write a price table as AWS's price list has it now, and use it",
    )
    parser.add_argument("--output", choices=("text", "json"), default="text")


def _run(given: argparse.Namespace, console: Console) -> ExitCode:
    aws = Aws()
    request = options.request_of(given)
    found = planning.outline(request)
    if given.refresh_prices is not None:
        client = cast("PricingClient", aws.pricing())
        refresh_prices(given.refresh_prices, found.regions, found.instance_types, client)
        given.prices = given.refresh_prices
    report = steps.survey(given, request, found, aws)
    if given.output == "json":
        print(json.dumps(report.document(), indent=2))
    else:
        _show(report, console)
    report.require()
    return ExitCode.DONE


def _show(report: Report, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "check", "region", "answer"):
        table.add_column(name, overflow="fold")
    for check in report.checks:
        style = _STYLES[check.outcome]
        table.add_row(f"[{style}]{check.outcome.value}[/]", check.what, check.where, check.detail)
    console.print(table)
    if report.estimate is not None:
        console.print()
        _show_cost(report.estimate, console)


def _show_cost(estimate: Estimate, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left")
    table.add_column("phase", justify="right")
    table.add_column("what")
    table.add_column("USD/hour", justify="right")
    for item in estimate.items:
        price = "?" if item.usd_per_hour is None else f"{item.usd_per_hour:.4f}"
        table.add_row("" if item.phase is None else str(item.phase), item.what, price)
    console.print(table)
    say = steps.announcer(console)
    for phase, usd in estimate.usd_per_hour_by_phase().items():
        say(f"Phase {phase} adds {usd:.2f} USD an hour, {usd * estimate.hours:.2f} in all.")
    say(
        f"The sweep costs about {estimate.usd:.2f} USD: {estimate.usd_per_hour:.2f} an hour for "
        f"{estimate.hours:.1f} hours."
    )
    for caveat in estimate.caveats:
        say(f"Note: {caveat}")
