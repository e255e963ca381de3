"""EC2 of the local stack: one tagged instance per site, in a simulated EC2 of its own process."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from latency_sweep.contract import tags
from latency_sweep.lab.local.environment import clean_environment
from latency_sweep.prometheus.configuration import SimulatedEc2
from latency_sweep.runtime.child import Child, ChildError, Priority

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mypy_boto3_ec2 import EC2Client

_READY_WITHIN_SEC: Final = 60.0


@dataclass(frozen=True, slots=True)
class Machine:
    """An instance to create.

    Attributes:
        region: AWS region.
        zone: name of the availability zone, `ap-northeast-1a`.
        instance_type: EC2 instance type.
        architecture: `x86_64` or `arm64`.
        probe_port: port of its probe on 127.0.0.1.
    """

    region: str
    zone: str
    instance_type: str
    architecture: str
    probe_port: int


@dataclass(frozen=True, slots=True)
class Ec2Api:
    """A simulated EC2 that is running.

    Attributes:
        access: how to reach it.
    """

    access: SimulatedEc2

    def client(self, region: str) -> EC2Client:
        """An EC2 client of one region that cannot reach the real AWS."""
        return _session().client(
            "ec2",
            region_name=region,
            endpoint_url=self.access.endpoint,
            aws_access_key_id=self.access.access_key,
            aws_secret_access_key=self.access.secret_key,
            config=Config(proxies={}, retries={"total_max_attempts": 2}),
        )

    def create(
        self, machines: Sequence[Machine], *, experiment: str, project: str = tags.PROJECT_NAME
    ) -> list[str]:
        """Create running, tagged instances; their ids, in order."""
        regions = sorted({machine.region for machine in machines})
        clients = {region: self.client(region) for region in regions}
        images = {region: _images(client) for region, client in clients.items()}
        return [
            _create(
                clients[machine.region],
                images[machine.region][machine.architecture],
                machine,
                experiment=experiment,
                project=project,
            )
            for machine in machines
        ]


@dataclass(frozen=True, slots=True)
class Ec2(Ec2Api):
    """A simulated EC2 that runs as a child.

    Attributes:
        child: its process.
    """

    child: Child

    def create(
        self, machines: Sequence[Machine], *, experiment: str, project: str = tags.PROJECT_NAME
    ) -> list[str]:
        """See `Ec2Api.create`.

        Raises:
            ChildError: it ended, or refuses the request.
        """
        try:
            return Ec2Api.create(self, machines, experiment=experiment, project=project)
        except (BotoCoreError, ClientError) as error:
            self.child.check()
            raise ChildError(
                f"{self.child.name} made no instances ({error}); {self.child.evidence()}"
            ) from error


@contextmanager
def running_ec2(folder: Path) -> Iterator[Ec2]:
    """Run a simulated EC2 on a free port until the context ends.

    Args:
        folder: where its log goes; exists.

    Raises:
        ChildError: it does not start.
    """
    command = [sys.executable, "-m", "latency_sweep.lab.local.ec2_server"]
    with Child(
        "ec2",
        command,
        folder=folder,
        environment=clean_environment(),
        priority=Priority.PATIENT,
    ) as child:
        child.wait_until(
            lambda: child.output.read_text(encoding="utf-8").endswith("\n"),
            within_sec=_READY_WITHIN_SEC,
            what="listen",
        )
        url = json.loads(child.output.read_text(encoding="utf-8"))["url"]
        yield Ec2(SimulatedEc2(endpoint=url), child)


def _session() -> boto3.Session:
    """A session that neither the environment's profile and certificates nor files change."""
    fixed = {
        "profile": (None, None, None, None),
        "ca_bundle": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    return boto3.Session(botocore_session=botocore.session.Session(session_vars=fixed))


def _images(client: EC2Client) -> dict[str, str]:
    """An image for each architecture."""
    return {i["Architecture"]: i["ImageId"] for i in client.describe_images()["Images"]}


def _create(
    client: EC2Client, image: str, machine: Machine, *, experiment: str, project: str
) -> str:
    values = {
        "Name": f"{project}-{machine.zone}-{machine.instance_type}",
        tags.PROJECT: project,
        tags.EXPERIMENT: experiment,
        tags.MANAGED_BY: "local-stack",
        tags.PROBE_PORT: str(machine.probe_port),
    }
    answer = client.run_instances(
        ImageId=image,
        InstanceType=machine.instance_type,  # type: ignore[arg-type] # moto and AWS judge it
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": machine.zone},
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": [{"Key": key, "Value": value} for key, value in values.items()],
            }
        ],
    )
    return answer["Instances"][0]["InstanceId"]
