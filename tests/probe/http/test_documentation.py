"""The commands of docs/security.md work as they stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract.metrics import RejectionReason

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
STARTED = next(text for text in COMMANDS if text.startswith("probe run"))
OFFLINE = "--endpoint ws://127.0.0.1:9 --time-endpoint '' --clock-source shared"


@pytest.fixture
def shell(tmp_path: Path, promtool_binary: Path) -> Callable[[str], str]:
    """Run commands in an empty folder."""
    folders = (Path(sys.executable).parent, promtool_binary.parent)
    path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])

    def run(commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.skipif(
    not all(map(shutil.which, ("curl", "openssl"))), reason="the commands are curl's and openssl's"
)
def test_every_command_works(tmp_path: Path, shell: Callable[[str], str]) -> None:
    before, after = (
        COMMANDS[: COMMANDS.index(STARTED)],
        COMMANDS[COMMANDS.index(STARTED) + 1 :],
    )
    for commands in before:
        shell(commands)
    command = f"exec {Path(sys.executable).with_name('probe')} {STARTED.strip()[6:]} {OFFLINE}"
    with subprocess.Popen(
        ["bash", "-c", f"{command} --metrics-port 0"], cwd=tmp_path, stdout=subprocess.PIPE
    ) as probe:
        try:
            assert probe.stdout is not None
            listening = json.loads(probe.stdout.readline())
            port = listening["metrics_url"].rpartition(":")[2]
            answers = [shell(commands.replace("9090", port)) for commands in after]
            assert "feed_messages_total" in answers[0]
            assert '"connected":false' in answers[1]
            probe.send_signal(signal.SIGINT)
            assert probe.wait(timeout=30) == 0
        finally:
            probe.kill()


def test_every_reason_is_explained() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", DOCUMENT.partition("| reason |")[2]))
    assert {reason.value for reason in RejectionReason} <= explained
