"""`sweep preflight`: whether a sweep can start, and its cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

from rich.table import Table
from rich.text import Text

from latency_sweep.analysis.pricing.aws_price_list import refresh_prices
from latency_sweep.collector.aws.session import Aws
from latency_sweep.collector.cli import begin
from latency_sweep.collector.lifecycle import planning
from latency_sweep.collector.lifecycle.preflight import CheckOutcome
from latency_sweep.contract.exchange_info import ExchangeInfoError, check_listed
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime.options import UsageError
from latency_sweep.runtime.printable import printable
from latency_sweep.runtime.progress import reporter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from latency_sweep.analysis.pricing.aws_price_list import PricingClient
    from latency_sweep.collector.aws.cost import Estimate
    from latency_sweep.collector.cli.options import PreflightOptions
    from latency_sweep.collector.lifecycle.preflight import PreflightReport

_STYLES: Final = {
    CheckOutcome.PASS: "green",
    CheckOutcome.NOTE: "yellow",
    CheckOutcome.FAIL: "bold red",
}


def run(options: PreflightOptions, console: Console) -> ExitCode:
    """Check and estimate; creates nothing."""
    outline = planning.outline(options.request)
    if options.exchange_info is not None:
        _check_symbols(options.exchange_info, outline.experiment.market_data.symbols)
    aws = Aws()
    if options.refresh_prices is not None:
        client = cast("PricingClient", aws.pricing())
        refresh_prices(options.refresh_prices, outline.regions, outline.instance_types, client)
    report = begin.survey(
        options.request,
        outline,
        aws,
        bucket=options.bucket,
        monitor_region=options.monitor_region,
        monitor_cidr=options.monitor_cidr,
        prices=options.refresh_prices or options.prices,
    )
    if options.json:
        print(json.dumps(report.document(), indent=2))
    else:
        _show(report, console)
    report.require()
    return ExitCode.DONE


def _check_symbols(exchange_info: Path, symbols: Sequence[str]) -> None:
    try:
        check_listed(exchange_info, symbols)
    except ExchangeInfoError as error:
        raise UsageError(str(error)) from error


def _show(report: PreflightReport, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "check", "region", "result"):
        table.add_column(name, overflow="fold")
    for check in report.checks:
        style = _STYLES[check.outcome]
        texts = (Text(printable(text)) for text in (check.what, check.where, check.detail))
        table.add_row(Text(check.outcome.value, style=style), *texts)
    console.print(table)
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
    report = reporter(console)
    for phase, usd in estimate.usd_per_hour_by_phase().items():
        report(f"Phase {phase} adds {usd:.2f} USD an hour, {usd * estimate.hours:.2f} in all.")
    report(
        f"The sweep costs about {estimate.usd:.2f} USD: {estimate.usd_per_hour:.2f} an hour for "
        f"{estimate.hours:.1f} hours."
    )
    for warning in estimate.warnings:
        report(f"Note: {warning}")
