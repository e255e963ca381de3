"""What is raised where nobody is there to catch it."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.probe.test_signals import running

if TYPE_CHECKING:
    from pathlib import Path

# The command itself, with something that fails in its event loop as soon as it listens.
PROGRAM = """
import asyncio, sys
from latency_sweep.probe import app, cli

start = app.ProbeServer.start

def fail():
    raise ZeroDivisionError("injected")

async def fail_later():
    fail()

async def start_and_fail(server):
    port = await start(server)
    loop = asyncio.get_running_loop()
    {failing}
    return port

app.ProbeServer.start = start_and_fail
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "failing",
    [
        pytest.param("loop.call_soon(fail)", id="callback"),
        pytest.param("loop.call_later(0.01, fail)", id="timer"),
        pytest.param("loop.create_task(fail_later())", id="task"),
    ],
)
def test_what_the_event_loop_catches_is_counted_and_logged_and_the_probe_goes_on(
    failing: str, tmp_path: Path
) -> None:
    program = (sys.executable, "-c", PROGRAM.format(failing=failing))
    with running(tmp_path, "--final-scrape-wait-sec", "0", program=program) as probe:
        probe.wait_for_log("ZeroDivisionError: injected")
        assert "Traceback" in probe.log
        assert probe.value('feed_errors_total{kind="internal",market="spot"}') == 1
        assert probe.get("/-/healthy") == (200, "OK\n")
        assert probe.end(signal.SIGTERM) == 0
