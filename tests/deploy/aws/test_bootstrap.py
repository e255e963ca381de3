"""The user data as Terraform renders it, run to its end in a sandbox, twice."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import shlex
import sysconfig
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.aws.places import AWS
from tests.deploy.aws.terraform_module import evaluate

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from tests.deploy.aws.sandbox import Sandbox

SECRETS = "/binance-latency-sweep/test/scrape"
UNIT = AWS / "bootstrap" / "binance-probe.service"
KNOBS = {
    "/proc/sys/net/core/busy_poll": "0",
    "/proc/sys/net/core/busy_read": "0",
    "/proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456",
    "/proc/sys/vm/swappiness": "60",
    "/sys/kernel/mm/transparent_hugepage/defrag": "always [madvise] never",
}


@pytest.fixture(scope="module")
def environment(wheel: Path) -> dict[str, str]:
    return {
        "WHEEL_URI": f"s3://artifacts/releases/{wheel.name}",
        "WHEEL_SHA256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "PIP_INDEX_URL": "",
        "EXPERIMENT_ID": "test",
        "EXPIRES_AT": "2031-01-02 03:04:05 UTC",
        "CLOCK": "auto",
        "SCRAPE_TLS": "true",
        "SECRETS_PATH": SECRETS,
        "METRICS_PORT": "9090",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "LOG_GROUP": "/binance-latency-sweep/test",
        "NODE_EXPORTER_VERSION": "1.9.1",
        "PROMETHEUS_VERSION": "3.13.3",
        "ALERTMANAGER_VERSION": "0.28.1",
    }


@pytest.fixture(scope="module")
def user_data(
    terraform_binary: Path,
    experiment_path: Path,
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    variables = {
        "role": "probe",
        "experiment_yaml": experiment_path.read_text(),
        "bootstrap_environment": environment,
        "files": {
            "/etc/latency-sweep/probe.env": "PROBE_CONFIG=/etc/latency-sweep/experiment.yaml\n"
            "PROBE_REGION=eu-west-1\nPROBE_INSTANCE_FAMILY=network\nPROBE_EXPERIMENT_ID=test\n"
            "PROBE_METRICS_HOST=0.0.0.0\nPROBE_METRICS_PORT=9090\n",
            "/etc/latency-sweep/web.yml": (AWS / "bootstrap/web.yml").read_text(),
            f"/etc/systemd/system/{UNIT.name}.d/10-scheduling.conf": "[Service]\nNice=-10\n",
        },
    }
    outputs = evaluate(
        terraform_binary,
        AWS / "terraform/modules/user_data",
        variables,
        tmp_path_factory.mktemp("user_data"),
    )
    text = gzip.decompress(base64.b64decode(outputs["user_data_base64"])).decode()
    assert text == outputs["cloud_config"]
    return text


@pytest.fixture(scope="module")
def cloud_config(user_data: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(user_data)
    return document


def _release(name: str, binaries: tuple[str, ...]) -> tuple[bytes, str]:
    """An archive as the Prometheus project publishes them, and its line of checksums."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for binary in binaries:
            content = b"#!/bin/sh\nexit 0\n"
            member = tarfile.TarInfo(f"{name}/{binary}")
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    data = buffer.getvalue()
    return data, f"{hashlib.sha256(data).hexdigest()}  {name}.tar.gz\n"


@pytest.fixture(scope="module")
def instance(sandbox: Sandbox, cloud_config: dict[str, Any], wheel: Path) -> Sandbox:
    """A sandbox in which cloud-init has written its files, and EC2 has what is asked of it."""
    for file in cloud_config["write_files"]:
        sandbox.write(file["path"], file["content"], mode=int(file["permissions"], 8))
    for path, value in KNOBS.items():
        sandbox.knob(path, value)
    for name, value in (("adaptive-rx", "on"), ("rx-usecs", "20")):
        sandbox.write(f"/edge/{name}", value + "\n")
    sandbox.write("/edge/generic-receive-offload", "on\n")
    for name in ("server.pem", "server.key", "token"):
        sandbox.write(f"/edge/parameters{SECRETS}/{name}", f"the {name}\n")
    sandbox.write(f"/edge/s3/{wheel.name}", wheel.read_bytes())
    sums = ""
    for platform in ("linux-amd64", "linux-arm64"):
        name = f"node_exporter-1.9.1.{platform}"
        data, line = _release(name, ("node_exporter",))
        sandbox.write(f"/edge/web/{name}.tar.gz", data)
        sums += line
    sandbox.write("/edge/web/sha256sums.txt", sums)
    # The dependencies of this environment stand in for the package index.
    installed = Path(sysconfig.get_paths()["purelib"])
    folder = sandbox.upper / "edge/site"
    folder.mkdir(parents=True)
    for entry in installed.iterdir():
        if "binance_latency_sweep" not in entry.name:
            (folder / entry.name).symlink_to(entry)
    # The interpreter may live in a home folder that other users cannot enter.
    sandbox.run(["chmod", "a+rx", "/root"])
    return sandbox


