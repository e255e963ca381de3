"""The locks hold what pyproject.toml asks for, by hash, and name no index."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def of_extra(name: str) -> list[str]:
    """What an extra asks for, with the extras that it contains."""
    found = []
    for text in EXTRAS[name]:
        wanted = Requirement(text)
        if wanted.name == PROJECT["name"]:
            found += [part for extra in wanted.extras for part in of_extra(extra)]
        else:
            found.append(text)
    return found


WANTED = {
    "probe.txt": PROJECT["dependencies"],
    "monitor.txt": PROJECT["dependencies"] + of_extra("monitor"),
    "local.txt": PROJECT["dependencies"] + of_extra("local"),
    "dev.txt": PROJECT["dependencies"] + of_extra("dev"),
}


def entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each locked requirement and its hashes."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [line for line in joined.splitlines() if line and not line.lstrip().startswith("#")]
    found = []
    for line in lines:
        requirement, *hashes = line.split("--hash=")
        found.append((Requirement(requirement.strip()), [text.strip() for text in hashes]))
    return found


@pytest.mark.parametrize("name", WANTED)
def test_the_lock_satisfies_the_project(name: str) -> None:
    locked = [requirement for requirement, _ in entries(name)]
    for text in WANTED[name]:
        wanted = Requirement(text)
        same = [r for r in locked if canonicalize_name(r.name) == canonicalize_name(wanted.name)]
        assert same, f"{text}: run `make lock`"
        for requirement in same:
            (pin,) = requirement.specifier
            assert wanted.specifier.contains(pin.version), f"{text}: run `make lock`"


@pytest.mark.parametrize("name", WANTED)
def test_every_locked_version_is_exact_and_has_its_hashes(name: str) -> None:
    for requirement, hashes in entries(name):
        assert [pin.operator for pin in requirement.specifier] == ["=="]
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in hashes)


def test_the_locks_agree() -> None:
    probe, monitor, local, _ = (
        {str(requirement) for requirement, _ in entries(name)} for name in WANTED
    )
    assert probe <= monitor <= local


def test_the_tests_run_with_the_versions_that_are_deployed() -> None:
    local, dev = (
        {(requirement.name, str(requirement.specifier)) for requirement, _ in entries(name)}
        for name in ("local.txt", "dev.txt")
    )
    assert local <= dev  # what dev needs besides may drop the condition of a platform


def test_what_the_tests_run_with_is_what_is_locked() -> None:
    locked = {
        canonicalize_name(requirement.name): requirement
        for requirement, _ in entries("dev.txt")
        if requirement.marker is None or requirement.marker.evaluate()
    }
    other = {
        name: installed
        for name, requirement in locked.items()
        if not requirement.specifier.contains(installed := version(name), prereleases=True)
    }
    assert other == {}, "run `make .venv/.installed-dev`, or `make lock`"


@pytest.mark.parametrize("name", WANTED)
def test_the_lock_names_no_index(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert not re.search(r"https?:|--(extra-)?index|--find-links|--trusted-host", text)
