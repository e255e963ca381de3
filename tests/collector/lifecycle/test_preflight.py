from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.conftest import SimulatedAws, SweepCommand

# Every step starts processes, which takes a while on a busy machine.
pytestmark = pytest.mark.timeout(180)

BUCKET = "sweep-bucket"


def checks(text: str, what: str, region: str | None = None) -> list[dict[str, Any]]:
    found = json.loads(text)["checks"]
    return [c for c in found if c["what"] == what and region in (None, c["region"])]


def test_everything_is_there(aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as exchange:
        document = yaml.safe_load(experiment_file.read_text())
        document["market_data"]["endpoint"] = f"ws://127.0.0.1:{exchange.getsockname()[1]}"
        experiment_file.write_text(yaml.safe_dump(document))
        answer = sweep("preflight", "--config", experiment_file, "--bucket", BUCKET, "--json")
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    assert report["ok"]
    assert report["account"] == "123456789012"
    assert checks(answer.out, "exchange")[0]["outcome"] == "PASS"
    assert report["offered"]["eu-west-1"]["c6i.large"] == ["euw1-az1", "euw1-az2", "euw1-az3"]
    assert "4 vCPUs needed, 64 of 64 left" in checks(answer.out, "quota", "eu-west-1")[0]["detail"]


def test_the_table_ends_with_what_the_sweep_costs(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    answer = sweep("preflight", "--config", experiment_file, "--phase", "2")
    assert answer.code == 0, answer.err
    assert "1 x c6i.large in ap-northeast-1" in answer.out
    assert "Phase 2 adds" in answer.out
    assert "The sweep costs about" in answer.out


def test_running_instances_count_against_the_quota(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    client = aws.ec2("eu-west-2")
    image = client.describe_images()["Images"][0]["ImageId"]
    run = client.run_instances(ImageId=image, InstanceType="c6i.8xlarge", MinCount=2, MaxCount=2)
    try:
        answer = sweep("preflight", "--config", experiment_file)
    finally:
        ids = [instance["InstanceId"] for instance in run["Instances"]]
        client.terminate_instances(InstanceIds=ids)
    assert answer.code == 8
    assert "quota in eu-west-2: 4 vCPUs needed, 0 of 64 left" in answer.err
    assert "nothing was created" in answer.err
    assert "eu-west-1" not in answer.err


def test_a_missing_permission_is_named_with_its_region(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    aws.faults(
        {
            "action": "DescribeInstanceTypeOfferings",
            "region": "eu-west-2",
            "status": 403,
            "code": "UnauthorizedOperation",
            "message": "You are not authorized to perform this operation.",
        }
    )
    answer = sweep("preflight", "--config", experiment_file)
    assert answer.code == 8
    assert (
        "AWS denied DescribeInstanceTypeOfferings in eu-west-2: allow it in the IAM policy of "
        "these credentials." in answer.err
    )


def test_throttling_that_passes_is_ridden_out(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    throttled = {"action": "DescribeInstances", "region": "eu-west-1", "status": 503, "times": 2}
    aws.faults({**throttled, "code": "RequestLimitExceeded", "message": "Request limit exceeded."})
    assert sweep("preflight", "--config", experiment_file).code == 0


def test_a_region_that_is_not_enabled_is_refused(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    document = yaml.safe_load(experiment_file.read_text())
    document["regions"] = {"ap-east-1": {"name": "Hong Kong", "phase": 1}}
    experiment_file.write_text(yaml.safe_dump(document))
    answer = sweep("preflight", "--config", experiment_file)
    assert answer.code == 8
    assert "region in ap-east-1: not enabled" in answer.err


def test_a_region_that_does_not_exist_is_refused(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    document = yaml.safe_load(experiment_file.read_text())
    document["regions"] = {"eu-south-9": {"name": "Nowhere", "phase": 1}}
    experiment_file.write_text(yaml.safe_dump(document))
    answer = sweep("preflight", "--config", experiment_file)
    assert answer.code == 8
    assert "AWS has no such region" in answer.err


@pytest.mark.parametrize(
    ("types", "code"), [(["c6i.large", "c7gn.medium"], 0), (["c7gn.medium"], 8)]
)
def test_an_unoffered_type_is_left_out_unless_nothing_is_left(
    types: list[str], code: int, aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    document = yaml.safe_load(experiment_file.read_text())
    document["regions"] = {"eu-central-1": {"name": "Frankfurt", "phase": 1}}
    document["instance_types"] = {
        name: {"family": name, "architecture": "arm64" if "g" in name[:4] else "x86_64"}
        for name in types
    }
    experiment_file.write_text(yaml.safe_dump(document))
    answer = sweep("preflight", "--config", experiment_file, "--json")
    assert answer.code == code
    assert any(
        "c7gn.medium is not offered" in check["detail"]
        for check in checks(answer.out, "instance type", "eu-central-1")
    )
    assert not any("c7gn" in item["what"] for item in json.loads(answer.out)["estimate"]["items"])


def test_zones_that_lack_a_type_are_told(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    answer = sweep(
        "preflight", "--config", experiment_file, "--az-ids", "eu-west-1=euw1-az9,euw1-az1",
        "--json",
    )  # fmt: skip
    assert answer.code == 0
    found = checks(answer.out, "instance type", "eu-west-1")[0]["detail"]
    assert "c6i.large is not offered in euw1-az9; it has euw1-az1" in found


def test_a_bucket_that_does_not_exist_is_refused_with_the_mend(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    answer = sweep("preflight", "--config", experiment_file, "--bucket", "no-such-bucket")
    assert answer.code == 8
    assert "aws s3 mb s3://no-such-bucket" in answer.err


def test_a_missing_image_parameter_is_refused(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    gone = {"action": "GetParameter", "status": 400, "code": "ParameterNotFound", "message": ""}
    aws.faults(gone)
    answer = sweep("preflight", "--config", experiment_file)
    assert answer.code == 8
    assert "SSM has no parameter /aws/service/ami-amazon-linux-latest/al2023" in answer.err


def test_without_credentials_it_says_how_to_get_them(
    aws: SimulatedAws,
    sweep: SweepCommand,
    experiment_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    answer = sweep("preflight", "--config", experiment_file)
    assert answer.code == 8
    assert "There are no AWS credentials; run aws configure sso" in answer.err


def test_credentials_that_have_expired_are_told(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    aws.faults(
        {"action": "GetCallerIdentity", "status": 403, "code": "ExpiredToken", "message": "old"}
    )
    answer = sweep("preflight", "--config", experiment_file)
    assert answer.code == 8
    assert "AWS rejected the credentials (ExpiredToken)" in answer.err


def test_prices_are_refreshed_from_the_price_list(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path, tmp_path: Path
) -> None:
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": "0.5"}}
    product = {"terms": {"OnDemand": {"a": {"priceDimensions": {"b": dimension}}}}}
    aws.faults(
        {"action": "GetProducts", "status": 200, "body": {"PriceList": [json.dumps(product)]}}
    )
    table = tmp_path / "prices.yaml"
    answer = sweep("preflight", "--config", experiment_file, "--refresh-prices", table, "--json")
    assert answer.code == 0, answer.err
    items = json.loads(answer.out)["estimate"]["items"]
    assert items[0] == {"phase": 1, "what": "1 x c6i.large in eu-west-1", "usd_per_hour": 0.5}
    assert yaml.safe_load(table.read_text())["verified"] is True


def test_a_run_of_a_month_is_refused_in_one_sentence(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    answer = sweep("preflight", "--config", experiment_file, "--duration", "30d")
    assert answer.code == 2
    assert answer.err == (
        "sweep preflight: The requested timing is not valid: timing.measurement_sec: input should "
        "be less than or equal to 604800, got 2592000.\n"
    )


def test_scrapes_too_rare_for_the_alerts_are_refused_before_anything_is_paid_for(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    document = yaml.safe_load(experiment_file.read_text())
    document["timing"]["scrape_interval_sec"] = 30
    experiment_file.write_text(yaml.safe_dump(document))
    answer = sweep("preflight", "--config", experiment_file)
    assert answer.code == 2
    assert "timing.scrape_interval_sec: 30 s is too long" in answer.err


def test_what_the_experiment_does_not_have_is_refused(
    aws: SimulatedAws, sweep: SweepCommand, experiment_file: Path
) -> None:
    for options, complaint in {
        ("--phase", "7"): "No region belongs to phase 7; there are 1, 2.",
        ("--instance-types", "m1.small"): "no instance type 'm1.small'; it has c6i.large",
        ("--strata", "noon"): "Unknown time stratum 'noon'; the experiment has high, low, peak.",
        ("--az-ids", "us-east-1=use1-az1"): "--az-ids names us-east-1; the sweep has eu-west-1",
    }.items():
        answer = sweep("preflight", "--config", experiment_file, *options)
        assert answer.code == 2
        assert complaint in answer.err
