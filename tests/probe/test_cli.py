"""The `probe` command as a process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE = str(Path(sys.executable).with_name("probe"))
# Nothing listens on the discard port: the probe must live with that.
OFFLINE = ("--endpoint", "ws://127.0.0.1:9", "--time-endpoint", "", "--clock-source", "shared")


def probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROBE, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running probe and the URL it announced."""
    command = [PROBE, "run", "--metrics-port", "0", *OFFLINE, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            output: IO[str] | None = process.stdout
            assert output is not None
            yield process, json.loads(output.readline())["metrics_url"]
        finally:
            process.kill()


def test_help_shows_an_example_and_the_exit_codes() -> None:
    result = probe("run", "--help")
    assert result.returncode == 0
    assert "probe run --region ap-northeast-1" in result.stdout
    assert "exit codes:" in result.stdout
    assert "PROBE_METRICS_PORT" in result.stdout


def test_it_serves_and_counts_while_the_exchange_is_out_of_reach() -> None:
    with running() as (process, url):
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
            text = response.read().decode()
        assert 'feed_connected{market="spot"} 0.0' in text
        assert process.poll() is None


def test_a_port_in_use_is_one_sentence_and_exit_code_3() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = probe("run", *OFFLINE, "--metrics-port", str(port))
    assert result.returncode == 3
    assert result.stderr.startswith(f"probe: cannot listen on 127.0.0.1:{port}: ")
    assert "choose another --metrics-port" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--streams", "trades"), "probe: stream 'trades' is not known for spot"),
        (("--symbols", "BTC-USDT"), "probe: --symbols: "),
        (("--config", "/nowhere.yaml"), "probe: /nowhere.yaml: cannot be read"),
        (("--ca-file", "/nowhere.pem"), "probe: --ca-file /nowhere.pem cannot be used"),
        (("--metrics-port", "x"), "invalid int value"),
        (("--no-such-flag",), "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...], message: str
) -> None:
    result = probe("run", *OFFLINE, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
