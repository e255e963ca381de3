"""Building Prometheus from its Go module, with a program in the place of Go."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from latency_sweep.lab.binaries import go_module
from latency_sweep.lab.binaries.fetching import FetchError

if TYPE_CHECKING:
    from pathlib import Path

GO = """\
#!/bin/sh
echo "$*" >>"{calls}"
if [ "$1" = "{failing}" ]; then echo "go: downloading" >&2; echo "go: it is closed" >&2; exit 1; fi
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What Go was asked."""
    write_go(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / "calls"


def write_go(folder: Path, failing: str = "") -> None:
    program = folder / "bin" / "go"
    program.parent.mkdir(exist_ok=True)
    program.write_text(GO.format(calls=folder / "calls", failing=failing))
    program.chmod(0o755)


def test_both_programs_are_built_and_told_their_version(calls: Path, tmp_path: Path) -> None:
    go_module.build(tmp_path, "3.9.4")
    module = "github.com/prometheus/prometheus"
    programs = f"{module}/cmd/prometheus {module}/cmd/promtool"
    flag = "-ldflags=-X github.com/prometheus/common/version.Version=3.9.4"
    assert calls.read_text().splitlines() == [
        "mod init build",
        f"get {module}/cmd/prometheus@v0.309.4 {module}/cmd/promtool@v0.309.4",
        f"build {flag} -o {tmp_path}/ {programs}",
    ]


@pytest.mark.parametrize("failing", ["mod", "get", "build"])
@pytest.mark.usefixtures("calls")
def test_a_step_that_fails_is_named_with_its_last_line(failing: str, tmp_path: Path) -> None:
    write_go(tmp_path, failing)
    with pytest.raises(FetchError, match=rf"^go {failing} failed: go: it is closed$"):
        go_module.build(tmp_path)


def test_without_go_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(FetchError, match="there is no program go on PATH"):
        go_module.build(tmp_path)
