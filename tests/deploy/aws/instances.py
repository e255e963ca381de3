"""What an instance finds when it starts: cloud-init's files, and AWS and the web at the edge."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import sysconfig
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.contract import versions
from tests.deploy.aws.paths import AWS
from tests.deploy.aws.terraform_module import evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from subprocess import CompletedProcess

    from tests.deploy.aws.sandbox import Sandbox

VERSIONS = versions.load()


# Path of the parameters that hold the secrets.
SECRETS: Final = "/binance-latency-sweep/test/scrape"


def settings(wheel: Path) -> dict[str, str]:
    """What both roles are told, as Terraform would."""
    return {
        "WHEEL_URI": f"s3://artifacts/releases/{wheel.name}",
        "WHEEL_SHA256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "PIP_INDEX_URL": "",
        "EXPERIMENT_ID": "test",
        "EXPIRES_AT": "2031-01-02 03:04:05 UTC",
        "SCRAPE_TLS": "true",
        "SECRETS_PATH": SECRETS,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "LOG_GROUP": "/binance-latency-sweep/test",
        "NODE_EXPORTER_VERSION": VERSIONS.node_exporter,
        "PROMETHEUS_VERSION": VERSIONS.prometheus,
        "ALERTMANAGER_VERSION": VERSIONS.alertmanager,
        "GRAFANA_VERSION": VERSIONS.grafana,
    }


def user_data(
    terraform: Path,
    scratch: Path,
    *,
    role: str,
    experiment: Path,
    environment: Mapping[str, str],
    files: Mapping[str, str],
) -> str:
    """The cloud-init document as Terraform renders it, unpacked from what EC2 gets."""
    variables = {
        "role": role,
        "experiment_yaml": experiment.read_text(),
        "bootstrap_environment": dict(environment),
        "files": dict(files),
    }
    outputs = evaluate(terraform, AWS / "terraform/modules/user_data", variables, scratch)
    text = gzip.decompress(base64.b64decode(outputs["user_data_base64"])).decode()
    assert text == outputs["cloud_config"]
    return text


def prepare(
    sandbox: Sandbox, cloud_config: dict[str, Any], wheel: Path, parameters: Mapping[str, str]
) -> None:
    """Write what cloud-init writes, and give the edge a wheel and SSM parameters."""
    for file in cloud_config["write_files"]:
        sandbox.write(file["path"], file["content"], mode=int(file["permissions"], 8))
    for name, value in parameters.items():
        sandbox.write(f"/edge/parameters{name}", value)
    sandbox.write(f"/edge/s3/{wheel.name}", wheel.read_bytes())
    # The dependencies of this environment stand in for the package index.
    installed = Path(sysconfig.get_paths()["purelib"])
    folder = sandbox.upper / "edge/site"
    folder.mkdir(parents=True)
    for entry in installed.iterdir():
        if "binance_latency_sweep" not in entry.name:
            (folder / entry.name).symlink_to(entry)
    # The interpreter may live in a home folder that other users cannot enter.
    sandbox.run(["chmod", "a+rx", "/root"])


def publish(sandbox: Sandbox, releases: Mapping[str, Mapping[str, str]]) -> None:
    """Archives as the Prometheus project publishes them, and their checksums, for both processors.

    Args:
        sandbox: in which they can be downloaded.
        releases: by name and version, the shell command that each binary is.
    """
    sums = ""
    for release, binaries in releases.items():
        for platform in ("linux-amd64", "linux-arm64"):
            name = f"{release}.{platform}"
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
                for binary, command in binaries.items():
                    content = f"#!/bin/sh\n{command}\n".encode()
                    member = tarfile.TarInfo(f"{name}/{binary}")
                    member.size, member.mode = len(content), 0o755
                    tar.addfile(member, io.BytesIO(content))
            data = buffer.getvalue()
            sandbox.write(f"/edge/web/{name}.tar.gz", data)
            sums += f"{hashlib.sha256(data).hexdigest()}  {name}.tar.gz\n"
    sandbox.write("/edge/web/sha256sums.txt", sums)


def bootstrap(instance: Sandbox, cloud_config: dict[str, Any]) -> CompletedProcess[str]:
    """Run the command of the user data."""
    (command,) = cloud_config["runcmd"]
    return instance.run(command, PYTHONPATH="/edge/site", PIP_NO_INDEX="1")


def check_that_a_second_run_changes_nothing(
    bootstrapped: Sandbox, cloud_config: dict[str, Any]
) -> None:
    """Run the user data once more: no file differs afterwards, and no service was restarted."""
    before = bootstrapped.state()
    bootstrapped.forget_calls()
    again = bootstrap(bootstrapped, cloud_config)
    assert again.returncode == 0, again.stderr
    after = bootstrapped.state()
    assert {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)} == set()
    assert not [call for call in bootstrapped.calls() if "restart" in call]
