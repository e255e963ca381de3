"""A simulated AWS, and `sweep` on it: real commands, none of which can reach another address."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
import yaml

from latency_sweep.collector.cli import main
from latency_sweep.runtime.child import Child

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
BUCKET = "sweep-bucket"
QUOTA = {
    "action": "GetServiceQuota",
    "status": 200,
    "body": {"Quota": {"QuotaCode": "L-1216C47A", "Value": 64.0}},
}
GROUPS = (
    '<DescribePlacementGroupsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
    "<placementGroupSet>{}</placementGroupSet></DescribePlacementGroupsResponse>"
)
NO_GROUPS = {"action": "DescribePlacementGroups", "status": 200, "xml": GROUPS.format("")}
_REGION = (
    "<item><regionName>{0}</regionName><regionEndpoint>ec2.{0}.amazonaws.com</regionEndpoint>"
    "<optInStatus>{1}</optInStatus></item>"
)
_REGIONS = (
    '<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
    "<regionInfo>{}</regionInfo></DescribeRegionsResponse>"
)
ENABLED = ("ap-northeast-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "us-west-2")


def account_regions(*enabled: str) -> list[dict[str, Any]]:
    """An account with fewer regions than moto has, because looking into each takes its time."""
    items = "".join(_REGION.format(name, "opt-in-not-required") for name in enabled)
    disabled = _REGION.format("ap-east-1", "not-opted-in")
    return [
        {
            "action": "DescribeRegions",
            "given": "AllRegions=true",
            "status": 200,
            "xml": _REGIONS.format(items + disabled),
        },
        {"action": "DescribeRegions", "status": 200, "xml": _REGIONS.format(items)},
    ]


_numbers = count(1)


@dataclass(frozen=True, slots=True)
class SimulatedAws:
    """moto behind a server that injects faults.

    Attributes:
        url: its address.
    """

    url: str

    def faults(self, *faults: dict[str, Any]) -> None:
        """Replace the faults; what moto lacks stays, unless a fault replaces it."""
        self.post("/__faults", [*faults, QUOTA, NO_GROUPS, *account_regions(*ENABLED)])

    def post(self, path: str, document: Any = None) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.post(self.url + path, json=document, timeout=30).raise_for_status()

    def calls(self) -> list[str]:
        """What was asked since the faults were last replaced, as `ec2:RunInstances`."""
        with requests.Session() as session:
            session.trust_env = False
            found: list[str] = session.get(self.url + "/__calls", timeout=30).json()
        return found

    def ec2(self, region: str) -> Any:
        return boto3.client("ec2", region_name=region)

    def instances(self, experiment: str, *regions: str) -> list[Any]:
        """The instances of an experiment that are not terminated."""
        return [
            instance
            for region in regions
            for page in self.ec2(region)
            .get_paginator("describe_instances")
            .paginate(Filters=[{"Name": "tag:Experiment", "Values": [experiment]}])
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
            if instance["State"]["Name"] != "terminated"
        ]


@pytest.fixture(scope="session")
def aws_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("aws")
    command = [sys.executable, str(HERE / "aws_server.py")]
    with Child("aws", command, folder=folder) as child:
        child.wait_until(
            lambda: child.output.read_text().endswith("\n"), within_sec=30, what="listen"
        )
        yield json.loads(child.output.read_text())["url"]


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimulatedAws:
    """An AWS with a bucket and with quotas, to which this process and its children go."""
    environment = {
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
        "NO_PROXY": "127.0.0.1",
        "COLUMNS": "200",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "PROMETHEUS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    simulated = SimulatedAws(aws_url)
    simulated.post("/moto-api/reset")
    simulated.faults()
    with closing(boto3.client("s3", region_name="us-east-1")) as s3:
        s3.create_bucket(Bucket=BUCKET)
    return simulated


@pytest.fixture
def experiment_id() -> str:
    """A name that no other test uses, because all share one AWS."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def experiment_file(tmp_path: Path) -> Path:
    """Two regions in two phases, two types, and an exchange on this machine."""
    shipped = Path(__file__).parents[2] / "experiment.yaml"
    document = yaml.safe_load(shipped.read_text())
    document["regions"] = {
        "eu-west-1": {"name": "Ireland", "phase": 1},
        "eu-west-2": {"name": "London", "phase": 1},
        "ap-northeast-1": {"name": "Tokyo", "phase": 2},
    }
    document["instance_types"] = {
        "c6i.large": {"family": "compute", "architecture": "x86_64"},
        "c6in.large": {"family": "network", "architecture": "x86_64"},
    }
    # Nothing listens there, which is told and harmless.
    document["market_data"] |= {"endpoint": "ws://127.0.0.1:9", "time_endpoint": None}
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@dataclass(frozen=True, slots=True)
class StandIn:
    """The stand-in for Terraform.

    Attributes:
        program: to give as `--terraform`.
        folder: with its state, its log of commands and its script.
    """

    program: Path
    folder: Path

    def script(self, **values: Any) -> None:
        (self.folder / "script.json").write_text(json.dumps(values))

    @property
    def commands(self) -> list[str]:
        """The actions it was started for."""
        log = self.folder / "commands.log"
        return [line.split()[1] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def terraform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    folder = tmp_path / "remote-state"
    folder.mkdir()
    monkeypatch.setenv("STAND_IN_STATE", str(folder))
    program = tmp_path / "terraform"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE}/terraform_stand_in.py "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("SWEEP_TERRAFORM", str(program))
    return StandIn(program, folder)


@dataclass(frozen=True, slots=True)
class SessionManager:
    """The stand-in for the AWS CLI's sessions.

    Attributes:
        folder: with its script and its log of sessions.
    """

    folder: Path

    def script(self, **values: Any) -> None:
        (self.folder / "script.json").write_text(json.dumps(values))

    @property
    def sessions(self) -> list[str]:
        """The command line of each session."""
        log = self.folder / "sessions.log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def pids(self) -> list[int]:
        """The process of each session, in order."""
        return [int(line.split()[0]) for line in self.sessions]


@pytest.fixture
def session_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SessionManager:
    """On PATH stands an `aws` that only knows sessions, and an empty plugin."""
    folder = tmp_path / "session-manager"
    folder.mkdir()
    aws = folder / "aws"
    aws.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE}/tunnel_stand_in.py "$@"\n')
    aws.chmod(0o755)
    plugin = folder / "session-manager-plugin"
    plugin.write_text("#!/bin/sh\nexit 1\n")
    plugin.chmod(0o755)
    monkeypatch.setenv("STAND_IN_TUNNEL", str(folder))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return SessionManager(folder)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str


class SweepCommand:
    """`sweep` in this process, in a folder of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str], sweeps: Path) -> None:
        self._capsys = capsys
        self.sweeps = sweeps

    def __call__(self, name: str, *arguments: str | Path) -> Answer:
        folder = [] if name in {"preflight", "reap"} else ["--sweeps", str(self.sweeps)]
        code = main.main([name, *folder, *map(str, arguments)])
        captured = self._capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    def state(self, experiment_id: str) -> Any:
        return json.loads((self.sweeps / experiment_id / "state.json").read_text())


@pytest.fixture
def sweep(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> SweepCommand:
    return SweepCommand(capsys, tmp_path / "sweeps")
