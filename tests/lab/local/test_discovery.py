"""A real Prometheus finds instances in a simulated EC2 and labels them."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.contract.metrics import TARGET_LABELS
from latency_sweep.lab.local.ec2 import Ec2, Machine, running_ec2
from latency_sweep.lab.local.prometheus_process import running_prometheus
from latency_sweep.prometheus.configuration import PrometheusSettings
from latency_sweep.runtime.child import ChildError
from latency_sweep.runtime.loopback import get_json
from tests.waiting import says_yes, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latency_sweep.lab.binaries.prometheus_binary import Binaries

EXPERIMENT = "discovery-test"
SITES = (
    ("ap-northeast-1", "ap-northeast-1a", "c6in.large", "x86_64"),
    ("ap-northeast-1", "ap-northeast-1c", "c7gn.medium", "arm64"),
    ("ap-southeast-1", "ap-southeast-1a", "c6i.large", "x86_64"),
    ("eu-central-1", "eu-central-1b", "c7gn.medium", "arm64"),
)
REGIONS = tuple(dict.fromkeys(site[0] for site in SITES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("discovery")


@pytest.fixture(scope="module")
def ec2(folder: Path) -> Iterator[Ec2]:
    with running_ec2(folder) as ec2:
        yield ec2


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that is taken but answers nobody."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def instances(ec2: Ec2, closed_port: int) -> list[str]:
    """The instances of SITES, among others that must not be found."""
    found = ec2.create([Machine(*site, closed_port) for site in SITES], experiment=EXPERIMENT)
    other = [Machine(*SITES[0], closed_port)]
    ec2.create(other, experiment="another-experiment")
    ec2.create(other, experiment=EXPERIMENT, project="another-project")
    client = ec2.client(SITES[0][0])
    client.terminate_instances(InstanceIds=ec2.create(other, experiment=EXPERIMENT))
    client.delete_tags(
        Resources=ec2.create(other, experiment=EXPERIMENT), Tags=[{"Key": "ProbePort"}]
    )
    return found


@pytest.fixture(scope="module")
def targets(
    ec2: Ec2, instances: list[str], prometheus_binaries: Binaries, folder: Path
) -> dict[str, dict[str, Any]]:
    """The active targets of a real Prometheus by instance id."""
    settings = PrometheusSettings(
        version=prometheus_binaries.version,
        experiment=EXPERIMENT,
        regions=REGIONS,
        scrape_interval_sec=1,
        refresh_interval_sec=1,
        simulated_ec2=ec2.access,
    )
    answer: dict[str, Any] = {}
    with running_prometheus(prometheus_binaries, settings, folder) as prometheus:

        def all_are_found() -> bool:
            answer.update(get_json(f"{prometheus.url}/api/v1/targets")["data"])
            # The dropped one shows that discovery has seen more than it kept.
            return len(answer["activeTargets"]) >= len(instances) and bool(answer["droppedTargets"])

        wait_until("all instances discovered", lambda: says_yes(all_are_found))
    return {target["labels"]["instance"]: target for target in answer["activeTargets"]}


def test_exactly_the_running_tagged_instances_of_all_regions_are_found(
    targets: dict[str, dict[str, Any]], instances: list[str]
) -> None:
    assert sorted(targets) == sorted(instances)


def test_every_target_is_on_this_machine_at_the_tagged_port(
    targets: dict[str, dict[str, Any]], closed_port: int
) -> None:
    urls = {target["scrapeUrl"] for target in targets.values()}
    assert urls == {f"http://127.0.0.1:{closed_port}/metrics"}


def test_a_target_bears_the_labels_of_the_contract_and_no_others(
    targets: dict[str, dict[str, Any]],
) -> None:
    for target in targets.values():
        assert target["labels"].keys() == {"job", *TARGET_LABELS}


def test_the_labels_tell_site_and_experiment(
    targets: dict[str, dict[str, Any]], instances: list[str]
) -> None:
    seen = [
        tuple(
            targets[instance]["labels"][name]
            for name in ("region", "instance_type", "architecture")
        )
        for instance in instances
    ]
    assert seen == [(region, kind, architecture) for region, _, kind, architecture in SITES]
    assert {target["labels"]["experiment"] for target in targets.values()} == {EXPERIMENT}


def test_the_zone_label_is_the_zone_id_that_means_the_same_in_every_account(
    targets: dict[str, dict[str, Any]], instances: list[str], ec2: Ec2
) -> None:
    for instance, (region, zone, *_) in zip(instances, SITES, strict=True):
        answer = ec2.client(region).describe_availability_zones(ZoneNames=[zone])
        assert targets[instance]["labels"]["az_id"] == answer["AvailabilityZones"][0]["ZoneId"]


def test_a_simulated_ec2_that_dies_before_it_has_instances_is_told_as_such(tmp_path: Path) -> None:
    with running_ec2(tmp_path) as ec2:
        os.kill(ec2.child.pid, signal.SIGKILL)
        ec2.child.wait(within_sec=30)
        with pytest.raises(ChildError, match=r"^ec2 was killed by signal 9; its log "):
            ec2.create([Machine(*SITES[0], 1)], experiment=EXPERIMENT)
