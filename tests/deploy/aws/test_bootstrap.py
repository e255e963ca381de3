"""The user data as Terraform renders it, run to its end in a sandbox, twice."""

from __future__ import annotations

import gzip
import json
import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.aws import instances
from tests.deploy.aws.instances import SECRETS
from tests.deploy.aws.paths import AWS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.deploy.aws.sandbox import Sandbox

# Making a virtual environment takes a while on a busy machine.
pytestmark = pytest.mark.timeout(240)

PROBE_SH = "/opt/latency-sweep/bootstrap/probe.sh"
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
        **instances.settings(wheel),
        "CLOCK": "auto",
        "TIMESTAMPS": "auto",
        "HAS_PHC": "false",
        "METRICS_PORT": "9090",
    }


@pytest.fixture(scope="module")
def user_data(
    terraform_binary: Path,
    experiment_path: Path,
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    return instances.user_data(
        terraform_binary,
        tmp_path_factory.mktemp("user_data"),
        role="probe",
        experiment=experiment_path,
        environment=environment,
        files={
            "/etc/latency-sweep/probe.env": "PROBE_CONFIG=/etc/latency-sweep/experiment.yaml\n"
            "PROBE_REGION=eu-west-1\nPROBE_INSTANCE_FAMILY=network\nPROBE_EXPERIMENT_ID=test\n"
            "PROBE_METRICS_HOST=0.0.0.0\nPROBE_METRICS_PORT=9090\n"
            "PROBE_WEB_CONFIG_FILE=/etc/latency-sweep/web.yml\n"
            "PROBE_BEARER_TOKEN_FILE=/etc/latency-sweep/scrape/token\n",
            "/etc/latency-sweep/web.yml": (AWS / "bootstrap/web.yml").read_text(),
            f"/etc/systemd/system/{UNIT.name}.d/10-scheduling.conf": "[Service]\nNice=-10\n",
        },
    )


@pytest.fixture(scope="module")
def instance(
    sandbox: Sandbox, cloud_config: dict[str, Any], wheel: Path, secrets: dict[str, str]
) -> Sandbox:
    """A sandbox in which cloud-init has written its files, and EC2 has what is asked of it."""
    instances.prepare(
        sandbox, cloud_config, wheel, {f"{SECRETS}/{n}": v for n, v in secrets.items()}
    )
    for path, value in KNOBS.items():
        sandbox.knob(path, value)
    for name, value in (("adaptive-rx", "on"), ("rx-usecs", "20")):
        sandbox.write(f"/edge/{name}", value + "\n")
    sandbox.write("/edge/generic-receive-offload", "on\n")
    release = f"node_exporter-{instances.VERSIONS.node_exporter}"
    instances.publish(sandbox, {release: {"node_exporter": "exit 0"}})
    return sandbox


def test_user_data_is_smaller_than_ec2_takes(user_data: str) -> None:
    assert user_data.startswith("#cloud-config\n")
    assert len(gzip.compress(user_data.encode())) < 16 * 1024


def test_bootstrap_runs_to_its_end(first_run: CompletedProcess[str]) -> None:
    assert first_run.returncode == 0, first_run.stderr
    assert first_run.stderr.endswith("probe is up\n")


def test_second_bootstrap_changes_no_file_and_restarts_nothing(
    bootstrapped: Sandbox, cloud_config: dict[str, Any]
) -> None:
    instances.check_that_a_second_run_changes_nothing(bootstrapped, cloud_config)


def test_expiry_is_armed_before_anything_can_fail(bootstrapped: Sandbox) -> None:
    drop_in = bootstrapped.upper / "etc/systemd/system/sweep-expire.timer.d/10-when.conf"
    assert "OnCalendar=2031-01-02 03:04:05 UTC" in drop_in.read_text().splitlines()


def test_no_secret_is_readable_by_other_users(
    bootstrapped: Sandbox, secrets: dict[str, str]
) -> None:
    scrape = bootstrapped.upper / "etc/latency-sweep/scrape"
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in scrape.iterdir()} == dict.fromkeys(
        ("server.key", "server.pem", "token"), "0o640"
    )
    assert (scrape / "token").read_text().strip() == secrets["token"]


def test_no_secret_is_in_user_data_or_output(
    user_data: str, first_run: CompletedProcess[str], secrets: dict[str, str]
) -> None:
    seen = user_data + first_run.stdout + first_run.stderr
    assert secrets["token"] not in seen
    assert "PRIVATE KEY" not in seen


