"""`sweep deploy` and `sweep destroy` with the real Terraform and AWS provider, against moto.

The monitor's own Prometheus configuration then discovers what was made. It scrapes nothing: its
scrapes go to a proxy that is not there, because the addresses of simulated instances are invented.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml

from latency_sweep.collector.aws.terraform import ROOT
from latency_sweep.contract import experiment as experiments
from latency_sweep.contract.metrics import JOB
from latency_sweep.deploy.aws import monitor
from latency_sweep.lab.local.prometheus_process import running_with
from latency_sweep.prometheus.configuration import PrometheusSettings
from latency_sweep.runtime.child import Child
from latency_sweep.runtime.loopback import get_json
from tests.collector.conftest import BUCKET, HERE, account_regions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from tests.collector.conftest import SimulatedAws, SweepCommand

pytestmark = [pytest.mark.terraform, pytest.mark.timeout(1500)]

WHEEL = "binance-latency-sweep==0.1.0"
OPERATOR = ROOT.parent / "iam" / "operator.json"


@pytest.fixture(scope="session")
def aws_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Moto with Amazon's images and managed policies, which the provider looks up."""
    folder = tmp_path_factory.mktemp("aws")
    command = [sys.executable, str(HERE / "aws_server.py"), "--all-images"]
    policies = {**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    with Child("aws", command, folder=folder, environment=policies) as child:
        child.wait_until(
            lambda: child.output.read_text().endswith("\n"), within_sec=60, what="listen"
        )
        yield json.loads(child.output.read_text())["url"]


@pytest.fixture
def experiment_file(tmp_path: Path) -> Path:
    """The shipped experiment, all regions and types, with an exchange on this machine."""
    document = yaml.safe_load(experiments.default_path().read_text())
    # Nothing listens there, which is told and harmless.
    document["market_data"] |= {"endpoint": "ws://127.0.0.1:9", "time_endpoint": None}
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def terraform(terraform_program: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the program on the root module; the answer is its standard output."""
    monkeypatch.setenv("SWEEP_TERRAFORM", str(terraform_program))

    def run(*arguments: str, data: Path, codes: tuple[int, ...] = (0,)) -> str:
        answer = subprocess.run(
            [terraform_program, f"-chdir={ROOT}", *arguments, "-no-color"],
            env={**os.environ, "TF_DATA_DIR": str(data), "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert answer.returncode in codes, answer.stdout + answer.stderr
        return answer.stdout

    return run


@pytest.fixture
def discover(
    aws: SimulatedAws, prometheus_binaries: Binaries, tmp_path: Path
) -> Callable[[str, tuple[str, ...]], list[dict[str, str]]]:
    """Labels of the probes that a real Prometheus with the monitor's configuration finds."""

    def find(experiment: str, regions: tuple[str, ...]) -> list[dict[str, str]]:
        version = prometheus_binaries.version
        document = monitor.configuration(
            PrometheusSettings(
                version=version,
                experiment=experiment,
                regions=regions,
                scrape_interval_sec=15,
                rule_files=(),
            )
        )
        del document["alerting"]
        simulated = {"endpoint": aws.url, "access_key": "simulated", "secret_key": "simulated"}
        for job in document["scrape_configs"]:
            job["proxy_url"] = "http://127.0.0.1:9"  # nothing listens there
            job["ec2_sd_configs"] = [each | simulated for each in job["ec2_sd_configs"]]
        with running_with(yaml.safe_dump(document), prometheus_binaries, tmp_path) as prometheus:
            url = f"{prometheus.url}/api/v1/targets"

            def targets() -> list[dict[str, str]]:
                active = get_json(url, state="active")["data"]["activeTargets"]
                return [
                    each["labels"] | {"address": each["discoveredLabels"]["__meta_ec2_public_ip"]}
                    for each in active
                    if each["labels"]["job"] == JOB
                ]

            # Every region is asked at once, but each answers when it does.
            expected = len(aws.instances(experiment, *regions)) - 1
            prometheus.child.wait_until(
                lambda: len(targets()) >= expected, within_sec=60, what="find the probes"
            )
            return targets()

    return find


def test_configuration_is_valid(terraform: Callable[..., str], tmp_path: Path) -> None:
    terraform("init", "-backend=false", data=tmp_path)
    assert "The configuration is valid" in terraform("validate", data=tmp_path)


@pytest.mark.parametrize("example", ["minimal", "full"])
def test_example_can_be_planned(
    example: str, aws: SimulatedAws, terraform: Callable[..., str], tmp_path: Path
) -> None:
    backend = {"bucket": BUCKET, "key": example, "region": "us-east-1"}
    settings = [f"-backend-config={name}={value}" for name, value in backend.items()]
    terraform("init", "-input=false", *settings, data=tmp_path)
    values = ROOT / "examples" / example / "terraform.tfvars"
    planned = terraform("plan", "-input=false", f"-var-file={values}", data=tmp_path)
    assert "0 to change, 0 to destroy" in planned


@pytest.mark.parametrize("phase", [1, 2])
def test_prometheus_finds_what_terraform_made_and_destroy_leaves_nothing(
    phase: int,
    aws: SimulatedAws,
    terraform: Callable[..., str],
    discover: Callable[[str, tuple[str, ...]], list[dict[str, str]]],
    sweep: SweepCommand,
    experiment_file: Path,
    experiment_id: str,
) -> None:
    aws.faults(*account_regions(*experiments.load(experiment_file).regions))
    deployed = sweep(
        *("deploy", "--experiment-id", experiment_id, "--config", experiment_file),
        *("--phase", str(phase), "--bucket", BUCKET, "--wheel", WHEEL),
        # moto knows types of a fourth zone there, but not the zone.
        *("--az-ids", "eu-west-2=euw2-az1"),
    )
    assert deployed.code == 0, deployed.err + deployed.out
    folder = sweep.sweeps.absolute() / experiment_id
    state = sweep.state(experiment_id)
    regions = tuple(state["plan"]["regions"])
    assert {probe["region"] for probe in state["probes"]} == set(regions)
    outputs = json.loads(terraform("output", "-json", data=folder / ".terraform"))

    types = experiments.load(experiment_file).instance_types
    found = discover(experiment_id, regions)
    assert sorted(
        (each["region"], each["az_id"], each["instance_type"], each["instance"]) for each in found
    ) == sorted(
        (each["region"], each["az_id"], each["instance_type"], each["instance_id"])
        for each in state["probes"]
    )
    for each in found:
        described = types[each["instance_type"]]
        assert each["experiment"] == experiment_id
        assert each["architecture"] == described.architecture
        assert outputs["probe_ips"]["value"][each["region"]][described.family] == each["address"]

    variables = f"-var-file={folder / 'terraform.tfvars.json'}"
    data = folder / ".terraform"
    terraform("plan", "-input=false", f"-out={folder / 'again'}", variables, data=data)
    again = json.loads(terraform("show", "-json", str(folder / "again"), data=data))
    assert _changes(again) <= {"vpc_security_group_ids"}

    destroyed = sweep("destroy", "--experiment-id", experiment_id)
    assert destroyed.code == 0, destroyed.err + destroyed.out
    assert f"Nothing tagged {experiment_id} is left" in destroyed.out
    assert aws.instances(experiment_id, *regions) == []
    asked = aws.calls()
    assert _remains(aws, regions) == []
    assert _not_allowed(asked) == []


def _not_allowed(calls: list[str]) -> list[str]:
    """Calls that the operator's policy does not name; S3's are told apart by path, not by name."""
    statements = json.loads(OPERATOR.read_text())["Statement"]
    actions = [
        a
        for s in statements
        for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])
    ]
    known = [call.replace("tagging:", "tag:") for call in calls if not call.startswith("s3:")]
    return [call for call in known if not any(fnmatchcase(call, action) for action in actions)]


