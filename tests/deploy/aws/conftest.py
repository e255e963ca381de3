"""The tools and the sandbox with which the AWS deployment is tested on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from latency_sweep.contract import experiment as experiment_file
from latency_sweep.deploy.aws import scrape_secrets
from tests.deploy.aws import instances
from tests.deploy.aws.paths import REPOSITORY
from tests.deploy.aws.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess


@pytest.fixture(scope="session")
def terraform_binary() -> Path:
    """Terraform or OpenTofu of this machine."""
    for name in ("tofu", "terraform"):
        if found := shutil.which(name):
            return Path(found)
    pytest.skip("neither tofu nor terraform is on PATH")


@pytest.fixture(scope="session")
def experiment_path() -> Path:
    return experiment_file.default_path()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(folder),
            str(REPOSITORY),
        ],
        check=True,
        capture_output=True,
        timeout=200,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """This machine's files under an overlay in memory: what happens in it stays in it."""
    if os.geteuid() != 0:
        pytest.skip("an overlay of the file system needs root")
    made = Sandbox.create()
    if made is None:
        pytest.skip("this machine allows no overlay of its file system")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """As `sweep deploy` makes them."""
    return scrape_secrets.make()


# The instance is that of the test's module, which defines `user_data` and `instance`.


@pytest.fixture(scope="module")
def cloud_config(user_data: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(user_data)
    return document


@pytest.fixture(scope="module")
def first_run(instance: Sandbox, cloud_config: dict[str, Any]) -> CompletedProcess[str]:
    return instances.bootstrap(instance, cloud_config)


@pytest.fixture(scope="module")
def bootstrapped(instance: Sandbox, first_run: CompletedProcess[str]) -> Sandbox:
    assert first_run.returncode == 0, first_run.stderr
    return instance
