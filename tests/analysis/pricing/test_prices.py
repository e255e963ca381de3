"""The price table: shipped, replaced and refreshed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from latency_sweep.analysis.pricing.aws_price_list import refresh_prices
from latency_sweep.analysis.pricing.prices import PricesError, load_prices
from latency_sweep.contract.experiment import load

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
date: 2026-11-22
source: somewhere
verified: true
usd_per_hour:
  eu-west-1: {c6i.large: 0.0912}
"""


def test_the_shipped_table_has_every_candidate_of_the_experiment() -> None:
    prices, experiment = load_prices(), load()
    for region in experiment.regions:
        for instance_type in experiment.instance_types:
            assert prices.price(region, instance_type) is not None


def test_the_shipped_table_does_not_claim_to_be_verified() -> None:
    assert not load_prices().verified


def test_an_unknown_candidate_has_no_price(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(GOOD)
    prices = load_prices(path)
    assert prices.price("eu-west-1", "c6i.large") == 0.0912
    assert prices.price("eu-west-1", "x1.large") is None
    assert prices.price("mars-1", "c6i.large") is None
    assert prices.price(None, "c6i.large") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("0.0912", "-1"), "eu-west-1.c6i.large: input should be greater than 0"),
        (GOOD.replace("0.0912", "cheap"), "usd_per_hour.eu-west-1.c6i.large: input should be"),
        (GOOD.replace("0.0912", ".nan"), "finite"),
        (GOOD.replace("2026-11-22", "soon"), "date: input should be a valid date"),
        (GOOD.replace("source: somewhere", ""), "source: field required"),
        (GOOD + "currency: EUR\n", "currency: unknown key"),
        ("- 1\n", "expected a mapping"),
        ("", "expected a mapping"),
        ("a: [", "not valid YAML"),
        ("[" * 3000, "not valid YAML"),
    ],
)
def test_a_bad_table_gets_one_sentence_that_names_the_fault(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(PricesError) as caught:
        load_prices(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(PricesError, match="cannot be read: No such file"):
        load_prices(tmp_path / "none.yaml")


def test_a_table_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PricesError, match="not UTF-8"):
        load_prices(path)


def product(*usd: str, unit: str = "Hrs") -> str:
    dimensions = {str(i): {"unit": unit, "pricePerUnit": {"USD": p}} for i, p in enumerate(usd)}
    return json.dumps({"terms": {"OnDemand": {"term": {"priceDimensions": dimensions}}}})


@pytest.fixture
def pricing() -> Any:
    return boto3.client(
        "pricing", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


def test_a_refresh_writes_what_aws_says_and_leaves_out_what_is_not_offered(
    tmp_path: Path, pricing: Any
) -> None:
    path = tmp_path / "prices.yaml"
    with Stubber(pricing) as stub:
        for answer in (["0.0912"], ["0.0", "0.0705"], [], []):
            documents = [product(*answer)] if answer else []
            stub.add_response("get_products", {"PriceList": documents})
        table = refresh_prices(
            path, ["eu-west-1", "me-central-1"], ["c6i.large", "c7gn.medium"], pricing
        )
        stub.assert_no_pending_responses()
    assert table.usd_per_hour == {"eu-west-1": {"c6i.large": 0.0912, "c7gn.medium": 0.0705}}
    assert table.verified
    assert load_prices(path) == table


def test_a_refresh_asks_for_shared_linux_on_demand(tmp_path: Path, pricing: Any) -> None:
    wanted = {
        "regionCode": "eu-west-1",
        "instanceType": "c6i.large",
        "operatingSystem": "Linux",
        "preInstalledSw": "NA",
        "tenancy": "Shared",
        "capacitystatus": "Used",
    }
    filters = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in wanted.items()]
    with Stubber(pricing) as stub:
        stub.add_response(
            "get_products",
            {"PriceList": [product("0.09")]},
            {"ServiceCode": "AmazonEC2", "Filters": filters},
        )
        refresh_prices(tmp_path / "prices.yaml", ["eu-west-1"], ["c6i.large"], pricing)


def test_a_refused_refresh_says_what_permission_is_needed(tmp_path: Path, pricing: Any) -> None:
    path = tmp_path / "prices.yaml"
    with Stubber(pricing) as stub:
        stub.add_client_error("get_products", "AccessDeniedException", "no")
        with pytest.raises(PricesError, match="pricing:GetProducts"):
            refresh_prices(path, ["eu-west-1"], ["c6i.large"], pricing)
    assert not path.exists()


@pytest.mark.parametrize("document", ["{}", "[]", "no json", product("dear")])
def test_an_unknown_form_of_answer_is_refused(tmp_path: Path, pricing: Any, document: str) -> None:
    with Stubber(pricing) as stub:
        stub.add_response("get_products", {"PriceList": [document]})
        with pytest.raises(PricesError, match="unknown form"):
            refresh_prices(tmp_path / "prices.yaml", ["eu-west-1"], ["c6i.large"], pricing)


def test_a_refresh_without_any_price_keeps_the_old_table(tmp_path: Path, pricing: Any) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(GOOD)
    with Stubber(pricing) as stub:
        stub.add_response("get_products", {"PriceList": []})
        with pytest.raises(PricesError, match="none of these"):
            refresh_prices(path, ["mars-1"], ["c6i.large"], pricing)
    assert path.read_text() == GOOD


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, pricing: Any) -> None:
    with Stubber(pricing) as stub:
        stub.add_response("get_products", {"PriceList": [product("0.09")]})
        with pytest.raises(PricesError, match="cannot be written"):
            refresh_prices(tmp_path / "no" / "p.yaml", ["eu-west-1"], ["c6i.large"], pricing)
