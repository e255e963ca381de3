"""AWS's price list: a fresh price table. Needs boto3, the extra `sweep`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

import boto3
import yaml
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as AwsConnectionError

from latency_sweep.analysis.pricing.prices import (
    PriceListError,
    PricesError,
    PriceTable,
    load_prices,
)
from latency_sweep.runtime.atomic_file import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class PricingClient(Protocol):
    """The one call that is needed of boto3's `pricing` client."""

    def get_products(self, **request: Any) -> Any:
        """AWS Price List, GetProducts."""


def pricing_client() -> PricingClient:
    """A client of AWS's price list, with the credentials and the endpoint of the environment.

    The price list of all regions is asked in us-east-1, one of the few that have it.

    Raises:
        PriceListError: what the environment says of AWS cannot be used.
    """
    config = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3})
    try:
        session = boto3.session.Session()  # the default one would keep an earlier environment
        client: Any = session.client("pricing", region_name="us-east-1", config=config)
    except Exception as error:  # of the files, variables and processes that boto3 reads
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
    except Exception as error:  # boto3 lets many errors of what it reads pass as they are
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
    """What went wrong between here and AWS's price list, and how to fix it."""
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
