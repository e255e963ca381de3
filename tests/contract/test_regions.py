"""What people call AWS' regions."""

from __future__ import annotations

import boto3
import pytest

from latency_sweep.contract import experiment
from latency_sweep.contract.regions import CITIES, city_of, short_zone


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov", "aws-eusc"])
def test_every_region_that_aws_sells_has_a_name(partition: str) -> None:
    # What the SDK knows, which nobody has to ask AWS for.
    regions = boto3.Session().get_available_regions("ec2", partition_name=partition)
    assert set(regions) <= CITIES.keys()


def test_no_two_regions_have_the_same_name() -> None:
    assert len(set(CITIES.values())) == len(CITIES)


def test_the_shipped_experiment_calls_regions_the_same() -> None:
    named = experiment.load().regions
    assert {code: city_of(code) for code in named} == {c: r.name for c, r in named.items()}


def test_a_region_without_a_name_keeps_its_code() -> None:
    assert city_of("lab-1") == "lab-1"


@pytest.mark.parametrize(
    ("az_id", "short"),
    [
        ("apne1-az4", "az4"),
        ("use1-atl2-az1", "atl2-az1"),
        ("unknown", "unknown"),
        ("zone-", "zone-"),
        ("", ""),
    ],
)
def test_the_zone_s_own_part_of_its_id(az_id: str, short: str) -> None:
    assert short_zone(az_id) == short