def test_every_knob_that_exists_is_set_and_reported(bootstrapped: Sandbox) -> None:
    report = bootstrapped.run(["/opt/latency-sweep/bootstrap/tuning.sh", "check"])
    lines = report.stdout.splitlines()
    assert report.returncode == 0, report.stdout
    assert "PASS  sysctl    net.ipv4.tcp_rmem = 4096 1048576 16777216" in lines
    assert "PASS  coalesce  rx-usecs = 0" in lines
    assert "PASS  feature   generic-receive-offload = off" in lines
    assert (
        "SKIP  sysctl    kernel.numa_balancing: not supported by this kernel or network card"
        in lines
    )


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


@contextmanager
def settings_changed(instance: Sandbox, **changes: str) -> Iterator[None]:
    """Other settings of the bootstrap, and no earlier calls."""
    file = instance.upper / "etc/latency-sweep/bootstrap.env"
    before = file.read_text()
    file.write_text(before + "".join(f"{name}='{value}'\n" for name, value in changes.items()))
    instance.forget_calls()
    try:
        yield
    finally:
        file.write_text(before)


def enable_phc(instance: Sandbox) -> CompletedProcess[str]:
    return instance.run(["/opt/latency-sweep/bootstrap/phc.sh"], ROUTE_PAUSE_SEC="0")


def reloads(instance: Sandbox) -> list[str]:
    """What was asked of the driver and of the route, in order."""
    return [c.strip() for c in instance.calls() if c.startswith(("modprobe", "devlink", "ip "))]


ROUTE = "ip -4 -oneline route show default"
DEVICE = "pci/0000:00:05.0"


@pytest.fixture
def old_kernel(bootstrapped: Sandbox) -> Iterator[Sandbox]:
    """The PHC is an option of the driver; two questions for the route find none after a reload."""
    option = bootstrapped.knob("/sys/module/ena/parameters/phc_enable", "0")
    bootstrapped.write("/edge/route-lost", "1\n2\n")
    yield bootstrapped
    option.unlink()


@pytest.fixture
def new_kernel(bootstrapped: Sandbox) -> Iterator[Sandbox]:
    """The PHC is a parameter of the device."""
    bootstrapped.write("/edge/route-lost", "1\n2\n")
    sysfs = bootstrapped.folder / "sysfs"
    card = sysfs / "devices/pci0000:00/0000:00:05.0"
    card.mkdir(parents=True)
    link = sysfs / "class/net/ens5"
    link.mkdir(parents=True)
    (link / "device").symlink_to("../../../devices/pci0000:00/0000:00:05.0")
    yield bootstrapped
    (link / "device").unlink()
    link.rmdir()
    card.rmdir()


@pytest.mark.parametrize(
    "settings",
    [
        {"HAS_PHC": "false", "CLOCK": "auto"},
        {"HAS_PHC": "false", "CLOCK": "phc", "TIMESTAMPS": "nic"},
        {"HAS_PHC": "true", "CLOCK": "ntp"},
    ],
)
def test_the_driver_is_not_reloaded_where_there_is_no_clock_or_nobody_reads_it(
    old_kernel: Sandbox, settings: dict[str, str]
) -> None:
    with settings_changed(old_kernel, **settings):
        assert enable_phc(old_kernel).returncode == 0
        assert reloads(old_kernel) == []


@pytest.mark.parametrize(
    "settings",
    [{"CLOCK": "auto"}, {"CLOCK": "phc"}, {"CLOCK": "ntp", "TIMESTAMPS": "nic"}],
)
def test_an_old_kernel_s_driver_is_reloaded_once_and_the_route_waited_for(
    old_kernel: Sandbox, settings: dict[str, str]
) -> None:
    with settings_changed(old_kernel, HAS_PHC="true", **settings):
        answer = enable_phc(old_kernel)
        assert answer.returncode == 0, answer.stderr
        driver = ["modprobe --remove ena", "modprobe ena phc_enable=1"]
        assert reloads(old_kernel) == [*driver, ROUTE, ROUTE, ROUTE]