def bootstrap(instance: Sandbox, cloud_config: dict[str, Any]) -> CompletedProcess[str]:
    (command,) = cloud_config["runcmd"]
    return instance.run(command, PYTHONPATH="/edge/site", PIP_NO_INDEX="1")


@pytest.fixture(scope="module")
def first_run(instance: Sandbox, cloud_config: dict[str, Any]) -> CompletedProcess[str]:
    return bootstrap(instance, cloud_config)


@pytest.fixture(scope="module")
def bootstrapped(instance: Sandbox, first_run: CompletedProcess[str]) -> Sandbox:
    assert first_run.returncode == 0, first_run.stderr
    return instance


def test_user_data_is_smaller_than_ec2_takes(user_data: str) -> None:
    assert user_data.startswith("#cloud-config\n")
    assert len(gzip.compress(user_data.encode())) < 16 * 1024


def test_monitors_user_data_fits_too_and_starts_its_own_script(
    terraform_binary: Path, experiment_path: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    variables = {
        "role": "monitor",
        "experiment_yaml": experiment_path.read_text(),
        "bootstrap_environment": {**environment, "REGIONS": "eu-west-1"},
        "files": {"/etc/latency-sweep/prometheus.env": "RETENTION=30d\n"},
    }
    module = AWS / "terraform/modules/user_data"
    outputs = evaluate(terraform_binary, module, variables, tmp_path)
    assert len(base64.b64decode(outputs["user_data_base64"])) < 16 * 1024
    document = yaml.safe_load(outputs["cloud_config"])
    assert document["runcmd"] == [["/opt/latency-sweep/bootstrap/monitor.sh"]]


def test_bootstrap_runs_to_its_end(first_run: CompletedProcess[str]) -> None:
    assert first_run.returncode == 0, first_run.stderr
    assert first_run.stderr.endswith("probe is up\n")


def test_second_bootstrap_changes_no_file_and_restarts_nothing(
    bootstrapped: Sandbox, cloud_config: dict[str, Any]
) -> None:
    before = bootstrapped.state()
    bootstrapped.forget_calls()
    again = bootstrap(bootstrapped, cloud_config)
    assert again.returncode == 0, again.stderr
    after = bootstrapped.state()
    assert {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)} == set()
    assert not [call for call in bootstrapped.calls() if "restart" in call]


def test_expiry_is_armed_before_anything_can_fail(bootstrapped: Sandbox) -> None:
    drop_in = bootstrapped.upper / "etc/systemd/system/sweep-expire.timer.d/10-when.conf"
    assert "OnCalendar=2031-01-02 03:04:05 UTC" in drop_in.read_text().splitlines()


def test_no_secret_is_readable_by_other_users(bootstrapped: Sandbox) -> None:
    scrape = bootstrapped.upper / "etc/latency-sweep/scrape"
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in scrape.iterdir()} == dict.fromkeys(
        ("server.key", "server.pem", "token"), "0o640"
    )
    assert (scrape / "token").read_text() == "the token\n"


def test_no_secret_is_in_user_data_or_output(
    user_data: str, first_run: CompletedProcess[str]
) -> None:
    assert "the token" not in user_data + first_run.stdout + first_run.stderr
    assert "the server.key" not in user_data + first_run.stdout + first_run.stderr


def test_every_knob_that_exists_is_set_and_reported(bootstrapped: Sandbox) -> None:
    report = bootstrapped.run(["/opt/latency-sweep/bootstrap/tuning.sh", "check"])
    lines = report.stdout.splitlines()
    assert report.returncode == 0, report.stdout
    assert "PASS  sysctl    net.ipv4.tcp_rmem = 4096 1048576 16777216" in lines
    assert "PASS  coalesce  rx-usecs = 0" in lines
    assert "PASS  feature   generic-receive-offload = off" in lines
    assert "SKIP  sysctl    kernel.numa_balancing: this kernel or card has none" in lines


