"""The `probe` command as a process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from latency_sweep.contract import experiment
from latency_sweep.probe import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE = str(Path(sys.executable).with_name("probe"))
# Nothing listens on the discard port: the probe must live with that.
OFFLINE = ("--endpoint", "ws://127.0.0.1:9", "--time-endpoint", "", "--clock-source", "shared")


def probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROBE, *arguments], capture_output=True, text=True, timeout=50, check=False
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


def test_help_of_run_shows_the_variables(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    assert "PROBE_METRICS_PORT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "example", "code"),
    [
        ([], "  probe doctor  ", "    2  invalid option"),
        (
            ["run"],
            "  probe run --region ap-northeast-1",
            "   13  cannot listen on the given address and port",
        ),
        (["doctor"], "  probe doctor --region ap-northeast-1", "    1  a check failed"),
    ],
)
def test_every_help_shows_an_example_and_the_exit_codes(
    arguments: list[str], example: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main([*arguments, "--help"])
    assert exited.value.code == 0
    examples, codes = capsys.readouterr().out.split("\nexample", 1)[1].split("exit codes:\n")
    assert example in examples
    assert code in codes


@pytest.mark.parametrize("arguments", [["--vers"], ["run", "--metrics-p", "0"], ["doctor", "--js"]])
def test_an_abbreviation_is_not_taken_for_a_flag(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main(arguments)
    assert exited.value.code == 2
    assert "probe: error: " in capsys.readouterr().err


def test_it_serves_and_counts_while_the_exchange_is_out_of_reach() -> None:
    with running() as (process, url):
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
            text = response.read().decode()
        assert 'feed_connected{market="spot"} 0.0' in text
        assert process.poll() is None


def test_a_port_in_use_is_one_sentence_and_exit_code_13() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = probe("run", *OFFLINE, "--metrics-port", str(port))
    assert result.returncode == 13
    assert result.stderr == (
        f"probe: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another --metrics-port.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--streams", "trades"),
            (
                "probe: stream 'trades' is not known for spot; use any of trade, aggTrade, depth, "
                "depth@100ms, bookTicker.\n"
            ),
        ),
        (
            ("--endpoint", "wss://127.0.0.1:99999"),
            (
                "probe: --endpoint: must have a port of 1 to 65535, or none, "
                "got 'wss://127.0.0.1:99999'.\n"
            ),
        ),
        (("--config", "/nowhere.yaml"), "probe: /nowhere.yaml: cannot be read"),
        (("--ca-file", "/nowhere.pem"), "probe: --ca-file /nowhere.pem cannot be used"),
        (("--metrics-port", "x"), "argument --metrics-port: 'x' is not a whole number\n"),
        (("--region", "a\nb"), "argument --region: 'a\\nb' is not non-empty, printable text\n"),
        (("--region", " "), "argument --region: ' ' is not non-empty, printable text\n"),
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


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--symbols", "btcusdt"),
            (
                "--symbols: must be a symbol as Binance lists it, in capitals, like BTCUSDT or "
                "BTCUSD_PERP, got 'btcusdt'."
            ),
        ),
        (
            ("--endpoint", "wss://127.0.0.1:99999"),
            "--endpoint: must have a port of 1 to 65535, or none, got 'wss://127.0.0.1:99999'.",
        ),
        (
            ("--endpoint", "ws://[::1"),
            (
                "--endpoint: must be a URL like wss://stream.binance.com:9443, with a host that "
                "can be looked up, got 'ws://[::1'."
            ),
        ),
        (
            ("--time-endpoint", "https://127.0.0.1:0/time"),
            (
                "--time-endpoint: must have a port of 1 to 65535, or none, "
                "got 'https://127.0.0.1:0/time'."
            ),
        ),
    ],
)
def test_a_value_that_cannot_work_is_said_in_one_whole_sentence(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *OFFLINE, *arguments]) == 2
    assert capsys.readouterr().err == f"probe: {sentence}\n"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "wss://stream.binance.com:9443",
            "wss://stream.binance.com:99999",
            (
                "market_data.endpoint: must have a port of 1 to 65535, or none, "
                "got 'wss://stream.binance.com:99999'."
            ),
        ),
        (
            "classic_max_sec: 10",
            "classic_max_sec: 1.0e-7",
            "histogram: classic_max_sec 1e-07 must be at least twice classic_min_sec 1e-06.",
        ),
    ],
)
def test_an_experiment_that_cannot_work_is_said_in_one_whole_sentence(
    old: str, new: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(experiment.default_path().read_text().replace(old, new))
    assert cli.main(["run", "--config", str(file)]) == 2
    assert capsys.readouterr().err == f"probe: {file}: {sentence}\n"


@pytest.mark.parametrize(
    "name",
    [
        "PROMETHEUS_MULTIPROC_DIR",
        "prometheus_multiproc_dir",
        "PROMETHEUS_DISABLE_CREATED_SERIES",
    ],
)
def test_settings_of_the_hosts_web_servers_change_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "true" if "CREATED" in name else str(tmp_path))
    accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
    with running() as (process, url):
        request = urllib.request.Request(f"{url}/metrics", headers=accept)
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert "process_start_time_seconds" in text
    assert "feed_http_rejected_requests_created" in text
    assert not list(tmp_path.iterdir())


def test_the_log_is_json_on_request() -> None:
    command = [PROBE, "run", "--metrics-port", "0", *OFFLINE, "--log-format", "json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["metrics_url"]
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=50)
    lines = {document["message"]: document for document in map(json.loads, log.splitlines())}
    assert lines["listening"]["metrics_url"] == url
    assert lines["stopping"]["signal"] == "SIGINT"
    assert {"time", "level", "logger"} <= set(lines["stopping"])
