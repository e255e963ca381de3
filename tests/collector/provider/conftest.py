"""The real Terraform with the real AWS provider, where this machine has both."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from latency_sweep.collector.aws.terraform import ROOT, TerraformError, find_program

if TYPE_CHECKING:
    from collections.abc import Iterator

# Exit code of `make test-terraform`'s program where something is missing; as automake's "skipped".
MISSING = 77
MARKER = "terraform"
_LOCK_FILE = ROOT / ".terraform.lock.hcl"
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only `-m terraform` runs these: they need a plugin of half a gigabyte, and minutes."""
    if config.option.markexpr == MARKER:
        return
    ours = [item for item in items if item.path.is_relative_to(_HERE)]
    config.hook.pytest_deselected(items=ours)
    items[:] = [item for item in items if item not in ours]


@pytest.fixture(scope="session")
def terraform_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Terraform or OpenTofu with the provider at hand; without, the whole session ends with 77."""
    try:
        program = find_program(None)
    except TerraformError as error:
        _missing(str(error))
    data = tmp_path_factory.mktemp("terraform-data")
    had_lock = _LOCK_FILE.exists()
    environment = {**os.environ, "TF_DATA_DIR": str(data), "CHECKPOINT_DISABLE": "1"}
    command = [
        str(program),
        f"-chdir={ROOT}",
        "init",
        "-backend=false",
        "-input=false",
        "-no-color",
    ]
    try:
        init = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        if init.returncode:
            _missing(
                f"{program} cannot get the provider hashicorp/aws (6.0 or newer): its registry "
                "must be reachable, or a mirror named in its configuration file."
            )
        yield program
    except subprocess.TimeoutExpired:
        _missing(f"{program} init did not get the AWS provider within 5 minutes.")
    finally:
        shutil.rmtree(data)
        if not had_lock:
            _LOCK_FILE.unlink(missing_ok=True)


def _missing(what: str) -> NoReturn:
    pytest.exit(f"Not tested with the AWS provider: {what}", returncode=MISSING)