def test_knob_that_was_turned_back_is_reported_as_failed(bootstrapped: Sandbox) -> None:
    knob = bootstrapped.knob("/proc/sys/net/core/busy_poll", "0")
    try:
        report = bootstrapped.run(["/opt/latency-sweep/bootstrap/tuning.sh", "check"])
    finally:
        knob.write_text("50\n")
    assert report.returncode == 1
    assert "FAIL  sysctl    net.core.busy_poll = 0, expected 50" in report.stdout.splitlines()


def test_clock_without_hardware_follows_amazons_ntp_alone(bootstrapped: Sandbox) -> None:
    lines = (bootstrapped.upper / "etc/chrony.conf").read_text().splitlines()
    assert [line for line in lines if line.startswith(("server ", "refclock ", "pool "))] == [
        "server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4"
    ]


def test_hardware_clock_demanded_but_missing_is_an_error(bootstrapped: Sandbox) -> None:
    answer = bootstrapped.run(["/opt/latency-sweep/bootstrap/clock.sh", "phc"])
    assert answer.returncode == 1
    assert "no PTP hardware clock" in answer.stderr


def test_wheel_with_another_checksum_is_refused(bootstrapped: Sandbox, wheel: Path) -> None:
    script = (
        "set -euo pipefail; source /opt/latency-sweep/bootstrap/lib.sh; "
        f"install_wheel s3://artifacts/{wheel.name} {'0' * 64} ''"
    )
    answer = bootstrapped.run(["bash", "-c", script])
    assert answer.returncode == 1
    assert f"not {'0' * 64}" in answer.stderr


def test_release_with_another_checksum_is_refused(bootstrapped: Sandbox) -> None:
    bootstrapped.write("/edge/web/other-1.0.0.linux-amd64.tar.gz", b"not what was published")
    bootstrapped.write("/edge/web/other-1.0.0.linux-arm64.tar.gz", b"not what was published")
    sums = bootstrapped.upper / "edge/web/sha256sums.txt"
    sums.write_text(
        sums.read_text() + f"{'0' * 64}  other-1.0.0.linux-amd64.tar.gz\n"
        f"{'0' * 64}  other-1.0.0.linux-arm64.tar.gz\n"
    )
    script = (
        "set -euo pipefail; source /opt/latency-sweep/bootstrap/lib.sh; "
        "install_release other 1.0.0 other"
    )
    answer = bootstrapped.run(["bash", "-c", script])
    assert answer.returncode == 1
    assert "does not have its published checksum" in answer.stderr


_START = """\
import ctypes, json, os, shlex, subprocess, sys, time, urllib.request, fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:  # this namespace's loopback, up
    fcntl.ioctl(sock, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
command, settings = json.loads(sys.argv[1])
environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/edge/site", "PYTHONDONTWRITEBYTECODE": "1"}
environment |= dict(line.split("=", 1) for line in open(settings).read().splitlines())
def deny_write_and_execute():
    ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # what MemoryDenyWriteExecute= asks of the kernel
probe = subprocess.Popen(command, env=environment, user="binance-probe", group="binance-probe",
                         extra_groups=[], cwd="/", preexec_fn=deny_write_and_execute)
while True:
    if probe.poll() is not None:
        sys.exit(f"the probe ended with {probe.returncode}")
    try:
        status = urllib.request.urlopen("http://127.0.0.1:9090/status", timeout=5).read()
        break
    except OSError:
        time.sleep(0.05)
probe.terminate()
print(json.dumps({"status": json.loads(status), "code": probe.wait(30)}))
"""


def test_units_command_runs_the_probe_as_its_user_with_its_settings(bootstrapped: Sandbox) -> None:
    unit = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line)
    argument = json.dumps([shlex.split(unit["ExecStart"]), unit["EnvironmentFile"]])
    answer = bootstrapped.run(["python3.11", "-c", _START, argument], network=False)
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout.splitlines()[-1])
    assert result["code"] == 0
    info = json.dumps(result["status"])
    assert '"eu-west-1"' in info
    assert '"network"' in info
