"""The tunnel with a stand-in for the AWS CLI and its plugin (see tunnel_stand_in.py)."""

from __future__ import annotations

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
import requests

from latency_sweep.collector.aws import tunnel
from latency_sweep.collector.aws.tunnel import Tunnel, TunnelError
from latency_sweep.collector.state import MonitorHost
from latency_sweep.contract.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.collector.conftest import SessionManager

# Every step starts processes, which takes a while on a busy machine.
pytestmark = pytest.mark.timeout(180)

MONITOR = MonitorHost(region="eu-central-1", instance_id="i-1")


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"ready")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def prometheus() -> Iterator[str]:
    """Something that answers like Prometheus: host and port."""
    with HTTPServer(("127.0.0.1", 0), _Ready) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "_FIRST_PAUSE_SEC", 0.01)
    monkeypatch.setattr(tunnel, "_POLL_SEC", 0.01)


def ask(url: str) -> str:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{url}/-/ready", timeout=10).text


def until_answered(url: str) -> str:
    while True:
        try:
            return ask(url)
        except requests.ConnectionError:
            time.sleep(0.02)


def test_tunnel_leads_to_the_monitors_prometheus(
    session_manager: SessionManager, prometheus: str, tmp_path: Path
) -> None:
    session_manager.script(target=prometheus)
    said: list[str] = []
    with Tunnel(MONITOR, folder=tmp_path, report=said.append) as opened:
        assert ask(opened.url) == "ready"
    assert said == ["Opening a tunnel to Prometheus on i-1."]
    (session,) = session_manager.sessions
    assert "ssm start-session --region eu-central-1 --target i-1" in session
    assert "portNumber=9090,localPortNumber=0" in session


def test_session_that_ends_is_opened_again_at_the_same_address(
    session_manager: SessionManager, prometheus: str, tmp_path: Path
) -> None:
    session_manager.script(target=prometheus)
    with Tunnel(MONITOR, folder=tmp_path, report=lambda _: None) as opened:
        url = opened.url
        os.kill(session_manager.pids[0], signal.SIGKILL)
        while len(session_manager.pids) == 1:
            time.sleep(0.01)
        assert until_answered(url) == "ready"
        assert opened.url == url


def test_session_whose_other_end_is_silent_is_replaced(
    session_manager: SessionManager, prometheus: str, tmp_path: Path
) -> None:
    session_manager.script(target="127.0.0.1:9")  # nothing listens there
    with Tunnel(MONITOR, folder=tmp_path, report=lambda _: None, listen_every_sec=0.01) as opened:
        session_manager.script(target=prometheus)
        while len(session_manager.pids) == 1:
            time.sleep(0.01)
        assert until_answered(opened.url) == "ready"


def test_instance_that_still_boots_is_asked_again(
    session_manager: SessionManager, prometheus: str, tmp_path: Path
) -> None:
    session_manager.script(target=prometheus, refusals=2)
    with Tunnel(MONITOR, folder=tmp_path, report=lambda _: None) as opened:
        assert ask(opened.url) == "ready"
    assert len(session_manager.pids) == 3


def test_no_session_outlives_the_tunnel(
    session_manager: SessionManager, prometheus: str, tmp_path: Path
) -> None:
    session_manager.script(target=prometheus)
    with Tunnel(MONITOR, folder=tmp_path, report=lambda _: None):
        (pid,) = session_manager.pids
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_sessions_that_are_never_granted_are_told_with_their_reason(
    session_manager: SessionManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    session_manager.script(target="127.0.0.1:9", refusals=1000)
    way = Tunnel(MONITOR, folder=tmp_path, report=lambda _: None)

    def out_of_patience(_seconds: float) -> bool:
        while len(session_manager.pids) < 2:
            time.sleep(0.01)
        return False

    monkeypatch.setattr(way._opened, "wait", out_of_patience)
    with pytest.raises(TunnelError, match="TargetNotConnected") as caught, way:
        pass
    assert "--from-prometheus" in str(caught.value)
    assert caught.value.code is ExitCode.PROMETHEUS_FAILED


def test_programs_that_are_not_installed_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    way = Tunnel(MONITOR, folder=tmp_path, report=lambda _: None)
    with pytest.raises(TunnelError, match="aws and session-manager-plugin on PATH"), way:
        pass
