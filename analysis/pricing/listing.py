"""The price table as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from latency_sweep.analysis.pricing.prices import PriceTable


def listing(
    table: PriceTable,
    path: Path,
    *,
    regions: Sequence[str] = (),
    instance_types: Sequence[str] = (),
) -> str:
    """The table with its date, its source and whether it was verified.

    Args:
        table: the prices.
        path: the file that holds them.
        regions: regions to show even if nothing is offered there.
        instance_types: the same for instance types.
    """
    rows = list(dict.fromkeys((*regions, *table.usd_per_hour)))
    known = (name for prices in table.usd_per_hour.values() for name in prices)
    columns = list(dict.fromkeys((*instance_types, *known)))
    checked = "read from AWS's price list" if table.verified else "NOT verified against AWS"
    width = max(map(len, ("region", *rows)))
    lines = [
        f"Prices of {table.date}, {checked}.",
        f"File: {path}",
        f"Source: {table.source}",
        "",
        "  ".join(["region".ljust(width), *columns]),
        *(
            "  ".join(
                [
                    region.ljust(width),
                    *(_price(table, region, name).rjust(len(name)) for name in columns),
                ]
            )
            for region in rows
        ),
        "",
        "USD per instance-hour, on-demand Linux, shared tenancy; - where there is no price.",
    ]
    if not table.verified:
        lines.append("`analyze prices --refresh` replaces them by what AWS's price list says.")
    return "\n".join(lines)


def _price(table: PriceTable, region: str, instance_type: str) -> str:
    price = table.price(region, instance_type)
    return "-" if price is None else f"{price:.4f}"
