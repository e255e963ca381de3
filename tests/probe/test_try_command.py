"""`probe try` as a user runs it, against the simulated exchange and its ground truth."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from latency_sweep.lab.exchange.config import parse
from latency_sweep.lab.exchange.process import ExchangeProcess
from latency_sweep.probe import cli, command_line
from latency_sweep.probe.try_screen import wants_color

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from latency_sweep.probe.settings import Settings

PROBE = str(Path(sys.executable).with_name("probe"))
SECONDS = 3
STREAMS = ("trade", "aggTrade", "depth@100ms", "bookTicker")


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeProcess]:
    document = {
        "sites": {
            "tokyo": {
                "latency": {
                    "distribution": "lognormal",
                    "floor_ms": 60.0,
                    "median_ms": 12.0,
                    "sigma": 0.5,
                },
                "loss": {"trade": 0.05},
            }
        },
        "symbols": {"BTCUSDT": {"trades_per_sec": 150.0, "book_updates_per_sec": 40.0}},
    }
    folder = tmp_path_factory.mktemp("exchange")
    with ExchangeProcess(parse(document, source="test"), folder) as running:
        yield running


def flags(exchange: ExchangeProcess) -> list[str]:
    url, time_url = exchange.url("tokyo"), exchange.time_url
    return ["--endpoint", url, "--time-endpoint", time_url, "--clock-source", "shared"]


def try_(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROBE, "try", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=50,
        check=False,
    )


@dataclass(frozen=True)
class Measured:
    """What `probe try` said in JSON, and what the exchange did on that connection."""

    document: dict[str, Any]
    ground_truth: pd.DataFrame

    def stream(self, name: str) -> dict[str, Any]:
        return next(each for each in self.document["streams"] if each["stream"] == name)

    def measured(self, name: str) -> pd.DataFrame:
        """The messages of one stream that belong to the measurement, in the order sent."""
        truth, start_ns = self.ground_truth, self.document["start_at"] * 1e9
        within = truth["event_ns"].between(start_ns, start_ns + SECONDS * 1e9, inclusive="left")
        of_stream = truth["stream"] == f"btcusdt@{name}"
        return truth[within & of_stream & (truth["outcome"] == "sent")]


@pytest.fixture(scope="module")
def measured(exchange: ExchangeProcess) -> Measured:
    done = try_(f"{SECONDS}s", "--json", "--streams", ",".join(STREAMS), *flags(exchange))
    assert done.returncode == 0, done.stderr
    truth = exchange.ground_truth("tokyo")
    newest = truth["connection"] == truth["connection"].max()
    return Measured(json.loads(done.stdout), truth[newest])


def quantile(values: NDArray[np.float64], q: float) -> float:
    """The value at a rank counted from above, as Prometheus does from the median up."""
    from_above = max(1, math.ceil((1 - q) * len(values) - 1e-9))
    return float(np.sort(values)[-from_above])


@pytest.mark.parametrize("name", ["trade", "aggTrade", "depth@100ms"])
def test_quantiles_jitter_and_rate_are_within_one_percent_of_the_ground_truth(
    measured: Measured, name: str
) -> None:
    rows, found = measured.measured(name), measured.stream(name)
    latencies = (rows["send_ns"] - rows["event_ns"]).to_numpy() / 1e9
    p50, p99, p999 = (quantile(latencies, q) for q in (0.5, 0.99, 0.999))
    latency = found["latency"]
    assert found["messages"] == len(rows) > 10
    assert latency["p50_sec"] == pytest.approx(p50, rel=0.01)
    assert latency["p99_sec"] == pytest.approx(p99, rel=0.01)
    assert latency["p99.9_sec"] == pytest.approx(p999, rel=0.01)
    jitter = np.abs(np.diff(latencies)).mean()
    assert latency["jitter_sec"] == pytest.approx(jitter, rel=0.01, abs=0.0005)
    assert found["rate_per_sec"] == pytest.approx(len(rows) / SECONDS, rel=0.01)
    assert 0 <= latency["exact_timestamps_ratio"] <= 1
    assert found["own_delay_p99_sec"] >= found["own_delay_p50_sec"] > 0


def test_losses_are_those_of_the_ground_truth(measured: Measured) -> None:
    truth = measured.ground_truth
    trades = truth[truth["stream"] == "btcusdt@trade"].sort_values("first_id")
    sent = trades["outcome"] == "sent"
    # What is dropped before the first or after the last message that arrives cannot be seen, and
    # when it disconnects is up to the probe.
    dropped = int((~sent).sum())
    assert dropped / 2 < measured.stream("trade")["lost"] <= dropped
    assert measured.stream("aggTrade")["lost"] == 0


def test_a_stream_without_event_time_has_a_rate_only(measured: Measured) -> None:
    ticker = measured.stream("bookTicker")
    assert (ticker["latency"], ticker["lost"]) == (None, None)
    assert ticker["rate_per_sec"] > 1


def test_the_document_says_what_the_numbers_rest_on(measured: Measured) -> None:
    document = measured.document
    assert (document["version"], document["complete"], document["connected"]) == (1, True, True)
    assert document["measured_sec"] == pytest.approx(SECONDS)
    assert document["clock"]["source"] == "shared"
    assert abs(document["exchange_clock"]["offset_sec"]) < 1
    assert document["timestamps"] in {"capture", "socket"}


def test_by_default_it_prints_a_table_of_btcusdt_and_which_conditions_are_met(
    exchange: ExchangeProcess,
) -> None:
    conditions = ["--fail-if", "p99>1ms", "--fail-if", "p50>10s", "--fail-if", "rate<1000/s"]
    done = try_("1s", *flags(exchange), *conditions, PROBE_METRICS_PORT="no-port")
    assert done.returncode == 1, done.stderr
    assert "\nBTCUSDT trade " in done.stdout
    failed = [line[2:].split(":")[0] for line in done.stdout.splitlines() if line[:1] == "!"]
    assert failed[:2] == ["p99>1ms", "rate<1000/s"]
    assert "p50>10s" not in failed
    assert "\x1b" not in done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    (line,) = done.stderr.splitlines()[-1:]
    assert line.startswith("probe: measuring")


def test_a_symbol_without_messages_is_exit_code_6(exchange: ExchangeProcess) -> None:
    done = try_("1s", *flags(exchange), "--symbols", "NOSUCH", "--fail-if", "p99>1s")
    assert done.returncode == 6, done.stderr
    assert "no message of NOSUCH trade arrived in 1 s; check --symbols" in done.stderr
    assert "! p99>1s: p99 of NOSUCH trade is unknown." in done.stdout


def test_an_exchange_that_cannot_be_reached_is_exit_code_15(refusing: socket.socket) -> None:
    host, port = refusing.getsockname()[:2]
    url = f"ws://{host}:{port}"
    done = try_("1s", "--json", "--endpoint", url, "--time-endpoint", "")
    assert done.returncode == 15, done.stderr
    assert f"probe: The probe cannot reach {url}: tcp: Connect call failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["connected"] is False


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_ends_it_early_with_the_numbers_so_far(
    exchange: ExchangeProcess, number: signal.Signals, code: int
) -> None:
    command = [PROBE, "try", "1h", "--json", *flags(exchange)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while "measuring" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    document = json.loads(output)
    assert process.returncode == code
    assert document["complete"] is False
    assert document["streams"][0]["stream"] == "trade"


def in_terminal(arguments: list[str], **environment: str) -> tuple[int, str]:
    """Exit code and all that a terminal of 80 columns was sent."""
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    env = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    seen = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # what the end of a terminal is on Linux
            while part := os.read(controller, 65536):
                seen.extend(part)

    with subprocess.Popen(
        [PROBE, "try", *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=env | {"TERM": "xterm-256color"} | environment,
    ) as process:
        os.close(terminal)
        reader = threading.Thread(target=read)
        reader.start()
        code = process.wait(timeout=50)
        reader.join()
    os.close(controller)
    return code, seen.decode()


def test_a_terminal_shows_a_live_table_and_then_the_final_one(exchange: ExchangeProcess) -> None:
    code, seen = in_terminal(["2s", *flags(exchange), "--fail-if", "p99>1ms"])
    assert code == 1
    live, _, final = seen.rpartition("\x1b[?25h")  # the cursor is back
    assert "\x1b[?25l" in live
    assert "measuring, " in live
    assert "left" not in final
    assert "BTCUSDT trade" in final
    assert "\x1b[1;31m! p99>1ms" in final


def test_a_terminal_that_cannot_be_redrawn_gets_plain_lines(exchange: ExchangeProcess) -> None:
    code, seen = in_terminal(["1s", *flags(exchange), "--fail-if", "p99>1ms"], TERM="dumb")
    assert code == 1
    assert "probe: measuring" in seen
    assert "! p99>1ms" in seen
    assert "\x1b" not in seen


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
def test_color_is_for_terminals_that_have_it_and_users_who_want_it(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class FakeTerminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_color(FakeTerminal())
    assert not wants_color(io.StringIO())
    assert not wants_color(None)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert not wants_color(FakeTerminal())


def settings(*arguments: str) -> Settings:
    parsed = command_line.parse(["try", *arguments])
    assert isinstance(parsed, command_line.TryOptions)
    return parsed.settings()


def test_without_an_experiment_file_it_measures_one_stream(tmp_path: Path) -> None:
    data = settings().experiment.market_data
    assert (data.market, data.symbols, data.streams) == ("spot", ["BTCUSDT"], ["trade"])
    data = settings("--streams", "aggTrade").experiment.market_data
    assert (data.symbols, data.streams) == (["BTCUSDT"], ["aggTrade"])
    file = tmp_path / "experiment.yaml"
    shipped = Path(command_line.__file__).resolve().parents[1] / "experiment.yaml"
    file.write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    data = settings("--config", str(file)).experiment.market_data
    assert data.symbols == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
    assert "depth@100ms" in data.streams


def test_it_logs_errors_only_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().log_level == "error"
    monkeypatch.setenv("PROBE_LOG_LEVEL", "debug")
    assert settings().log_level == "debug"
    assert settings("--log-level", "info").log_level == "info"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0s"], "'0s' is not a duration such as 300, 5m or 1h"),
        (["1.5s"], "is not a duration"),
        (["25h"], "'25h' is more than a day; run probe run instead"),
        (["--fail-if", "p99>20"], "needs a unit after the number"),
        (["--metrics-port", "1"], "unrecognized arguments: --metrics-port"),
    ],
)
def test_arguments_that_make_no_sense_are_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main(["try", *arguments])
    assert exited.value.code == 2
    assert message in capsys.readouterr().err


def test_settings_that_cannot_work_are_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["try", "1s", "--ca-file", "/nowhere.pem"]) == 2
    assert "probe: --ca-file /nowhere.pem cannot be used" in capsys.readouterr().err
