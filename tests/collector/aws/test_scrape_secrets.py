from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3

from latency_sweep.collector.aws import scrape_secrets
from latency_sweep.collector.aws.session import Aws
from latency_sweep.collector.state import Plan
from latency_sweep.deploy.aws.scrape_secrets import NAMES

if TYPE_CHECKING:
    from tests.collector.conftest import SimulatedAws

REGIONS = ("eu-west-1", "eu-west-2")


def plan(experiment_id: str) -> Plan:
    return Plan(
        experiment_id=experiment_id,
        phase=1,
        regions=REGIONS,
        instance_types=("c6i.large",),
        runs=3,
        bucket="bucket",
        bucket_region="eu-west-1",
        wheel_uri="binance-latency-sweep==0.1.0",
        monitor_region="us-west-2",
        ttl_hours=6,
    )


def stored(region: str, experiment_id: str) -> dict[str, Any]:
    pages = (
        boto3.client("ssm", region_name=region)
        .get_paginator("get_parameters_by_path")
        .paginate(Path=f"/binance-latency-sweep/{experiment_id}/scrape", WithDecryption=True)
    )
    return {
        each["Name"]: (each["Type"], each["Value"]) for page in pages for each in page["Parameters"]
    }


def test_every_region_has_the_same_secrets_encrypted(aws: SimulatedAws, experiment_id: str) -> None:
    scrape_secrets.ensure(Aws(), plan(experiment_id))
    first = stored("eu-west-1", experiment_id)
    assert {name.rpartition("/")[2] for name in first} == set(NAMES)
    assert {kind for kind, _ in first.values()} == {"SecureString"}
    assert stored("eu-west-2", experiment_id) == first
    assert stored("us-west-2", experiment_id) == first


def test_a_second_attempt_completes_and_keeps_what_probes_already_have(
    aws: SimulatedAws, experiment_id: str
) -> None:
    scrape_secrets.ensure(Aws(), plan(experiment_id))
    first = stored("eu-west-1", experiment_id)
    boto3.client("ssm", region_name="eu-west-2").delete_parameter(Name=next(iter(first)))
    scrape_secrets.ensure(Aws(), plan(experiment_id))
    assert stored("eu-west-1", experiment_id) == first
    assert stored("eu-west-2", experiment_id) == first


def test_nothing_is_left_of_removed_secrets(aws: SimulatedAws, experiment_id: str) -> None:
    scrape_secrets.ensure(Aws(), plan(experiment_id))
    scrape_secrets.remove(Aws(), plan(experiment_id))
    assert [stored(region, experiment_id) for region in (*REGIONS, "us-west-2")] == [{}, {}, {}]
