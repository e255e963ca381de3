"""Processes of the local stack, ended and started anew as an operator would."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from latency_sweep.runtime.child import Child, Priority
from latency_sweep.runtime.loopback import hold_port, port_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latency_sweep.lab.local.stack import LocalProbe, Setup


def command_of(child: Child) -> list[str]:
    """The command line of a running child."""
    return Path(f"/proc/{child.pid}/cmdline").read_text(encoding="utf-8").split("\0")[:-1]


def on_same_port(probe: LocalProbe) -> list[str]:
    """The command line of a probe, with the port that it chose."""
    command = command_of(probe.child)
    command[command.index("--metrics-port") + 1] = str(port_of(probe.url))
    return command


@contextmanager
def restarted(probe: LocalProbe, setup: Setup) -> Iterator[None]:
    """Stop a probe and start it anew, on the same port, until the context ends."""
    command = on_same_port(probe)
    probe.child.stop()
    priority = setup.priority(Priority.PROMPT)
    with (
        hold_port(port_of(probe.url)),
        Child("probe-restarted", command, folder=setup.logs, priority=priority),
    ):
        yield
