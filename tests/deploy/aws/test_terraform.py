"""Rules that the Terraform code keeps, read from its parse tree; no provider needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import hcl2
import pytest
import yaml

from latency_sweep.collector.aws.instance_clocks import ClockTable, clock_table
from latency_sweep.contract import tags, versions
from latency_sweep.probe.net.receiving import Timestamps
from tests.deploy.aws.paths import AWS, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = sorted(ROOT.rglob("*.tf"))
MODULES = sorted({file.parent for file in FILES})
# Services without regions, and the provider's own facts.
GLOBAL = ("aws_iam_", "aws_partition", "aws_caller_identity")


def _clean(node: Any) -> Any:
    """The parse tree without the quotes that the parser keeps and its own marks."""
    if isinstance(node, dict):
        return {
            key.strip('"'): _clean(value) for key, value in node.items() if not key.startswith("__")
        }
    if isinstance(node, list):
        return [_clean(value) for value in node]
    if isinstance(node, str) and len(node) > 1 and node[0] == node[-1] == '"':
        return node[1:-1]
    return node


def _parse(file: Path) -> dict[str, Any]:
    with file.open() as text:
        parsed: dict[str, Any] = _clean(hcl2.load(text))
    return parsed


def _blocks(kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(type, name, body) of every resource or data source."""
    for file in FILES:
        for block in _parse(file).get(kind, []):
            for type_name, named in block.items():
                for name, body in named.items():
                    yield type_name, name, body


def _resources(type_name: str) -> list[dict[str, Any]]:
    found = [body for kind, _, body in _blocks("resource") if kind == type_name]
    assert found, type_name
    return found


def _only(blocks: Any) -> dict[str, Any]:
    """A block that stands once."""
    (block,) = blocks
    assert isinstance(block, dict)
    return block


def _variables(file: Path) -> dict[str, dict[str, Any]]:
    return {name: body for block in _parse(file)["variable"] for name, body in block.items()}


