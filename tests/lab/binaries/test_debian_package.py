"""Debian's commands; tests/lab/binaries/test_prometheus_binary.py fetches with them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from latency_sweep.lab.binaries.debian_package import run
from latency_sweep.lab.binaries.fetching import FetchError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_output_of_a_command_is_returned() -> None:
    assert run(["echo", "a", "b"]) == "a b\n"


def test_the_first_line_of_a_complaint_is_passed_on() -> None:
    with pytest.raises(FetchError, match=r"^sh failed: first$"):
        run(["sh", "-c", "echo first >&2; echo second >&2; exit 100"])


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(FetchError, match=r"^there is no program no-such-program$"):
        run(["no-such-program"])


@pytest.mark.skipif(sys.platform != "linux", reason="needs pidfd and the parent-death signal")
def test_a_command_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")
    command = ["sh", "-c", f"echo $$ > {tmp_path}/started; exec sleep 600"]
    code = f"from latency_sweep.lab.binaries.debian_package import run; run({command!r})"
    with subprocess.Popen([sys.executable, "-c", code]) as program:
        descriptor = os.pidfd_open(int((tmp_path / "started").read_text()))
        program.kill()
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    assert poller.poll(30_000), "the command did not end"
    os.close(descriptor)
