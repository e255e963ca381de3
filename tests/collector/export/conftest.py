"""Alertmanager's checker: the machine's own, or Debian's package, which is only unpacked."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from latency_sweep.lab.binaries import debian_package
from latency_sweep.lab.binaries.prometheus_binary import cache_folder

PACKAGE = {"prometheus-alertmanager": "usr/bin/amtool"}


@pytest.fixture(scope="session")
def amtool() -> Path:
    """The program `amtool`; fetched once per machine if need be."""
    if found := shutil.which("amtool"):
        return Path(found)
    program = cache_folder().with_name("alertmanager") / "amtool"
    program.parent.mkdir(parents=True, exist_ok=True)
    with (program.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            with TemporaryDirectory(dir=program.parent) as scratch:
                debian_package.fetch(Path(scratch), PACKAGE)
                (Path(scratch) / "prometheus-alertmanager").replace(program)
    return program
