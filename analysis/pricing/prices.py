"""The price table: what an instance-hour costs, as of when, and according to whom."""

from __future__ import annotations

from datetime import date  # noqa: TC003 - pydantic reads it
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

Price = Annotated[float, Field(gt=0, lt=1000, allow_inf_nan=False)]


class PricesError(Exception):
    """The price table cannot be used or refreshed; the message says why and what to do."""


class PriceListError(PricesError):
    """AWS's price list cannot be asked, or answers in an unknown form."""


class PriceTable(BaseModel):
    """On-demand Linux prices.

    Attributes:
        date: the day they were valid.
        source: where they come from.
        verified: whether they were read from AWS's price list.
        usd_per_hour: by region and instance type.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    date: date
    source: Annotated[str, Field(min_length=1)]
    verified: bool
    usd_per_hour: Annotated[dict[str, dict[str, Price]], Field(min_length=1)]

    def price(self, region: str | None, instance_type: str | None) -> float | None:
        """USD per hour, or None where the table has no price."""
        if region is None or instance_type is None:
            return None
        return self.usd_per_hour.get(region, {}).get(instance_type)


def default_path() -> Path:
    """The table shipped with the package."""
    return Path(__file__).with_name("prices.yaml")


def load_prices(path: Path | None = None) -> PriceTable:
    """Read and validate a price table; the shipped one if `path` is None.

    Raises:
        PricesError: unreadable, malformed, or a key missing, unknown or of a wrong value.
    """
    path = path or default_path()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PricesError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PricesError(f"{path}: is not UTF-8 text.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = getattr(error, "problem", None) or "cannot be parsed"
        raise PricesError(f"{path}: not valid YAML: {reason}.") from error
    if not isinstance(document, dict):
        raise PricesError(
            f"{path}: expected a mapping with `date`, `source`, `verified` and `usd_per_hour`."
        )
    try:
        return PriceTable.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"][:1].lower() + fault["msg"][1:]
        if fault["type"] == "extra_forbidden":
            message = "unknown key; remove it or correct its spelling"
        raise PricesError(f"{path}: {key}: {message}.") from error