def test_formatting_is_terraforms(terraform_binary: Path) -> None:
    answer = subprocess.run(
        [terraform_binary, "fmt", "-check", "-diff", "-recursive", ROOT],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout


def test_every_regional_resource_names_its_region() -> None:
    for kind in ("resource", "data"):
        for type_name, name, body in _blocks(kind):
            if type_name.startswith("aws_") and not type_name.startswith(GLOBAL):
                assert "region" in body, f"{kind} {type_name}.{name}"


def test_provider_knows_regions_per_resource_and_tags_all() -> None:
    versions = _parse(ROOT / "versions.tf")
    terraform = _only(versions["terraform"])
    assert _only(terraform["required_providers"])["aws"]["version"] == ">= 6.0, < 7.0"
    assert terraform["required_version"] == ">= 1.5"
    (provider,) = versions["provider"]
    assert _only(provider["aws"]["default_tags"])["tags"] == "${local.identity_tags}"


def test_tags_are_those_that_prometheus_looks_for() -> None:
    text = (ROOT / "main.tf").read_text()
    for name in (tags.PROJECT, tags.EXPERIMENT, tags.MANAGED_BY):
        assert re.search(rf"^    {name} += ", text, re.MULTILINE)
    assert f'"{tags.PROJECT_NAME}"' in text


def test_backend_is_s3_and_holds_no_names() -> None:
    terraform = _only(_parse(ROOT / "versions.tf")["terraform"])
    assert terraform["backend"] == [{"s3": {}}]


def test_nothing_lets_the_whole_internet_in() -> None:
    rules = _resources("aws_vpc_security_group_ingress_rule")
    assert {rule["cidr_ipv4"] for rule in rules} == {"${each.value.cidr}"}
    assert not [rule for rule in rules if "cidr_ipv6" in rule]
    for group in _resources("aws_security_group"):
        assert "ingress" not in group
    for file in FILES:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if "0.0.0.0/0" in line and "variables.tf" not in file.name:
                assert re.search(r"(destination_cidr_block|cidr_ipv4) += ", line), (file, number)


def test_metrics_are_open_to_the_monitors_address_alone() -> None:
    local = {k: v for block in _parse(ROOT / "main.tf")["locals"] for k, v in block.items()}
    assert {rule["cidr"] for rule in local["scrape_ingress"].values()} == {"${local.monitor_cidr}"}
    assert "aws_eip.monitor[0].public_ip}/32" in local["monitor_cidr"]


def test_ssh_needs_a_key_and_named_ranges() -> None:
    local = {k: v for block in _parse(ROOT / "main.tf")["locals"] for k, v in block.items()}
    assert local["ssh_ingress"].startswith("${var.ssh_public_key == null ? {}")


def test_default_security_group_is_closed() -> None:
    (group,) = _resources("aws_default_security_group")
    assert not group.keys() & {"ingress", "egress"}


@pytest.mark.parametrize("rule", ["metadata", "disk", "public key", "name"])
def test_instances_are_hardened(rule: str) -> None:
    for instance in _resources("aws_instance"):
        if rule == "metadata":
            options = _only(instance["metadata_options"])
            assert options["http_tokens"] == "required"
            assert options["http_put_response_hop_limit"] == 1
        elif rule == "disk":
            disk = _only(instance["root_block_device"])
            assert (disk["encrypted"], disk["volume_type"]) == (True, "gp3")
            assert disk["delete_on_termination"] is True
        elif rule == "public key":
            assert instance["key_name"] == "${var.key_name}"
        else:
            assert "Name" in instance["tags"]


def test_switching_a_probe_off_ends_it_but_the_monitor_keeps_its_evidence() -> None:
    behaviours = {
        module: _only(
            [
                i["aws_instance"]
                for i in _parse(ROOT / f"modules/{module}/main.tf")["resource"]
                if "aws_instance" in i
            ]
        )["this"]["instance_initiated_shutdown_behavior"]
        for module in ("probe", "monitor")
    }
    assert behaviours == {"probe": "terminate", "monitor": "stop"}


def test_instances_have_two_managed_policies_only() -> None:
    local = {k: v for b in _parse(ROOT / "probe_role.tf")["locals"] for k, v in b.items()}
    assert local["managed_policies"] == [
        "AmazonSSMManagedInstanceCore",
        "CloudWatchAgentServerPolicy",
    ]


def test_every_variable_is_typed_and_described() -> None:
    for module in MODULES:
        for name, body in _variables(module / "variables.tf").items():
            assert body.get("type"), f"{module.name}: {name}"
            assert body.get("description"), f"{module.name}: {name}"


def test_every_variable_a_user_sets_freely_is_validated() -> None:
    booleans_and_names = {"scrape_tls", "cloudwatch_logs", "precision_time_types"}
    unchecked = {n for n, b in _variables(ROOT / "variables.tf").items() if "validation" not in b}
    assert unchecked == booleans_and_names


def test_every_output_is_described_and_none_is_secret() -> None:
    for module in MODULES:
        for block in _parse(module / "outputs.tf")["output"]:
            for name, body in block.items():
                assert body.get("description"), f"{module.name}: {name}"
    assert not any("SecureString" in file.read_text() for file in FILES)
    assert not [kind for kind, _, _ in _blocks("resource") if kind == "aws_ssm_parameter"]


def test_outputs_are_those_the_collector_reads() -> None:
    outputs = {n: b for block in _parse(ROOT / "outputs.tf")["output"] for n, b in block.items()}
    wanted = {"probe_ips", "probes", "dropped", "prometheus_url", "grafana_url"}
    assert wanted <= outputs.keys()


def test_every_source_of_timestamps_has_what_its_unit_needs() -> None:
    text = (ROOT / "main.tf").read_text()
    table = re.search(r"timestamps_drop_in = \{\n(.*?)\n  \}\[var\.timestamps\]", text, re.DOTALL)
    assert table is not None
    files = dict(re.findall(r'(\w+) += "?([\w.-]+)"?', table[1]))
    assert files.keys() == {source.value for source in Timestamps} | {"auto"}
    assert {name for name in files.values() if name != "null"} == {
        path.name for path in (AWS / "bootstrap").glob("timestamps-*.conf")
    }


def test_instances_run_the_versions_of_the_contract() -> None:
    local = {k: v for block in _parse(ROOT / "main.tf")["locals"] for k, v in block.items()}
    (path,) = re.findall(r'yamldecode\(file\("\$\{path\.module\}/(.+)"\)\)', local["versions"])
    assert (ROOT / path).resolve() == versions.FILE.resolve()
    told = {k: v for k, v in local["bootstrap_environment"].items() if k.endswith("_VERSION")}
    names = [re.sub(r".*local\.versions\.(\w+).*", r"\1", value) for value in told.values()]
    assert [f"{name.upper()}_VERSION" for name in names] == list(told)
    assert set(names) <= versions.load().model_dump().keys()


def test_types_with_a_hardware_clock_are_those_that_preflight_shows() -> None:
    local = {k: v for block in _parse(ROOT / "main.tf")["locals"] for k, v in block.items()}
    (path,) = re.findall(r'file\("\$\{path\.module\}/(.+)"\)', local["clock_table"])
    table = ClockTable.model_validate(yaml.safe_load((ROOT / path).read_text()))
    assert table == clock_table()


@pytest.mark.parametrize("example", ["minimal", "full"])
def test_example_sets_only_what_there_is(example: str) -> None:
    with (ROOT / "examples" / example / "terraform.tfvars").open() as text:
        given = {key for key in hcl2.load(text) if not key.startswith("__")}
    assert given <= _variables(ROOT / "variables.tf").keys()
    assert {"experiment_id", "wheel_uri"} <= given


BAD_VALUES: dict[str, list[Any]] = {
    "allowed_cidrs": [["0.0.0.0/0"], ["0.0.0.0/1"], ["::/0"], ["203.0.113.7"]],
    "experiment_id": ["", "has space", "x" * 64],
    "phases": [[], [0], [1.5]],
    "replicas": [0, 11, 1.5],
    "az_ids": [{"eu-west-1": ["eu-west-1a"]}, {"eu-west-1": []}],
    "excluded_candidates": [["c6i.large"], ["eu-west-1/eu-west-1a/c6i.large"]],
    "ttl_hours": [0, 721],
    "wheel_uri": ["binance-latency-sweep", "http://host/a.whl", "s3://bucket/a.tar.gz"],
    "wheel_sha256": ["abc"],
    "pip_index_url": ["https://user:secret@host/simple"],
    "ami_ssm_parameter": ["/aws/service/al2023-x86_64"],
    "root_volume_gib": [7],
    "clock": ["sundial"],
    "timestamps": ["hardware"],
    "metrics_port": [80, 9100],
    "ssh_public_key": ["-----BEGIN OPENSSH PRIVATE KEY-----"],
    "monitor": [{"mode": "existing"}, {"mode": "other"}, {"volume_gib": 1}],
    "scheduling": [{"nice": -21}, {"cpu_affinity": "all"}, {"realtime_priority": 50}],
}


@pytest.mark.parametrize("example", ["minimal", "full"])
def test_variables_accept_the_examples_and_refuse_what_cannot_work(
    terraform_binary: Path, tmp_path: Path, example: str
) -> None:
    """The root's variables alone are a module without provider, so Terraform itself judges them."""
    shutil.copy(ROOT / "variables.tf", tmp_path)
    shutil.copy(ROOT / "examples" / example / "terraform.tfvars", tmp_path)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "CHECKPOINT_DISABLE": "1"}
    experiment = AWS.parents[1] / "experiment.yaml"

    flags = ["-no-color", "-input=false", "-lock=false", f"-var=experiment_file={experiment}"]

    def plan(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [terraform_binary, f"-chdir={tmp_path}", "plan", *flags, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    subprocess.run(
        [terraform_binary, f"-chdir={tmp_path}", "init", "-input=false"],
        env=environment,
        capture_output=True,
        check=True,
        timeout=30,
    )
    accepted = plan()
    assert accepted.returncode == 0, accepted.stderr
    if example == "full":
        return
    for round_number in range(max(len(values) for values in BAD_VALUES.values())):
        bad = {n: v[round_number] for n, v in BAD_VALUES.items() if round_number < len(v)}
        file = tmp_path / "bad.json"
        file.write_text(json.dumps(bad))
        refused = plan(f"-var-file={file}")
        complaints = refused.stderr.count("Error: Invalid value for variable")
        assert complaints >= len(bad), refused.stderr
        for name in bad:
            assert f"var.{name}" in refused.stderr, name
