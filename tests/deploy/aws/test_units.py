"""Scripts and systemd units, evaluated by shellcheck and systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.aws.paths import AWS, REPOSITORY

BOOTSTRAP = AWS / "bootstrap"
SCRIPTS = sorted(BOOTSTRAP.glob("*.sh"))
SERVICES = sorted(BOOTSTRAP.glob("*.service"))
# systemd's exposure, 0 (locked in) to 10 (free), of what listens to or speaks with the network.
MOST_EXPOSED = {"node-exporter": 2.0, "prometheus": 1.8, "alertmanager": 1.8}
PROBE = BOOTSTRAP / "binance-probe.service"
# The probe's, by what Terraform adds to its unit for a source of timestamps (docs/aws.md).
PROBES_EXPOSURE = {"": 1.8, "timestamps-capture.conf": 2.3, "timestamps-nic.conf": 2.1}


@pytest.fixture(scope="module")
def systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not on PATH")
    return found


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    shellcheck = shutil.which("shellcheck") or Path(sys.executable).with_name("shellcheck")
    answer = _run(shellcheck, "--external-sources", f"--source-path={REPOSITORY}", script)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.stem)
def test_systemd_accepts_the_unit(systemd_analyze: str, service: Path, tmp_path: Path) -> None:
    """Programs that only the instance has are replaced by one that is here."""
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", service.read_text(), flags=re.MULTILINE)
    unit = tmp_path / service.name
    unit.write_text(text)
    answer = _run(systemd_analyze, "verify", "--recursive-errors=no", unit)
    assert answer.returncode == 0, answer.stderr
    assert service.name not in answer.stderr, answer.stderr


@pytest.mark.parametrize("name", MOST_EXPOSED)
def test_service_is_locked_in(systemd_analyze: str, name: str) -> None:
    answer = _run(systemd_analyze, "security", "--offline=true", BOOTSTRAP / f"{name}.service")
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", answer.stdout)
    assert match is not None, answer.stderr
    assert float(match[1]) <= MOST_EXPOSED[name], answer.stdout


def _probe(folder: Path, drop_in: str) -> Path:
    """The probe's unit with what it gets for a source of timestamps, in a folder of units."""
    units = folder / "etc/systemd/system"
    added = units / f"{PROBE.name}.d"
    added.mkdir(parents=True)
    shutil.copy(PROBE, units)
    if drop_in:
        shutil.copy(BOOTSTRAP / drop_in, added / "20-timestamps.conf")
    return units / PROBE.name


@pytest.mark.parametrize("drop_in", PROBES_EXPOSURE)
def test_the_probe_is_locked_in_for_every_source_of_timestamps(
    systemd_analyze: str, drop_in: str, tmp_path: Path
) -> None:
    unit = _probe(tmp_path, drop_in)
    answer = _run(systemd_analyze, "security", "--offline=true", f"--root={tmp_path}", unit.name)
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", answer.stdout)
    assert match is not None, answer.stderr
    assert float(match[1]) <= PROBES_EXPOSURE[drop_in] <= 2.5, answer.stdout


@pytest.mark.parametrize("drop_in", [name for name in PROBES_EXPOSURE if name])
def test_systemd_accepts_what_a_source_of_timestamps_adds(
    systemd_analyze: str, drop_in: str, tmp_path: Path
) -> None:
    unit = _probe(tmp_path, drop_in)
    for file in (unit, unit.with_name(f"{PROBE.name}.d") / "20-timestamps.conf"):
        text = re.sub(r"^(Exec\w+=[+-]*)\S+", r"\1/bin/true", file.read_text(), flags=re.MULTILINE)
        file.write_text(text)
    answer = _run(systemd_analyze, "verify", "--recursive-errors=no", unit)
    assert answer.returncode == 0, answer.stderr
    assert PROBE.name not in answer.stderr, answer.stderr


def _values(file: Path, name: str) -> list[str]:
    lines = (line.partition("=") for line in file.read_text().splitlines())
    return [value for key, _, value in lines if key == name]


def test_each_source_of_timestamps_adds_only_what_it_needs() -> None:
    capture, nic = (BOOTSTRAP / f"timestamps-{kind}.conf" for kind in ("capture", "nic"))
    assert _values(PROBE, "CapabilityBoundingSet") == [""]
    assert _values(capture, "AmbientCapabilities") == ["CAP_NET_RAW"]
    assert _values(capture, "RestrictAddressFamilies") == ["AF_PACKET"]
    assert _values(capture, "DeviceAllow") == []
    assert _values(nic, "DeviceAllow") == ["char-ptp r"]
    assert _values(nic, "AmbientCapabilities") == []


def test_the_reader_comes_before_the_host_s_programs_and_after_its_interrupts() -> None:
    assert _values(PROBE, "CPUSchedulingPolicy") == ["fifo"]
    (priority,) = _values(PROBE, "CPUSchedulingPriority")
    assert 1 < int(priority) < 50  # the kernel's threaded interrupts; threads go one below
    # What would keep the reader from lowering its threads below itself.
    assert _values(PROBE, "RestrictRealtime") == []
    assert "sched_setscheduler" in _values(PROBE, "SystemCallFilter")


def test_systemd_understands_the_moment_of_expiry(systemd_analyze: str) -> None:
    answer = _run(systemd_analyze, "calendar", "2031-01-02 03:04:05 UTC")
    assert answer.returncode == 0, answer.stderr
