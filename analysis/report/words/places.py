"""What people call the places of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.contract.regions import CITIES

if TYPE_CHECKING:
    from collections.abc import Iterable


def cities_note(candidates: Iterable[str]) -> str | None:
    """Which city each region is, of candidates' names such as `eu-west-1/c6i.large`.

    Returns:
        A sentence, or None where no name has a region that AWS sells.
    """
    parts = {part for name in candidates for part in name.split("/")}
    known = sorted(parts & CITIES.keys())
    if not known:
        return None
    return f"Regions: {', '.join(f'{code} {CITIES[code]}' for code in known)}."
