"""Checkov's rules for Terraform; what is excepted stands beside the resource with its reason."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.aws.paths import ROOT

_EXCEPTION = re.compile(r"#\s*checkov:skip=(\w+)(?::(.*))?")
_LEAST_WORDS = 5


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What checkov says; it is asked without network, rules and modules are those on this machine.

    `make test` installs it into an environment of its own, because it wants other versions of this
    project's dependencies.
    """
    program = shutil.which("checkov", path=Path(sys.prefix) / "checkov" / "bin")
    program = program or shutil.which("checkov")
    if program is None:
        pytest.skip("checkov is not installed; make test installs it")
    options = ["--framework", "terraform", "--skip-download", "--compact", "--output", "json"]
    answer = subprocess.run(
        [program, "--directory", ROOT, *options],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert answer.stdout.startswith("{"), answer.stderr
    document: dict[str, Any] = json.loads(answer.stdout)
    return document


@pytest.mark.timeout(200)
def test_checkov_finds_nothing(report: dict[str, Any]) -> None:
    failed = report["results"]["failed_checks"]
    assert [f"{each['check_id']} {each['resource']}: {each['check_name']}" for each in failed] == []
    assert report["results"]["parsing_errors"] == []


@pytest.mark.timeout(200)
def test_checkov_looks_at_the_instances(report: dict[str, Any]) -> None:
    looked_at = {
        each["resource"].rpartition("module.")[2] for each in report["results"]["passed_checks"]
    }
    assert {"probe.aws_instance.this", "monitor.aws_instance.this"} <= {
        re.sub(r"\[.*?\]", "", name) for name in looked_at
    }


def test_every_exception_says_why() -> None:
    found = [
        (file.name, *match.groups())
        for file in ROOT.rglob("*.tf")
        for match in _EXCEPTION.finditer(file.read_text())
    ]
    assert found
    assert [each for each in found if len((each[2] or "").split()) < _LEAST_WORDS] == []
