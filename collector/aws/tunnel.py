"""The tunnel from this machine to the monitor's Prometheus: Session Manager port forwarding.

The tunnel is the AWS CLI as a child process, which asks for a session and starts Session Manager's
plugin. Sessions end when they idle, when the network changes and when a laptop sleeps; a thread
opens the next one on the same port, so that the address stays valid.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from typing import TYPE_CHECKING, Final, Self

import requests

from latency_sweep.collector.errors import SweepError
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime.child import Child, ChildError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from latency_sweep.collector.state import MonitorHost

OPEN_WITHIN_SEC: Final = 900.0
PROMETHEUS_PORT: Final = 9090

_PROGRAMS: Final = ("aws", "session-manager-plugin")
_OPENED: Final = re.compile(r"Port (\d+) opened for sessionId")
_SESSION_WITHIN_SEC: Final = 60.0
_FIRST_PAUSE_SEC: Final = 1.0
_LONGEST_PAUSE_SEC: Final = 30.0
_POLL_SEC: Final = 0.1
# A session whose other end is gone still takes connections; only an answer shows that it lives.
_LISTEN_EVERY_SEC: Final = 30.0
_ANSWER_WITHIN_SEC: Final = 10.0
_MAX_MISSES: Final = 3


class TunnelError(SweepError):
    """No session could be opened; the message says why and what else can be done."""

    code = ExitCode.PROMETHEUS_FAILED


class Tunnel:
    """Port forwarding to a monitor, kept open until the context ends."""

    def __init__(
        self,
        monitor: MonitorHost,
        *,
        folder: Path,
        report: Callable[[str], None],
        open_within_sec: float = OPEN_WITHIN_SEC,
        listen_every_sec: float = _LISTEN_EVERY_SEC,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            monitor: the instance at the other end.
            folder: where the session's output goes.
            report: called with each step, in one line.
            open_within_sec: how long to try; a fresh instance takes minutes until it is there.
            listen_every_sec: how often to see whether the other end answers.
        """
        self._monitor = monitor
        self._folder = folder
        self._report = report
        self._open_within_sec = open_within_sec
        self._listen_every_sec = listen_every_sec
        self._port = 0
        self._problem = "no session was opened."
        self._opened = threading.Event()
        self._ending = threading.Event()
        self._supervisor = threading.Thread(target=self._keep, name="tunnel", daemon=True)

    @property
    def url(self) -> str:
        """Address of Prometheus on this machine; it stays the same for all sessions."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            TunnelError: a program is missing, or no session could be opened in time.
        """
        absent = missing()
        if absent is not None:
            raise TunnelError(absent)
        self._report(f"Opening a tunnel to Prometheus on {self._monitor.instance_id}.")
        self._supervisor.start()
        try:
            opened = self._opened.wait(self._open_within_sec)
        except BaseException:
            self._end()
            raise
        if not opened:
            self._end()
            raise TunnelError(
                f"There is no tunnel to {self._monitor.instance_id} in {self._monitor.region} "
                f"after {self._open_within_sec:g} s; give another URL with --from-prometheus, or "
                f"fix this: {self._problem}"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self._end()

    def _end(self) -> None:
        self._ending.set()
        self._supervisor.join()

    def _keep(self) -> None:
        """Open session after session. Children belong to the thread that starts them."""
        pause_sec = _FIRST_PAUSE_SEC
        while not self._ending.is_set():
            try:
                with Child("tunnel", self._command(), folder=self._folder) as session:
                    if self._open(session):
                        pause_sec = _FIRST_PAUSE_SEC
                        self._follow(session)
            except ChildError as error:
                self._problem = str(error)
            self._ending.wait(pause_sec)
            pause_sec = min(2 * pause_sec, _LONGEST_PAUSE_SEC)

    def _command(self) -> list[str]:
        # Port 0 is any that is free.
        ports = f"portNumber={PROMETHEUS_PORT},localPortNumber={self._port}"
        return [
            *("aws", "ssm", "start-session", "--region", self._monitor.region),
            *("--target", self._monitor.instance_id),
            *("--document-name", "AWS-StartPortForwardingSession", "--parameters", ports),
        ]

    def _open(self, session: Child) -> bool:
        """Wait until the session listens; false if this tunnel ends meanwhile."""
        session.wait_until(
            lambda: self._ending.is_set() or _port_of(session) is not None,
            within_sec=_SESSION_WITHIN_SEC,
            what="open a port",
        )
        port = _port_of(session)
        if port is None:
            return False
        self._port = port
        self._opened.set()
        return True

    def _follow(self, session: Child) -> None:
        """Return when the session has ended or is of no use any more."""
        misses = 0
        listen_at = time.monotonic() + self._listen_every_sec
        while session.running and not self._ending.wait(_POLL_SEC):
            if time.monotonic() < listen_at:
                continue
            misses = 0 if _answers(self.url) else misses + 1
            if misses == _MAX_MISSES:
                return
            listen_at = time.monotonic() + self._listen_every_sec


def missing() -> str | None:
    """What has to be installed for tunnels, as a sentence; None if it is all there."""
    absent = [program for program in _PROGRAMS if shutil.which(program) is None]
    if not absent:
        return None
    return (
        f"The tunnel to Prometheus needs {' and '.join(absent)} on PATH: install the AWS CLI and "
        "its Session Manager plugin, or give another URL with --from-prometheus."
    )


def _port_of(session: Child) -> int | None:
    found = _OPENED.search(session.output.read_text("utf-8", "replace"))
    return None if found is None else int(found[1])


def _answers(url: str) -> bool:
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy does not know this machine's loopback
            return session.get(f"{url}/-/ready", timeout=_ANSWER_WITHIN_SEC).status_code > 0
    except requests.RequestException:
        return False
