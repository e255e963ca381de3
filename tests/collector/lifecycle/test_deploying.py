from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import yaml

from tests.repository import ROOT

if TYPE_CHECKING:
    from tests.collector.conftest import SimulatedAws, StandIn, SweepCommand

# Every step starts processes, which takes a while on a busy machine.
pytestmark = pytest.mark.timeout(180)

BUCKET = "sweep-bucket"
REGIONS = ("eu-west-1", "eu-west-2")
NEW = ("--bucket", BUCKET, "--wheel", "binance-latency-sweep==0.1.0")


def test_a_sweep_is_created_with_tags_and_recorded(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> None:
    answer = sweep("deploy", "--experiment-id", experiment_id, "--config", experiment_file, *NEW)
    assert answer.code == 0, answer.err
    state = sweep.state(experiment_id)
    assert state["stage"] == 1
    created = {i["InstanceId"] for i in aws.instances(experiment_id, *REGIONS)}
    assert {probe["instance_id"] for probe in state["probes"]} == created
    assert len(created) == 4


def test_the_experiment_as_run_carries_the_overrides(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> None:
    answer = sweep(
        *("deploy", "--experiment-id", experiment_id, "--config", experiment_file, *NEW),
        *("--warmup", "1m", "--duration", "2h", "--runs", "2", "--instance-types", "c6i.large"),
    )
    assert answer.code == 0, answer.err
    folder = sweep.sweeps / experiment_id
    experiment = yaml.safe_load((folder / "experiment.yaml").read_text())
    assert experiment["timing"]["warmup_sec"] == 60
    assert experiment["timing"]["measurement_sec"] == 7200
    variables = json.loads((folder / "terraform.tfvars.json").read_text())
    assert variables["experiment_file"] == str(folder / "experiment.yaml")
    assert variables["instance_types"] == ["c6i.large"]
    assert sweep.state(experiment_id)["plan"]["runs"] == 2


def test_terraform_is_told_nothing_that_its_root_module_does_not_know(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> None:
    sweep("deploy", "--experiment-id", experiment_id, "--config", experiment_file, *NEW)
    given = json.loads((sweep.sweeps / experiment_id / "terraform.tfvars.json").read_text())
    root = ROOT / "deploy" / "aws" / "terraform" / "variables.tf"
    declared = {
        line.split('"')[1] for line in root.read_text().splitlines() if line.startswith("variable")
    }
    assert set(given) <= declared


def test_without_capacity_a_candidate_is_left_out_with_a_note(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> None:
    short = "eu-west-1/euw1-az1/c6in.large"
    terraform.script(short_of=[short])
    answer = sweep("deploy", "--experiment-id", experiment_id, "--config", experiment_file, *NEW)
    assert answer.code == 0, answer.err
    assert f"Note: {short} is dropped: InsufficientInstanceCapacity" in answer.out
    state = sweep.state(experiment_id)
    assert [each["candidate"] for each in state["dropped"]] == [short]
    assert len(state["probes"]) == 3
    assert terraform.commands.count("apply") == 2


def test_any_other_failure_of_terraform_ends_the_command_and_can_be_mended(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> None:
    terraform.script(fails=True)
    answer = sweep("deploy", "--experiment-id", experiment_id, "--config", experiment_file, *NEW)
    assert answer.code == 10
    assert "terraform apply failed: Error acquiring the state lock" in answer.err
    assert sweep.state(experiment_id)["stage"] == 0
    terraform.script()
    again = sweep("deploy")
    assert again.code == 0, again.err
    assert f"Resuming {experiment_id}, which is planned." in again.out
    assert len(aws.instances(experiment_id, *REGIONS)) == 4


def test_killed_while_creating_no_instance_is_there_twice(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
    tmp_path: Path,
) -> None:
    terraform.script(pause_in="apply")
    program = Path(sysconfig.get_path("scripts")) / "sweep"
    command: list[str | Path] = [program, "deploy", "--sweeps", sweep.sweeps]
    command += ["--experiment-id", experiment_id]
    process = subprocess.Popen(
        [*command, "--config", experiment_file, *NEW], stdout=subprocess.DEVNULL
    )
    paused = terraform.folder / "paused"
    while not paused.exists() or not paused.read_text():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    os.kill(int(paused.read_text()), signal.SIGKILL)
    assert len(aws.instances(experiment_id, *REGIONS)) == 1  # which Terraform knows nothing of

    terraform.script()
    answer = sweep("deploy")
    assert answer.code == 0, answer.err
    assert "is unknown to Terraform and is terminated" in answer.out
    left = {i["InstanceId"] for i in aws.instances(experiment_id, *REGIONS)}
    assert left == {probe["instance_id"] for probe in sweep.state(experiment_id)["probes"]}
    assert len(left) == 4


def test_a_wheel_of_this_machine_is_published_with_its_digest(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
    tmp_path: Path,
) -> None:
    wheel = tmp_path / "binance_latency_sweep-9.9.9-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    answer = sweep(
        *("deploy", "--experiment-id", experiment_id, "--config", experiment_file),
        *("--bucket", BUCKET, "--wheel", wheel),
    )
    assert answer.code == 0, answer.err
    plan = sweep.state(experiment_id)["plan"]
    key = f"binance-latency-sweep/wheels/{wheel.name}"
    assert plan["wheel_uri"] == f"s3://{BUCKET}/{key}"
    stored = boto3.client("s3").get_object(Bucket=BUCKET, Key=key)
    assert stored["Body"].read() == b"wheel"
    assert stored["Metadata"]["sha256"] == plan["wheel_sha256"]


def test_what_fails_in_preflight_creates_nothing(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> None:
    answer = sweep(
        *("deploy", "--experiment-id", experiment_id, "--config", experiment_file),
        *("--bucket", "no-such-bucket", "--wheel", "binance-latency-sweep==0.1.0"),
    )
    assert answer.code == 8
    assert terraform.commands == []
    assert not (sweep.sweeps / experiment_id).exists()


def test_a_sweep_that_costs_more_than_allowed_is_not_begun(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> None:
    answer = sweep(
        *("deploy", "--experiment-id", experiment_id, "--config", experiment_file, *NEW),
        *("--max-usd", "0.1"),
    )
    assert answer.code == 2
    assert "more than --max-usd 0.1" in answer.err
    assert terraform.commands == []


def test_a_sweep_whose_state_is_lost_is_not_begun_twice(
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> None:
    arguments = ("--experiment-id", experiment_id, "--config", experiment_file, *NEW)
    sweep("deploy", *arguments)
    (sweep.sweeps / experiment_id / "state.json").unlink()
    answer = sweep("deploy", *arguments)
    assert answer.code == 2
    assert f"belongs to {experiment_id}, whose state file is missing here" in answer.err
    assert len(aws.instances(experiment_id, *REGIONS)) == 4


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "A new sweep needs --bucket and --wheel"),
        (("--bucket", BUCKET, "--wheel", "none.whl"), "none.whl: there is no such wheel"),
        ((*NEW, "--monitor-cidr", "1.2.3.4/32"), "--monitor-cidr needs --from-prometheus"),
        ((*NEW, "--terraform", "/no/terraform"), "/no/terraform: there is no such program"),
    ],
)
def test_what_is_missing_is_named(
    options: tuple[str, ...],
    complaint: str,
    aws: SimulatedAws,
    terraform: StandIn,
    sweep: SweepCommand,
    experiment_file: Path,
) -> None:
    answer = sweep("deploy", "--config", experiment_file, *options)
    assert answer.code in {2, 10}
    assert complaint in answer.err
