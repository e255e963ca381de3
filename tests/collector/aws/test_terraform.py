"""With the real Terraform where there is one; its built-in provider needs no plugin."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from latency_sweep.collector.aws.capacity import shortages
from latency_sweep.collector.aws.terraform import (
    ApplyError,
    Diagnostic,
    Terraform,
    TerraformError,
    find_program,
)
from latency_sweep.contract.exit_codes import ExitCode

# As the AWS provider words it; the key is one of the root module's.
_NO_ROOM = "api error InsufficientInstanceCapacity: We currently do not have sufficient capacity"
_ROOT = """
terraform {
  backend "local" {}
}
variable "short_of" { type = string }
resource "terraform_data" "probe" {
  for_each = toset(["eu-west-1/euw1-az1/c6i.large/1", "eu-west-1/euw1-az1/c6in.large/1"])
  provisioner "local-exec" {
    command = <<-EOT
      case "${each.key}" in
        "${var.short_of}"/*) echo "api error InsufficientInstanceCapacity: no room"; exit 1 ;;
      esac
    EOT
  }
}
output "probes" {
  value = [for key in keys(terraform_data.probe) : {
    region        = split("/", key)[0]
    az_id         = split("/", key)[1]
    instance_type = split("/", key)[2]
    instance_id   = terraform_data.probe[key].id
    private_ip    = "10.0.0.1"
    replica       = 1
  }]
}
output "monitor" {
  value = { prometheus_tunnel = "aws ssm start-session", region = "eu-west-1", instance_id = "i-1" }
}
output "prometheus_url" { value = "http://127.0.0.1:9090" }
"""


@pytest.fixture
def terraform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terraform:
    program = next((p for p in ("terraform", "tofu") if shutil.which(p)), None)
    if program is None:
        pytest.skip("neither terraform nor tofu is on PATH")
    monkeypatch.delenv("SWEEP_TERRAFORM", raising=False)
    root, folder = tmp_path / "root", tmp_path / "sweep"
    root.mkdir()
    folder.mkdir()
    (root / "main.tf").write_text(_ROOT)
    made = Terraform(find_program(Path(program)), folder, root=root)
    made.init({"path": str(tmp_path / "terraform.tfstate")})
    return made


def test_apply_outputs_and_destroy(terraform: Terraform) -> None:
    said: list[str] = []
    assert terraform.version() >= (1, 5)
    terraform.apply({"short_of": "none"}, report=said.append)
    outputs = terraform.outputs()
    assert [probe.instance_type for probe in outputs.probes] == ["c6i.large", "c6in.large"]
    assert outputs.monitor is not None
    assert outputs.monitor.prometheus_tunnel == "aws ssm start-session"
    assert outputs.prometheus_url == "http://127.0.0.1:9090"
    assert any("2 added" in line for line in said)
    terraform.destroy(report=said.append)
    assert any("2 destroyed" in line for line in said)


def test_an_error_of_one_resource_tells_which_candidate_it_concerns(terraform: Terraform) -> None:
    with pytest.raises(ApplyError) as caught:
        terraform.apply({"short_of": "eu-west-1/euw1-az1/c6in.large"})
    dropped, nothing_else = shortages(caught.value.diagnostics)
    assert [each.candidate for each in dropped] == ["eu-west-1/euw1-az1/c6in.large"]
    assert nothing_else
    assert caught.value.code is ExitCode.TERRAFORM_FAILED


def test_outputs_before_an_apply_are_refused(terraform: Terraform) -> None:
    with pytest.raises(TerraformError, match="are not those expected"):
        terraform.outputs()


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(TerraformError, match="/no/such: there is no such program"):
        find_program(Path("/no/such"))


def test_without_any_program_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("SWEEP_TERRAFORM", raising=False)
    with pytest.raises(TerraformError, match="Neither terraform nor tofu is on PATH"):
        find_program(None)


def test_a_program_that_is_no_terraform_is_told(tmp_path: Path) -> None:
    with pytest.raises(TerraformError, match="did not print its version"):
        Terraform(Path("/bin/echo"), tmp_path).version()


def test_a_program_that_is_too_old_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "terraform"
    old.write_text('#!/bin/sh\necho \'{"terraform_version": "1.4.9"}\'\n')
    old.chmod(0o755)
    with pytest.raises(TerraformError, match=r"is version 1\.4\.9; 1\.5 or newer is needed"):
        Terraform(old, tmp_path).version()


def _diagnostic(summary: str, key: str = "eu-west-1/euw1-az1/c7gn.medium/1") -> Diagnostic:
    return Diagnostic(summary, "", f'module.probe["{key}"].aws_instance.this')


@pytest.mark.parametrize(
    "words",
    [
        _NO_ROOM,
        "api error Unsupported: Your requested instance type (c7gn.medium) is not supported",
        "api error VcpuLimitExceeded: You have requested more vCPU capacity",
    ],
)
def test_capacity_errors_of_the_provider_are_understood(words: str) -> None:
    dropped, nothing_else = shortages([_diagnostic(f"creating EC2 Instance: {words}")])
    assert nothing_else
    assert dropped[0].candidate == "eu-west-1/euw1-az1/c7gn.medium"
    assert dropped[0].reason == words.removeprefix("api error ")


def test_replicas_of_one_candidate_are_dropped_once() -> None:
    keys = ("eu-west-1/euw1-az1/c6i.large/1", "eu-west-1/euw1-az1/c6i.large/2")
    dropped, _ = shortages([_diagnostic(_NO_ROOM, key) for key in keys])
    assert len(dropped) == 1


@pytest.mark.parametrize(
    "other",
    [
        _diagnostic("api error UnauthorizedOperation: You are not authorized"),
        Diagnostic(_NO_ROOM, "", "module.monitor[0].aws_instance.this"),
    ],
)
def test_anything_else_is_no_reason_to_go_on(other: Diagnostic) -> None:
    dropped, nothing_else = shortages([_diagnostic(_NO_ROOM), other])
    assert len(dropped) == 1
    assert not nothing_else


_SPY = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["SPIED"], "a") as file:
    file.write(json.dumps([sys.argv[2:], {k: v for k, v in os.environ.items() if k[:2] == "TF"}]))
    file.write("\\n")
print(json.dumps({"terraform_version": "1.11.4"}))
"""


def test_what_the_shell_means_for_other_work_does_not_reach_terraform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, spied, folder = tmp_path / "terraform", tmp_path / "spied", tmp_path / "sweep"
    program.write_text(_SPY)
    program.chmod(0o755)
    folder.mkdir()
    monkeypatch.setenv("SPIED", str(spied))
    foreign = (
        "TF_WORKSPACE",
        "TF_CLI_ARGS",
        "TF_CLI_ARGS_apply",
        "TF_CLI_ARGS_destroy",
        "TF_DATA_DIR",
        "TF_VAR_regions",
        "TF_INPUT",
        "TF_REATTACH_PROVIDERS",
        "TF_STATE_PERSIST_INTERVAL",
    )
    for name in foreign:
        monkeypatch.setenv(name, "of the shell")
    needed = {"TF_CLI_CONFIG_FILE": "mirror.tfrc", "TF_TOKEN_registry_example": "t", "TF_LOG": "x"}
    for name, value in needed.items():
        monkeypatch.setenv(name, value)
    terraform = Terraform(program, folder)
    terraform.version()
    terraform.init({})
    terraform.apply({})
    terraform.destroy()
    runs = [json.loads(line) for line in spied.read_text().splitlines()]
    assert [arguments[0] for arguments, _ in runs] == ["version", "init", "apply", "destroy"]
    own = {"TF_DATA_DIR": str(folder / ".terraform"), "TF_IN_AUTOMATION": "1"}
    assert all(environment == {**needed, **own} for _, environment in runs)
