"""Processes of the local stack, ended and started anew as an operator would."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local.child import Child, Priority

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.local.stack import LocalProbe, Setup


def command_of(child: Child) -> list[str]:
    """The command line of a running child."""
    return Path(f"/proc/{child.pid}/cmdline").read_text(encoding="utf-8").split("\0")[:-1]


def on_same_port(probe: LocalProbe) -> list[str]:
    """The command line of a probe, with the port that it chose."""
    command = command_of(probe.child)
    command[command.index("--metrics-port") + 1] = str(_port_of(probe))
    return command


@contextmanager
def port_kept(probe: LocalProbe) -> Iterator[None]:
    """Let nobody choose the port of a probe that has just ended, until the context ends.

    What is bound and does not listen refuses connections, and lets the next probe bind and listen,
    as both reuse the address; the system gives the port to no one who asks for any.
    """
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", _port_of(probe)))
        yield


def _port_of(probe: LocalProbe) -> int:
    return int(probe.url.rpartition(":")[2])


@contextmanager
def restarted(probe: LocalProbe, setup: Setup) -> Iterator[None]:
    """Stop a probe and start it anew, on the same port, until the context ends."""
    command = on_same_port(probe)
    probe.child.stop()
    priority = setup.priority(Priority.PROMPT)
    with (
        port_kept(probe),
        Child("probe-restarted", command, folder=setup.logs, priority=priority),
    ):
        yield
