"""What a sweep will cost, before anything is created: instances, volumes, addresses, transfer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date as Date  # noqa: N812, TC003 - a field is called so; pydantic reads it
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latency_sweep.collector.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.pricing.prices import PriceTable

_HOURS_PER_MONTH: Final = 730
_SEC_PER_HOUR: Final = 3600
_KIB_PER_GIB: Final = 1024 * 1024

Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class FeesError(SweepError):
    """The table of fees cannot be used."""


class Fees(BaseModel):
    """Prices of everything but the candidates' instance hours, in USD; see the table itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: Date
    source: str
    verified: bool
    public_ipv4_usd_per_hour: Usd
    volume_gib: Annotated[int, Field(gt=0)]
    gp3_usd_per_gib_month: dict[str, Usd]
    transfer_out_usd_per_gib: dict[str, Usd]
    scrape_kib: Annotated[float, Field(gt=0)]
    monitor_usd_per_hour: dict[str, Usd]


@dataclass(frozen=True, slots=True)
class CostGroup:
    """Probes of one type in one region.

    Attributes:
        region: AWS region.
        phase: of the sweep in which the region joins.
        instance_type: EC2 instance type.
        count: how many probes.
    """

    region: str
    phase: int
    instance_type: str
    count: int


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the estimate.

    Attributes:
        phase: to which it belongs; None for what every phase needs once.
        what: for people.
        usd_per_hour: None if there is no price for it.
    """

    phase: int | None
    what: str
    usd_per_hour: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sweep costs.

    Attributes:
        items: its parts.
        hours: how long it takes from the first instance to the last.
        warnings: what the reader must know about it.
    """

    items: tuple[Item, ...]
    hours: float
    warnings: tuple[str, ...]

    @property
    def usd_per_hour(self) -> float:
        """Of all parts whose price is known."""
        return sum(item.usd_per_hour or 0.0 for item in self.items)

    @property
    def usd(self) -> float:
        """Of the whole sweep."""
        return self.usd_per_hour * self.hours

    def usd_per_hour_by_phase(self) -> dict[int, float]:
        """What the regions of each phase add, without what is needed once."""
        phases = sorted({item.phase for item in self.items if item.phase is not None})
        return {
            phase: sum(i.usd_per_hour or 0.0 for i in self.items if i.phase == phase)
            for phase in phases
        }

    def document(self) -> dict[str, Any]:
        """For JSON; all amounts in USD."""
        return {
            "hours": round(self.hours, 2),
            "usd_per_hour": round(self.usd_per_hour, 4),
            "usd": round(self.usd, 2),
            "usd_per_hour_by_phase": {
                str(phase): round(usd, 4) for phase, usd in self.usd_per_hour_by_phase().items()
            },
            "items": [
                {"phase": i.phase, "what": i.what, "usd_per_hour": i.usd_per_hour}
                for i in self.items
            ],
            "warnings": list(self.warnings),
        }


def load_fees(path: Path | None = None) -> Fees:
    """Read the shipped table of fees, or another.

    Raises:
        FeesError: it cannot be read or is not valid.
    """
    path = path or Path(__file__).with_name("fees.yaml")
    try:
        return Fees.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise FeesError(f"{path}: cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FeesError(f"{path}: is not valid YAML.") from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"]) or "file"
        raise FeesError(f"{path}: {key}: {fault['msg'][:1].lower()}{fault['msg'][1:]}.") from error


def estimate(
    groups: Sequence[CostGroup],
    *,
    hours: float,
    scrape_interval_sec: int,
    monitor_region: str | None,
    prices: PriceTable,
    fees: Fees,
) -> Estimate:
    """Add it all up.

    Args:
        groups: the probes.
        hours: how long they run.
        scrape_interval_sec: how often their metrics are fetched.
        monitor_region: where the central Prometheus is made; None if it is not.
        prices: instance hours.
        fees: everything else.
    """
    items: list[Item] = []
    for group in groups:
        price = prices.price(group.region, group.instance_type)
        what = f"{group.count} x {group.instance_type} in {group.region}"
        items.append(Item(group.phase, what, None if price is None else group.count * price))
    probes: dict[tuple[int, str], int] = {}
    for group in groups:
        probes[group.phase, group.region] = probes.get((group.phase, group.region), 0) + group.count
    for (phase, region), count in probes.items():
        items += _beside_the_instances(phase, region, count, scrape_interval_sec, fees)
    if monitor_region is not None:
        usd = _of_region(fees.monitor_usd_per_hour, monitor_region) + fees.public_ipv4_usd_per_hour
        items.append(Item(None, f"central Prometheus in {monitor_region}", usd))
    return Estimate(tuple(items), hours, tuple(_warnings(items, prices, fees)))


def _beside_the_instances(
    phase: int, region: str, count: int, scrape_interval_sec: int, fees: Fees
) -> list[Item]:
    volumes = fees.volume_gib * _of_region(fees.gp3_usd_per_gib_month, region) / _HOURS_PER_MONTH
    gib_per_hour = fees.scrape_kib * (_SEC_PER_HOUR / scrape_interval_sec) / _KIB_PER_GIB
    transfer = gib_per_hour * _of_region(fees.transfer_out_usd_per_gib, region)
    return [
        Item(phase, f"{count} x {fees.volume_gib} GiB gp3 in {region}", count * volumes),
        Item(
            phase,
            f"{count} x public IPv4 address in {region}",
            count * fees.public_ipv4_usd_per_hour,
        ),
        Item(phase, f"metrics sent from {count} probes in {region}", count * transfer),
    ]


def _of_region(table: dict[str, float], region: str) -> float:
    return table.get(region, table.get("default", 0.0))


def _warnings(items: Sequence[Item], prices: PriceTable, fees: Fees) -> list[str]:
    notes = []
    if not prices.verified:
        notes.append(
            f"Instance prices of {prices.date} are not verified ({prices.source}); "
            "get current ones with --refresh-prices."
        )
    if not fees.verified:
        notes.append(f"Other prices of {fees.date} are not verified ({fees.source}).")
    unknown = [item.what for item in items if item.usd_per_hour is None]
    if unknown:
        notes.append(f"No price is known for {'; '.join(unknown)}; it is not in the total.")
    return notes