def test_a_driver_that_does_not_take_the_option_is_loaded_without(old_kernel: Sandbox) -> None:
    old_kernel.write("/edge/modprobe-fails", "")
    try:
        with settings_changed(old_kernel, HAS_PHC="true"):
            assert enable_phc(old_kernel).returncode == 0
            assert reloads(old_kernel)[2] == "modprobe ena"
    finally:
        (old_kernel.upper / "edge/modprobe-fails").unlink()


def test_a_new_kernel_s_device_is_told_by_devlink(new_kernel: Sandbox) -> None:
    with settings_changed(new_kernel, HAS_PHC="true"):
        answer = enable_phc(new_kernel)
        assert answer.returncode == 0, answer.stderr
        assert reloads(new_kernel) == [
            ROUTE,
            f"devlink dev param set {DEVICE} name enable_phc value true cmode driverinit",
            f"devlink dev reload {DEVICE}",
            *[ROUTE] * 3,
        ]


def test_a_device_that_refuses_the_clock_is_not_reloaded(new_kernel: Sandbox) -> None:
    new_kernel.write("/edge/no-phc", "")
    try:
        with settings_changed(new_kernel, HAS_PHC="true"):
            answer = enable_phc(new_kernel)
            assert answer.returncode == 0
            assert "has no PTP hardware clock" in answer.stderr
            assert not [call for call in reloads(new_kernel) if "reload" in call]
    finally:
        (new_kernel.upper / "edge/no-phc").unlink()


def test_no_route_after_the_reload_ends_the_bootstrap_with_what_to_do(old_kernel: Sandbox) -> None:
    old_kernel.write("/edge/route-lost", "no route\n" * 100)
    with settings_changed(old_kernel, HAS_PHC="true"):
        answer = enable_phc(old_kernel)
        assert answer.returncode == 1
        assert 'set clock = "ntp"' in answer.stderr
        # The network's manager is asked once to take up the interface again.
        assert "systemctl restart systemd-networkd.service" in old_kernel.calls()


def test_the_clock_is_there_before_anything_is_tuned() -> None:
    """The settings of the card are lost when its driver is reloaded."""
    main = (AWS / "bootstrap/probe.sh").read_text().partition("\nmain() {")[2]
    steps = [main.index(step) for step in ("phc.sh", "clock.sh", "\n  tune\n")]
    assert steps == sorted(steps)
    tuning = (AWS / "bootstrap/sweep-tuning.service").read_text()
    assert tuning.index("phc.sh") < tuning.index("tuning.sh")
    assert "Before=chronyd.service" in tuning


@pytest.mark.parametrize(("timestamps", "readable"), [("nic", True), ("capture", False)])
def test_the_card_s_clock_is_readable_for_the_probe_where_it_reads_it(
    old_kernel: Sandbox, timestamps: str, *, readable: bool
) -> None:
    with settings_changed(old_kernel, HAS_PHC="true", TIMESTAMPS=timestamps):
        assert enable_phc(old_kernel).returncode == 0
    rule = (old_kernel.upper / "etc/udev/rules.d/53-ptp-ena.rules").read_text()
    assert 'SYMLINK += "ptp_ena"' in rule
    assert ('GROUP="binance-probe", MODE="0640"' in rule) == readable


def test_agents_run_when_nothing_else_wants_the_core(bootstrapped: Sandbox) -> None:
    units = bootstrapped.upper / "etc/systemd/system"
    for name in (
        "amazon-ssm-agent.service.d/10-below-the-probe.conf",
        "amazon-cloudwatch-agent.service.d/10-below-the-probe.conf",
        "node-exporter.service",
        "sweep-journal.service",
    ):
        assert "CPUSchedulingPolicy=idle" in (units / name).read_text().splitlines(), name


def test_a_kernel_without_real_time_for_services_still_starts_the_probe(
    bootstrapped: Sandbox,
) -> None:
    drop_in = bootstrapped.upper / f"etc/systemd/system/{UNIT.name}.d/90-no-real-time.conf"
    bootstrapped.write("/edge/bin/chrt", "#!/bin/sh\nexit 1\n", mode=0o755)
    script = f"sed '/^main$/d' {PROBE_SH} >/tmp/functions.sh; . /tmp/functions.sh; check_real_time"
    try:
        refused = bootstrapped.run(["bash", "-c", script])
        assert "this kernel refuses real-time" in refused.stderr
        lines = drop_in.read_text().splitlines()
        assert {"CPUSchedulingPolicy=other", "Nice=-20", "CPUWeight=10000"} <= set(lines)
        bootstrapped.write("/edge/bin/chrt", "#!/bin/sh\nexit 0\n", mode=0o755)
        bootstrapped.run(["bash", "-c", script])
        assert not drop_in.exists()
    finally:
        (bootstrapped.upper / "edge/bin/chrt").unlink()


