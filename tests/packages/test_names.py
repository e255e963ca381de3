"""Modules of a user's that have the names of our folders do not get in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests import foreign

SCRIPTS = Path(sysconfig.get_path("scripts"))


@pytest.mark.parametrize(
    ("command", "codes"),
    [
        (("probe", "doctor", "--json", "--watch-sec", "0.1"), {0, 1}),
        (("probe", "run", "--help"), {0}),
        (("analyze", "prices"), {0}),
        (("analyze", "--from-prometheus", "http://127.0.0.1:1", "--experiment-id", "x"), {7}),
        (("sweep", "demo", "--help"), {0}),
        (("sweep", "watch", "--help"), {0}),
        (("sweep", "deploy", "--help"), {0}),
        (("python", "-m", "latency_sweep.lab.exchange", "--help"), {0}),
        (("python", "-m", "latency_sweep.deploy.aws.monitor", "--help"), {0}),
        (("python", "-m", "latency_sweep.deploy.compose.prepare", "--help"), {0}),
        (("python", "-m", "latency_sweep.deploy.compose.ec2", "--help"), {0}),
        (("python", "-c", "import latency_sweep.analysis.frames"), {0}),
    ],
)
def test_a_command_works_in_a_folder_of_such_modules(
    command: tuple[str, ...], codes: set[int], tmp_path: Path
) -> None:
    foreign.write_modules(tmp_path)
    program, *arguments = command
    if program == "probe" and arguments[0] == "doctor":
        arguments += ["--endpoint", "wss://127.0.0.1:1", "--time-endpoint", "https://127.0.0.1:1/t"]
    done = subprocess.run(
        [sys.executable if program == "python" else SCRIPTS / program, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in codes, done.stderr
    assert "Traceback" not in done.stderr


def test_such_modules_raise_when_they_are_imported(tmp_path: Path) -> None:
    foreign.write_modules(tmp_path)
    for name in foreign.NAMES:
        done = subprocess.run(
            [sys.executable, "-c", f"import {name}"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"{name} was imported from the working directory" in done.stderr
