"""Docker Compose: the machine's own plugin, or a fetched copy that needs no Docker."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from latency_sweep.lab.binaries import debian_package
from latency_sweep.lab.binaries.prometheus_binary import cache_folder


def works(command: list[str]) -> bool:
    try:
        return (
            subprocess.run([*command, "version"], check=False, capture_output=True).returncode == 0
        )
    except OSError:
        return False


@pytest.fixture(scope="session")
def docker_compose() -> list[str]:
    """The words that start Docker Compose; fetched once per machine if need be."""
    if works(plugin := ["docker", "compose"]):
        return plugin
    program = cache_folder().with_name("docker-compose") / "docker-compose"
    program.parent.mkdir(parents=True, exist_ok=True)
    with (program.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not works([str(program)]):
            with TemporaryDirectory(dir=program.parent) as scratch:
                debian_package.fetch(Path(scratch), debian_package.DOCKER_COMPOSE)
                (Path(scratch) / program.name).replace(program)
    return [str(program)]
