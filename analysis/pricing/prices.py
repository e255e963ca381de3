"""The price table: what an instance-hour costs, as of when, and according to whom."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast

import boto3
import yaml
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as AwsConnectionError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latency_sweep.runtime.atomic_file import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable

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


class PricingClient(Protocol):
    """The one call that is needed of boto3's `pricing` client."""

    def get_products(self, **request: Any) -> Any:
        """AWS Price List, GetProducts."""


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


def pricing_client() -> PricingClient:
    """A client of AWS's price list, with the credentials and the endpoint of the environment.

    The price list of all regions is asked in us-east-1, one of the few that have it.

    Raises:
        PriceListError: what the environment says of AWS cannot be used.
    """
    patience = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3})
    try:
        session = boto3.session.Session()  # the default one would keep an earlier environment
        client: Any = session.client("pricing", region_name="us-east-1", config=patience)
    except (BotoCoreError, ValueError) as error:
        raise _unanswered(error) from error
    return cast("PricingClient", client)


def refresh_prices(
    path: Path, regions: Iterable[str], instance_types: Iterable[str], client: PricingClient
) -> PriceTable:
    """Replace a price table by what AWS's price list says now.

    Args:
        path: file to write.
        regions: AWS region codes.
        instance_types: EC2 instance types; one that a region does not offer is skipped.
        client: of AWS's price list; see `pricing_client`.

    Raises:
        PriceListError: AWS cannot be asked, or answers in an unknown form.
        PricesError: AWS knows no price at all, or the file cannot be written.
    """
    types = tuple(instance_types)
    table = {
        region: {
            instance_type: price
            for instance_type in types
            if (price := _on_demand(client, region, instance_type)) is not None
        }
        for region in regions
    }
    known = {region: prices for region, prices in table.items() if prices}
    if not known:
        raise PricesError("AWS's price list has none of these instance types in these regions.")
    document = {
        "date": datetime.now(UTC).date(),
        "source": "AWS Price List, GetProducts, on-demand Linux, shared tenancy",
        "verified": True,
        "usd_per_hour": known,
    }
    try:
        with replacing(path) as scratch:
            scratch.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise PricesError(f"{path}: cannot be written: {error.strerror}.") from error
    return load_prices(path)


def _on_demand(client: PricingClient, region: str, instance_type: str) -> float | None:
    wanted = {
        "regionCode": region,
        "instanceType": instance_type,
        "operatingSystem": "Linux",
        "preInstalledSw": "NA",
        "tenancy": "Shared",
        "capacitystatus": "Used",
    }
    filters = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in wanted.items()]
    try:
        answer = client.get_products(ServiceCode="AmazonEC2", Filters=filters)
    except (BotoCoreError, ClientError) as error:
        raise _unanswered(error) from error
    try:
        dimensions = [
            dimension
            for product in map(json.loads, answer["PriceList"])
            for term in product["terms"].get("OnDemand", {}).values()
            for dimension in term["priceDimensions"].values()
        ]
        prices = [float(d["pricePerUnit"]["USD"]) for d in dimensions if d["unit"] == "Hrs"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PriceListError(
            f"AWS's price list for {instance_type} in {region} has an unknown form."
        ) from error
    return min((price for price in prices if price > 0), default=None)


def _unanswered(error: Exception) -> PriceListError:
    """What went wrong between here and AWS's price list, and how to mend it."""
    reason = " ".join(str(error).split()).rstrip(".")
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            reason = "no complete AWS credentials were found"
            remedy = "sign in with `aws sso login` or set AWS_PROFILE"
        case ClientError():
            remedy = "it needs credentials that may call pricing:GetProducts"
        case AwsConnectionError() | HTTPClientError():
            remedy = "check the network, the proxy and AWS_ENDPOINT_URL"
        case _:
            remedy = "check the AWS configuration and the variables AWS_*"
    return PriceListError(f"AWS's price list cannot be read: {reason}; {remedy}.")
