"""Whatever names a version of what this project runs names the one of `versions.yaml`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from latency_sweep.collector.aws import terraform
from latency_sweep.contract import versions
from tests.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSIONS = versions.load()
# As text that people read, and as Docker reads it.
IMAGES = {
    "prom/prometheus": f"v{VERSIONS.prometheus}",
    "grafana/grafana": VERSIONS.grafana,
    "python": VERSIONS.python_image,
}
TERRAFORM = ROOT / "deploy" / "aws" / "terraform"


def texts() -> Iterator[Path]:
    yield from (ROOT / name for name in ("README.md", "Dockerfile", "docker-compose.yml"))
    yield from sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_the_pinned_one_wherever_it_is_named(image: str) -> None:
    named = {
        (file.name, tag)
        for file in texts()
        for tag in re.findall(
            rf"(?<![\w/]){image}:([\w.-]*[\w-])(?=[\s`@])", file.read_text(encoding="utf-8")
        )
    }
    assert named
    assert {tag for _, tag in named} == {IMAGES[image]}, named


def test_the_modules_ask_for_the_terraform_and_the_provider_of_the_contract() -> None:
    files = sorted(TERRAFORM.rglob("versions.tf"))
    assert TERRAFORM / "versions.tf" in files
    lowest = VERSIONS.aws_provider.split(",")[0]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert re.findall(r'required_version = "(.+)"', text) == [VERSIONS.terraform]
        # A module names what it needs at least; only the root has an upper limit.
        wanted = VERSIONS.aws_provider if file.parent == TERRAFORM else lowest
        assert re.findall(r'^ +version = "(.+)"', text, re.MULTILINE) == [wanted]


def test_sweep_asks_for_the_same_terraform() -> None:
    assert VERSIONS.terraform == f">= {'.'.join(map(str, terraform._MINIMUM))}"


def test_the_hosted_ci_uses_the_actions_of_the_contract() -> None:
    used: set[str] = set()
    for file in sorted((ROOT / ".github" / "workflows").glob("*.y*ml")):
        for job in yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].values():
            used |= {step["uses"] for step in job.get("steps", []) if "uses" in step}
    assert used <= {f"{name}@{version}" for name, version in VERSIONS.actions.items()}
