"""AWS denies, throttles or has switched a region off, in every command after preflight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from latency_sweep.collector.aws.session import Aws, AwsError
from latency_sweep.collector.lifecycle import archiving
from latency_sweep.collector.state import Plan, Stage, State, Sweep, now

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.conftest import SimulatedAws, StandIn, SweepCommand

# Every step starts processes, which takes a while on a busy machine.
pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("terraform")]

BUCKET: Final = "sweep-bucket"
NEW: Final = ("--bucket", BUCKET, "--wheel", "binance-latency-sweep==0.1.0")
FORBIDDEN: Final = {"status": 403, "code": "UnauthorizedOperation", "message": "No."}
SWITCHED_OFF: Final = {"status": 401, "code": "OptInRequired", "message": "Not subscribed."}
THROTTLED: Final = {"status": 503, "code": "RequestLimitExceeded", "message": "Slow down."}
SENTENCES: Final = {
    "FORBIDDEN": (FORBIDDEN, "allow it in the IAM policy of these credentials"),
    "SWITCHED_OFF": (SWITCHED_OFF, "the region is not enabled for this account"),
}


@pytest.fixture
def deployed(aws: SimulatedAws, sweep: SweepCommand, experiment_id: str) -> str:
    """A sweep that was deployed in two regions; its name."""
    plan = Plan(
        experiment_id=experiment_id,
        phase=1,
        regions=("eu-west-1", "eu-west-2"),
        instance_types=("c6i.large",),
        runs=1,
        bucket=BUCKET,
        bucket_region="us-east-1",
        wheel_uri="binance-latency-sweep==0.1.0",
        ttl_hours=4,
    )
    Sweep(sweep.sweeps / experiment_id, State(plan=plan, created=now())).reach(Stage.DEPLOYED)
    return experiment_id


def _in_london(fault: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"action": "DescribeInstances", "region": "eu-west-2", **fault, **more}


@pytest.mark.parametrize("kind", SENTENCES)
@pytest.mark.parametrize(("command", "code"), [("status", 9), ("reap", 12), ("destroy", 12)])
def test_a_region_that_refuses_is_named_with_what_helps(
    command: str, code: int, kind: str, deployed: str, aws: SimulatedAws, sweep: SweepCommand
) -> None:
    fault, sentence = SENTENCES[kind]
    aws.faults(_in_london(fault))
    answer = sweep(command, "--experiment-id", deployed)
    assert answer.code == code
    assert f"AWS denied DescribeInstances in eu-west-2: {sentence}" in answer.err


@pytest.mark.parametrize("command", ["status", "reap", "destroy"])
def test_throttling_of_a_region_is_ridden_out(
    command: str, deployed: str, aws: SimulatedAws, sweep: SweepCommand
) -> None:
    aws.faults(_in_london(THROTTLED, times=2))
    answer = sweep(command, "--experiment-id", deployed)
    assert answer.code == 0, answer.err


def test_throttling_that_does_not_end_is_told(
    deployed: str, aws: SimulatedAws, sweep: SweepCommand
) -> None:
    aws.faults(_in_london(THROTTLED))
    answer = sweep("status", "--experiment-id", deployed)
    assert answer.code == 9
    assert "AWS throttled DescribeInstances in eu-west-2" in answer.err


def test_secrets_that_may_not_be_stored_stop_a_deployment_that_goes_on_once_they_may(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> None:
    refused = {"status": 400, "code": "AccessDeniedException", "message": "No."}
    aws.faults({"action": "PutParameter", "region": "eu-west-2", **refused})
    answer = sweep("deploy", "--experiment-id", experiment_id, "--config", experiment_file, *NEW)
    assert answer.code == 9
    assert "AWS denied PutParameter in eu-west-2" in answer.err
    assert terraform.commands == []
    aws.faults()
    assert sweep("deploy").code == 0


def test_throttling_of_a_deployment_is_ridden_out(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> None:
    slow = {"status": 400, "code": "ThrottlingException", "message": "Slow down.", "times": 2}
    aws.faults({"action": "PutParameter", **slow}, _in_london(THROTTLED, times=2))
    answer = sweep(
        *("deploy", "--experiment-id", experiment_id, "--config", experiment_file, *NEW),
        *("--instance-types", "c6i.large"),
    )
    assert answer.code == 0, answer.err
    assert len(aws.instances(experiment_id, "eu-west-1", "eu-west-2")) == 2


def test_without_permission_to_write_the_archive_is_not_taken_for_kept(
    aws: SimulatedAws, tmp_path: Path
) -> None:
    evidence = tmp_path / "evidence.parquet"
    evidence.write_bytes(b"evidence")
    aws.faults({"action": "PUT", "status": 403, "code": "AccessDenied", "message": "No."})
    with pytest.raises(AwsError, match=r"evidence\.parquet"):
        archiving.upload(Aws(), evidence, bucket=BUCKET, key="e", region="us-east-1")


def test_throttling_of_the_archive_is_ridden_out_and_a_second_upload_sends_nothing(
    aws: SimulatedAws, tmp_path: Path
) -> None:
    evidence = tmp_path / "evidence.parquet"
    evidence.write_bytes(b"evidence")
    slow = {"action": "PUT", "status": 503, "code": "SlowDown", "message": "Slow down."}
    aws.faults({**slow, "times": 2})
    session = Aws()
    archiving.upload(session, evidence, bucket=BUCKET, key="e", region="us-east-1")
    aws.faults(slow)
    archiving.upload(session, evidence, bucket=BUCKET, key="e", region="us-east-1")
