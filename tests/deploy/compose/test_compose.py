"""docker-compose.yml, checked without a container engine: each service runs as a process here."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import socket
import subprocess
import sys
import sysconfig
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from latency_sweep.contract import versions
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.deploy.compose.feed_profile import SITES, FeedProfile
from latency_sweep.lab.local.prometheus_process import Prometheus
from latency_sweep.prometheus.version import NATIVE_HISTOGRAMS_BY_CONFIG, Version
from latency_sweep.runtime.child import Child
from tests.waiting import says_yes

if TYPE_CHECKING:
    from latency_sweep.lab.binaries.prometheus_binary import Binaries

REPOSITORY = Path(__file__).parents[3]
FILE = REPOSITORY / "docker-compose.yml"
TEXT = FILE.read_text()
# Of each step, all of which start programs: a busy machine takes its time.
WITHIN_SEC = 120
PORTS = (3000, 5000, 9090, 9101, 9102, 9103, 9442, 9443, 9444, 9445)
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def compose(text: str = TEXT, **environment: str) -> dict[str, dict[str, Any]]:
    """The services, with variables replaced by their values or defaults."""
    filled = _VARIABLE.sub(lambda found: environment.get(found[1], found[2] or ""), text)
    services: dict[str, dict[str, Any]] = yaml.safe_load(filled)["services"]
    return services


SERVICES = compose()


def free_ports(count: int) -> list[int]:
    """Ports that are free one after the other, as the probes' are.

    They lie below those that the kernel gives to clients, who could take one before it is used.
    """
    lowest_of_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        start = random.randrange(10_000, lowest_of_clients - count)
        ports = range(start, start + count)
        with ExitStack() as taken, suppress(OSError):
            for port in ports:
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
            return list(ports)


class Host:
    """Runs services as processes, with folders for volumes and free ports for the fixed ones."""

    def __init__(self, folder: Path, binaries: Binaries) -> None:
        self.folder = folder
        self._binaries = binaries
        self._ports = dict(zip(map(str, PORTS), map(str, free_ports(len(PORTS))), strict=True))
        for name in ("config", "secret", "prometheus", "logs"):
            (folder / name).mkdir()
        self.sites = folder / "sites.yaml"
        self.sites.write_text(self._with_free_ports(SITES.read_text()))
        self.services = compose(self._with_free_ports(TEXT))

    def _with_free_ports(self, text: str) -> str:
        fixed = "|".join(self._ports)
        return re.sub(rf"\b({fixed})\b", lambda found: self._ports[found[1]], text)

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{self._ports[str(port)]}"

    def command(self, service: str) -> list[str]:
        words = list(self.services[service]["command"])
        if service == "prometheus":
            words.insert(0, "prometheus")
            if self._binaries.version < NATIVE_HISTOGRAMS_BY_CONFIG:
                words.append("--enable-feature=native-histograms")
        if service == "prepare":
            words.append(f"--prometheus-version={self._binaries.version}")
        if service in {"prepare", "ec2"}:
            words.append(f"--sites={self.sites}")
        return self._localized(words)

    def health_check(self, service: str) -> int:
        kind, *words = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return subprocess.run(
            self._localized(words), check=False, capture_output=True, timeout=WITHIN_SEC
        ).returncode

    def start(self, service: str) -> Child:
        return Child(service, self.command(service), folder=self.folder / "logs")

    def _localized(self, words: list[str]) -> list[str]:
        program, *rest = words
        assert self._binaries.promtool is not None
        programs = {
            "python": sys.executable,
            "prometheus": str(self._binaries.prometheus),
            "promtool": str(self._binaries.promtool),
        }
        program = programs.get(program) or f"{sysconfig.get_path('scripts')}/{program}"
        folders = re.compile(r"(?<==)/(config|secret|prometheus)\b")
        rest = [folders.sub(rf"{self.folder}/\1", word) for word in rest]
        # In a container the namespace keeps it in; here only the address does.
        return [program, *(re.sub(r"(?<=address=)(?=:)", "127.0.0.1", word) for word in rest)]


@pytest.mark.e2e
@pytest.mark.timeout(400)
def test_every_service_of_the_simulation_starts_gets_healthy_and_is_scraped(
    prometheus_binaries: Binaries, tmp_path: Path
) -> None:
    host = Host(tmp_path, prometheus_binaries)
    with host.start("prepare") as prepare:
        assert prepare.wait(within_sec=WITHIN_SEC) == 0, prepare.evidence()
    assert len((tmp_path / "secret" / "grafana-admin").read_text()) >= 20
    probes = [
        name for name in host.services if name.startswith("probe-") and name != "probe-binance"
    ]
    started = [host.start(name) for name in ("ec2", "exchange")]
    try:
        for child in started:
            child.wait_until(
                lambda name=child.name: host.health_check(name) == 0,  # type: ignore[misc]
                within_sec=WITHIN_SEC,
                what="get healthy",
            )
        started += [host.start(name) for name in (*probes, "prometheus")]
        for child in started[2:]:
            child.wait_until(
                lambda name=child.name: host.health_check(name) == 0,  # type: ignore[misc]
                within_sec=WITHIN_SEC,
                what="get healthy",
            )
        prometheus = Prometheus(host.url(9090), started[-1])
        started[-1].wait_until(
            lambda: says_yes(lambda: len(prometheus.query('up{job="probe"} == 1')) == len(probes)),
            within_sec=WITHIN_SEC,
            what="scrape every probe",
        )
        with host.start("analyze") as analyze:
            code = analyze.wait(within_sec=WITHIN_SEC)
        assert code in {ExitCode.INCONCLUSIVE, ExitCode.NO_DATA}, analyze.evidence()
    finally:
        for child in reversed(started):
            child.stop()


def test_the_file_follows_the_compose_specification() -> None:
    command = [f"{sysconfig.get_path('scripts')}/check-jsonschema", "--builtin-schema"]
    done = subprocess.run(
        [*command, "vendor.compose-spec", FILE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_hadolint_finds_no_fault_in_the_dockerfile() -> None:
    done = subprocess.run(
        [f"{sysconfig.get_path('scripts')}/hadolint", REPOSITORY / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].split(":")[0] not in {"", "0", "root"}
    assert "mem_limit" in service
    assert "cpus" in service


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_a_version(name: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in {"prepare", "analyze"}])
def test_a_service_that_stays_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_nothing_can_be_reached_from_other_machines() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_no_password_stands_in_the_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or name.endswith("__FILE") or not value


def test_files_that_are_mounted_from_the_checkout_are_there() -> None:
    mounted = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    assert mounted
    assert all((REPOSITORY / path).is_dir() for path in mounted)


def test_prometheus_is_configured_for_the_version_of_its_image() -> None:
    image = Version.parse(SERVICES["prometheus"]["image"].split(":")[1])
    assert image == Version.parse(versions.load().prometheus) >= NATIVE_HISTOGRAMS_BY_CONFIG
    assert not [w for w in SERVICES["prepare"]["command"] if "version" in w]


def test_the_usual_profile_is_the_simulation() -> None:
    assert "COMPOSE_PROFILES=simulation" in (REPOSITORY / ".env").read_text().splitlines()
    named = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    assert named == {*FeedProfile, "analyze"}


@pytest.mark.parametrize(
    ("profiles", "feed"),
    [
        ("simulation", FeedProfile.SIMULATION),
        ("binance,analyze", FeedProfile.BINANCE),
        ("analyze,simulation", FeedProfile.SIMULATION),
    ],
)
def test_the_feed_is_the_one_among_the_active_profiles(profiles: str, feed: FeedProfile) -> None:
    assert FeedProfile.active(profiles) is feed


@pytest.mark.parametrize("profiles", ["analyze", "simulation,binance", ""])
def test_profiles_without_one_feed_are_refused(profiles: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="one feed: simulation or binance"):
        FeedProfile.active(profiles)


def test_the_real_feed_keeps_the_endpoint_of_the_experiment() -> None:
    words = SERVICES["probe-binance"]["command"]
    assert not [word for word in words if "endpoint" in word or "ca-file" in word]
    assert FeedProfile.BINANCE.experiment().name != FeedProfile.SIMULATION.experiment().name


def test_the_image_holds_every_package_that_is_installed() -> None:
    copied = set(
        re.findall(r"^COPY (\w+) \1$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    )
    kept = set(re.findall(r"^!(\w+)$", (REPOSITORY / ".dockerignore").read_text(), re.MULTILINE))
    inside = (REPOSITORY / "src" / "latency_sweep").iterdir()
    packages = {entry.name for entry in inside if entry.is_symlink()}
    assert copied == packages | {"src", "requirements"}
    assert copied <= kept


@pytest.mark.parametrize(
    "profiles", [*FeedProfile, "analyze", "simulation,analyze", "binance,analyze"]
)
def test_docker_compose_accepts_every_profile(profiles: str, docker_compose: list[str]) -> None:
    environment = os.environ | {"COMPOSE_PROFILES": profiles}
    command = [*docker_compose, "--file", str(FILE), "config", "--format", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    # It warns of variables that are not set, among others.
    assert (done.returncode, done.stderr) == (0, "")
    wanted = set(profiles.split(","))
    expected = {name for name, s in SERVICES.items() if wanted & set(s.get("profiles", wanted))}
    assert json.loads(done.stdout)["services"].keys() == expected


@pytest.mark.parametrize("section", ["image", "ports", "volumes"])
def test_the_readme_explains_what_the_file_uses(section: str) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    used = {
        "image": {service["image"] for service in SERVICES.values()},
        "ports": {port.split(":")[1] for s in SERVICES.values() for port in s.get("ports", [])},
        "volumes": set(yaml.safe_load(TEXT)["volumes"]),
    }[section]
    assert used
    assert [thing for thing in used if f"`{thing}`" not in readme] == []
