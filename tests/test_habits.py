"""Hooks before a commit and the hosted CI run what `make lint` and `make test` run."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import yaml

from tests.repository import ROOT

WORKFLOW: Final = ROOT / ".github" / "workflows" / "ci.yml"
HOOKS: Final = ROOT / ".pre-commit-config.yaml"


def load(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def recipe(target: str) -> list[str]:
    """The programs that a target of the Makefile starts."""
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"{target}:")) + 1
    end = next(n for n in range(start, len(lines)) if not lines[n].startswith("\t"))
    return [line.strip().lstrip("@") for line in lines[start:end]]


def test_the_workflow_suits_the_schema_of_github() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    command: list[str | Path] = [checker, "--builtin-schema", "vendor.github-workflows", WORKFLOW]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_workflow_runs_the_two_targets_with_the_oldest_and_the_newest_python() -> None:
    (job,) = load(WORKFLOW)["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["make lint PYTHON=python", "make test PYTHON=python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = [each.rpartition(" :: ")[2] for each in project["classifiers"] if ":: 3." in each]
    assert job["strategy"]["matrix"]["python"] == [versions[0], versions[-1]]
    assert project["requires-python"] == f">={versions[0]}"


def test_the_actions_are_the_versions_of_the_contract() -> None:
    (job,) = load(WORKFLOW)["jobs"].values()
    used = dict(step["uses"].split("@") for step in job["steps"] if "uses" in step)
    assert used == load(ROOT / "contract" / "versions.yaml")["actions"]


def test_the_hooks_are_local_and_the_recipe_of_make_lint() -> None:
    (repository,) = load(HOOKS)["repos"]
    assert repository["repo"] == "local"
    entries = [hook["entry"].removesuffix(" --force-exclude") for hook in repository["hooks"]]
    expected = [line.replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in recipe("lint")]
    assert sorted(entries) == sorted(expected)
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        # A hook that looks at the whole tree must not be given file names.
        assert hook.get("pass_filenames", True) is hook["entry"].endswith("--force-exclude")


def test_the_ci_of_this_repository_runs_the_same_two_targets() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("make ")] == ["make lint", "make test"]
