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
MOST_EXPOSED = {"binance-probe": 1.6, "node-exporter": 2.0, "prometheus": 1.8, "alertmanager": 1.8}


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


def test_systemd_understands_the_moment_of_expiry(systemd_analyze: str) -> None:
    answer = _run(systemd_analyze, "calendar", "2031-01-02 03:04:05 UTC")
    assert answer.returncode == 0, answer.stderr
