"""Helpers to run the real command and to see that it leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from latency_sweep.lab.local.stack import console_command
from tests import foreign

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

    from latency_sweep.lab.binaries.prometheus_binary import Binaries


class Command:
    """A running `sweep demo`, and all processes it started.

    Attributes:
        lines: what it has printed so far, as far as it was read.
    """

    def __init__(self, arguments: list[str | Path], binaries: Binaries, folder: Path) -> None:
        # A session of its own, so that a signal reaches its process group as a terminal's would,
        # and that what it starts can be told from other processes.
        self.process = subprocess.Popen(
            [console_command("sweep"), "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, **foreign.VARIABLES, "PROMETHEUS_BIN": str(binaries.prometheus)},
            start_new_session=True,
        )
        self.lines: list[str] = []

    def read_until(self, text: str) -> str:
        """Read on until a line contains a text, and return that line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return self.lines[-1]
        raise AssertionError(f"no {text!r} in {self.lines} {self.finish()}")

    def interrupt(self, number: signal.Signals) -> None:
        """Signal its process group, as a terminal does on Ctrl-C."""
        os.killpg(self.process.pid, number)

    def finish(self) -> tuple[int, str]:
        """Wait for its end; its exit code and standard error."""
        output, errors = self.process.communicate()
        self.lines += output.splitlines()
        return self.process.returncode, errors

    def started_processes(self) -> dict[int, str]:
        """Its descendants that are alive, wherever they are: command line by process id."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.getsid(int(folder.name)) == self.process.pid:
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except (OSError, UnicodeDecodeError):
                continue
        found.pop(self.process.pid, None)
        return found


@pytest.fixture
def sweep_demo(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Command]]:
    """Start `sweep demo` with some arguments; killed at the end if it still runs.

    It runs in a shell and a folder that are set up for other programs.
    """
    started: list[Command] = []
    folder = foreign.write_modules(tmp_path_factory.mktemp("other"))

    def start(*arguments: str | Path) -> Command:
        started.append(Command(list(arguments), prometheus_binaries, folder))
        return started[-1]

    yield start
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
        command.process.communicate()