def test_hardware_clock_demanded_but_missing_is_an_error(bootstrapped: Sandbox) -> None:
    answer = bootstrapped.run(["/opt/latency-sweep/bootstrap/clock.sh", "phc"])
    assert answer.returncode == 1
    assert "no PTP hardware clock" in answer.stderr


def test_wheel_with_another_checksum_is_refused(bootstrapped: Sandbox, wheel: Path) -> None:
    script = (
        "set -euo pipefail; source /opt/latency-sweep/bootstrap/lib.sh; "
        f"install_wheel probe s3://artifacts/{wheel.name} {'0' * 64} ''"
    )
    answer = bootstrapped.run(["bash", "-c", script])
    assert answer.returncode == 1
    assert f"expected {'0' * 64}" in answer.stderr


def test_wheel_from_a_package_index_is_verified_and_installed(
    bootstrapped: Sandbox, wheel: Path, environment: dict[str, str]
) -> None:
    requirement = f"binance-latency-sweep=={wheel.name.split('-')[1]}"
    for sha256, code in (("0" * 64, 1), (environment["WHEEL_SHA256"], 0)):
        script = (
            "set -euo pipefail; source /opt/latency-sweep/bootstrap/lib.sh; "
            f"install_wheel probe {requirement} {sha256} ''"
        )
        answer = bootstrapped.run(
            ["bash", "-c", script],
            PYTHONPATH="/edge/site",
            PIP_NO_INDEX="1",
            PIP_FIND_LINKS="/edge/s3",
        )
        assert answer.returncode == code, answer.stderr
    assert answer.stderr.endswith(f"installed {requirement}\n")


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


def test_probe_starts_after_the_clock_is_right_but_not_only_then() -> None:
    lines = UNIT.read_text().splitlines()
    unit = {name: value.split() for name, _, value in (line.partition("=") for line in lines)}
    waits = {"chrony-wait.service", "time-sync.target"}
    assert waits <= set(unit["After"])
    assert waits <= set(unit["Wants"])
    assert not waits & set(unit.get("Requires", []))


_START = """\
import ctypes, json, os, shlex, ssl, subprocess, sys, time, urllib.error, urllib.request
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:  # this namespace's loopback, up
    fcntl.ioctl(sock, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
command, settings, ca, token = json.loads(sys.argv[1])
environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/edge/site", "PYTHONDONTWRITEBYTECODE": "1"}
environment |= dict(line.split("=", 1) for line in open(settings).read().splitlines())
def deny_write_and_execute():
    ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # what MemoryDenyWriteExecute= asks of the kernel
probe = subprocess.Popen(command, env=environment, user="binance-probe", group="binance-probe",
                         extra_groups=[], cwd="/", preexec_fn=deny_write_and_execute)
context = ssl.create_default_context(cadata=ca)
context.check_hostname = False  # the name of all probes is none of this machine's
def status(**headers):
    request = urllib.request.Request("https://127.0.0.1:9090/status", headers=headers)
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        return answer.read()
while True:
    if probe.poll() is not None:
        sys.exit(f"the probe ended with {probe.returncode}")
    try:
        shown = status(Authorization=f"Bearer {token}")
        break
    except OSError:
        time.sleep(0.05)
try:
    refused = status()
except urllib.error.HTTPError as error:
    refused = error.code
probe.terminate()
print(json.dumps({"status": json.loads(shown), "refused": refused, "code": probe.wait(60)}))
"""


def test_units_command_runs_the_probe_as_its_user_with_its_settings_behind_tls_and_token(
    bootstrapped: Sandbox, secrets: dict[str, str]
) -> None:
    unit = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line)
    argument = json.dumps(
        [
            shlex.split(unit["ExecStart"]),
            unit["EnvironmentFile"],
            secrets["ca.pem"],
            secrets["token"],
        ]
    )
    answer = bootstrapped.run(["python3.11", "-c", _START, argument], network=False)
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout.splitlines()[-1])
    assert result["code"] == 0
    assert result["refused"] == 401
    info = json.dumps(result["status"])
    assert '"eu-west-1"' in info
    assert '"network"' in info