def _changes(plan: dict[str, Any]) -> set[str]:
    """What a plan would change; moto forgets the groups of instances that get a public address."""
    changed: set[str] = set()
    for resource in plan["resource_changes"]:
        change = resource["change"]
        if change["actions"] != ["no-op"]:
            assert change["actions"] == ["update"], resource["address"]
            before, after = change["before"], change["after"]
            changed |= {name for name in after if before[name] != after[name]}
    return changed


def _remains(aws: SimulatedAws, regions: tuple[str, ...]) -> list[str]:
    """What has no tags that `sweep destroy` could ask for, or belongs to no region."""
    iam = boto3.client("iam")
    path = "/binance-latency-sweep/"
    left = [role["Arn"] for role in iam.list_roles(PathPrefix=path)["Roles"]]
    profiles = iam.list_instance_profiles(PathPrefix=path)["InstanceProfiles"]
    left += [profile["Arn"] for profile in profiles]
    for region in regions:
        ec2 = aws.ec2(region)
        vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])["Vpcs"]
        left += [vpc["VpcId"] for vpc in vpcs]
        left += [each["AllocationId"] for each in ec2.describe_addresses()["Addresses"]]
        groups = boto3.client("logs", region_name=region).describe_log_groups()["logGroups"]
        left += [group["logGroupName"] for group in groups]
    return left
