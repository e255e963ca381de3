"""`sweep status`, `destroy` and `reap`, on sweeps that were deployed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from latency_sweep.collector import state
from latency_sweep.collector.aws import inventory
from latency_sweep.collector.aws.session import Aws
from latency_sweep.collector.state import Stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.collector.conftest import SimulatedAws, StandIn, SweepCommand

# Every step starts processes, which takes a while on a busy machine.
pytestmark = pytest.mark.timeout(180)

NEW = ("--bucket", "sweep-bucket", "--wheel", "binance-latency-sweep==0.1.0")


@pytest.fixture
def deployed(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> str:
    """A deployed sweep in two regions; its name."""
    answer = sweep(
        *("deploy", "--experiment-id", experiment_id, "--config", experiment_file, *NEW),
        *("--instance-types", "c6i.large"),
    )
    assert answer.code == 0, answer.err
    return experiment_id


@pytest.fixture
def leave(aws: SimulatedAws) -> Callable[..., str]:
    """Make a tagged security group that Terraform knows nothing of."""

    def make(region: str, experiment: str, expires: datetime | None = None) -> str:
        tags = {"Project": "binance-latency-sweep", "Experiment": experiment}
        if expires is not None:
            tags["ExpiresAt"] = expires.isoformat()
        group: dict[str, Any] = aws.ec2(region).create_security_group(
            GroupName=f"left-{experiment}",
            Description="left",
            TagSpecifications=[
                {
                    "ResourceType": "security-group",
                    "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                }
            ],
        )
        return str(group["GroupId"])

    return make


def test_status_joins_the_state_with_what_ec2_has(
    deployed: str, sweep: SweepCommand, aws: SimulatedAws
) -> None:
    gone = sweep.state(deployed)["probes"][0]
    aws.ec2(gone["region"]).terminate_instances(InstanceIds=[gone["instance_id"]])
    answer = sweep("status", "--json")
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    assert document["stage"] == "deployed"
    assert [probe["ec2"] for probe in document["probes"]] == ["gone", "running"]
    assert "The address of Prometheus is unknown" in document["prometheus"]["problem"]


def test_status_is_a_table_for_people(deployed: str, sweep: SweepCommand) -> None:
    answer = sweep("status")
    assert answer.code == 0, answer.err
    assert f"{deployed}: deployed" in answer.out
    assert sweep.state(deployed)["probes"][1]["instance_id"] in answer.out


def test_destroy_leaves_nothing_and_looks_in_every_region(
    deployed: str, sweep: SweepCommand, aws: SimulatedAws
) -> None:
    answer = sweep("destroy")
    assert answer.code == 0, answer.err
    assert f"Nothing tagged {deployed} is left in any of" in answer.out
    assert sweep.state(deployed)["stage"] == Stage.DESTROYED
    assert aws.instances(deployed, "eu-west-1", "eu-west-2") == []


def test_destroy_lists_what_is_left_even_where_no_probe_was(
    deployed: str, sweep: SweepCommand, aws: SimulatedAws, leave: Callable[..., str]
) -> None:
    group = leave("us-west-2", deployed)
    answer = sweep("destroy")
    assert answer.code == 12
    assert f"us-west-2: security-group {group} of {deployed}" in answer.err
    assert sweep.state(deployed)["stage"] == Stage.DEPLOYED
    aws.ec2("us-west-2").delete_security_group(GroupId=group)
    assert sweep("destroy").code == 0


def test_a_region_that_cannot_be_asked_is_not_taken_for_empty(
    deployed: str, sweep: SweepCommand, aws: SimulatedAws
) -> None:
    aws.faults(
        {
            "action": "DescribeVolumes",
            "region": "eu-north-1",
            "status": 403,
            "code": "UnauthorizedOperation",
        }
    )
    answer = sweep("destroy")
    assert answer.code == 12
    assert "Some regions could not be searched" in answer.err
    assert "eu-north-1: AWS denied DescribeVolumes" in answer.err


def test_evidence_that_is_not_archived_is_not_destroyed_unless_told_to(
    deployed: str, sweep: SweepCommand, aws: SimulatedAws
) -> None:
    state.load(sweep.sweeps, deployed).reach(Stage.READY, schedule=("2026-01-31T06:05:00Z",))
    answer = sweep("destroy")
    assert answer.code == 2
    assert "is not archived; run sweep archive first, or add --discard-evidence" in answer.err
    assert len(aws.instances(deployed, "eu-west-1", "eu-west-2")) == 2
    assert sweep("destroy", "--discard-evidence").code == 0


def test_reap_lists_and_deletes_a_whole_sweep_without_its_state(
    deployed: str, sweep: SweepCommand, aws: SimulatedAws, leave: Callable[..., str]
) -> None:
    leave("ap-northeast-1", deployed)
    listed = sweep("reap", "--experiment-id", deployed)
    assert listed.code == 0, listed.err
    assert "ap-northeast-1: security-group" in listed.out
    assert "eu-west-2: ssm parameter" in listed.out
    assert "Nothing was deleted; run it with --yes to delete them." in listed.out
    assert len(aws.instances(deployed, "eu-west-1", "eu-west-2")) == 2
    deleted = sweep("reap", "--experiment-id", deployed, "--yes")
    assert deleted.code == 0, deleted.err
    session = Aws()
    assert inventory.take(session, session.enabled_regions(), experiment=deployed).resources == ()


def test_reap_without_a_name_takes_only_what_has_expired(
    sweep: SweepCommand, aws: SimulatedAws, experiment_id: str, leave: Callable[..., str]
) -> None:
    now = datetime.now(UTC)
    old = leave("eu-north-1", f"{experiment_id}-old", now - timedelta(hours=1))
    young = leave("eu-north-1", f"{experiment_id}-young", now + timedelta(hours=1))
    answer = sweep("reap", "--yes")
    assert answer.code == 0, answer.err
    groups = aws.ec2("eu-north-1").describe_security_groups()["SecurityGroups"]
    left = {group["GroupId"] for group in groups}
    assert young in left
    assert old not in left


def test_reap_tells_what_it_may_not_delete(
    sweep: SweepCommand, aws: SimulatedAws, experiment_id: str, leave: Callable[..., str]
) -> None:
    group = leave("eu-north-1", experiment_id)
    aws.faults({"action": "DeleteSecurityGroup", "status": 400, "code": "DependencyViolation"})
    answer = sweep("reap", "--experiment-id", experiment_id, "--yes", "--json")
    assert answer.code == 12
    assert group in answer.err
    assert "DependencyViolation" in answer.err


@pytest.mark.parametrize("command", ["status", "collect", "archive", "destroy"])
def test_a_sweep_that_nobody_knows_is_refused_with_the_way_to_reap_it(
    command: str, aws: SimulatedAws, terraform: StandIn, sweep: SweepCommand
) -> None:
    answer = sweep(command, "--experiment-id", "unknown")
    assert answer.code == 2
    assert "sweep reap --experiment-id unknown" in answer.err


def test_steps_out_of_order_are_refused(deployed: str, sweep: SweepCommand) -> None:
    answer = sweep("archive")
    assert answer.code == 2
    assert "has measured nothing yet; run sweep collect first" in answer.err


def test_no_secret_is_in_what_a_sweep_writes_down(deployed: str, sweep: SweepCommand) -> None:
    path = f"/binance-latency-sweep/{deployed}/scrape/token"
    answer = boto3.client("ssm").get_parameter(Name=path, WithDecryption=True)
    token = answer["Parameter"]["Value"]
    files = [file for file in (sweep.sweeps / deployed).rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if token in file.read_text()]


def test_a_token_kept_in_ssm_is_never_shown(
    deployed: str, sweep: SweepCommand, aws: SimulatedAws
) -> None:
    boto3.client("ssm").put_parameter(Name="/mine", Value="hunter2", Type="SecureString")
    answer = sweep(
        *("status", "--from-prometheus", "http://127.0.0.1:9", "--json"),
        *("--token-parameter", "eu-west-1:/mine"),
    )
    assert answer.code == 0, answer.err
    assert "127.0.0.1:9" in json.loads(answer.out)["prometheus"]["problem"]
    assert "hunter2" not in answer.out + answer.err


def test_a_token_parameter_that_is_not_there_is_named(deployed: str, sweep: SweepCommand) -> None:
    answer = sweep(
        *("status", "--from-prometheus", "http://127.0.0.1:9", "--token-parameter", "/none")
    )
    assert answer.code == 9
    assert "SSM parameter /none: AWS rejected GetParameter" in answer.err
