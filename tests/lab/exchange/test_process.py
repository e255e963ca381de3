"""The exchange as a process: readiness, clean stop, exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from latency_sweep.lab.exchange.__main__ import main
from latency_sweep.lab.exchange.process import ExchangeProcess, ExchangeProcessError
from latency_sweep.runtime.child import ChildError
from tests.lab.exchange.clients import documents, drain

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from latency_sweep.lab.exchange.config import ExchangeConfig

    Spawn = Callable[..., ExchangeProcess]


async def test_a_clean_stop_closes_with_1001_and_completes_the_truth(
    spawn: Spawn, client_tls: ssl.SSLContext
) -> None:
    exchange = spawn()
    url = f"{exchange.url('tokyo')}/stream?streams=btcusdt@trade/btcusdt@bookTicker"
    async with connect(url, ssl=client_tls, proxy=None, max_queue=None) as client:
        received = await documents(client, 50)
        stopping = asyncio.create_task(asyncio.to_thread(exchange.stop))
        received += await drain(client)
        await stopping
        assert client.close_code == 1001
    actual = exchange.ground_truth("tokyo")
    assert [m["stream"] for m in received] == actual[actual["outcome"] == "sent"]["stream"].tolist()


async def test_each_site_has_the_latency_it_was_given(
    spawn: Spawn, client_tls: ssl.SSLContext
) -> None:
    medians_ms = {"near": 5.0, "middle": 40.0, "far": 160.0}
    sites = {
        name: {"latency": {"distribution": "lognormal", "median_ms": median_ms, "sigma": 0.05}}
        for name, median_ms in medians_ms.items()
    }
    symbols = {"BTCUSDT": {"trades_per_sec": 100, "mean_fills": 1, "bursts": {"probability": 0}}}
    exchange = spawn(sites=sites, symbols=symbols)

    async def watch(site: str) -> None:
        url = f"{exchange.url(site)}/ws/btcusdt@trade"
        async with connect(url, ssl=client_tls, proxy=None, max_queue=None) as client:
            await documents(client, 100)

    await asyncio.gather(*map(watch, sites))
    fastest_ms, typical_ms = {}, {}
    for site in sites:
        actual = exchange.ground_truth(site)
        sent = actual[actual["outcome"] == "sent"]
        latency_ms = (sent["send_ns"] - sent["event_ns"]) / 1e6
        fastest_ms[site], typical_ms[site] = latency_ms.min(), latency_ms.median()
    # A busy machine only ever adds: what was fastest shows the distribution's lower end.
    assert {
        site: 0.75 * median_ms < fastest_ms[site] < 1.1 * median_ms + 3
        for site, median_ms in medians_ms.items()
    } == dict.fromkeys(medians_ms, True)
    assert typical_ms["near"] < typical_ms["middle"] < typical_ms["far"]


def test_the_ready_file_repeats_the_announcement(spawn: Spawn, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    exchange = spawn(ready_file=str(ready))
    announced = json.loads(ready.read_text())
    assert announced["sites"]["tokyo"]["url"] == exchange.url("tokyo")
    assert announced["rest"] == exchange.rest_url
    assert announced["control"] == exchange.control_url


def test_without_tls_the_addresses_are_plain(spawn: Spawn) -> None:
    exchange = spawn(tls=None)
    assert exchange.url("tokyo").startswith("ws://127.0.0.1:")
    assert exchange.time_url.startswith("http://127.0.0.1:")


def test_commands_and_counters_are_reached_from_outside(spawn: Spawn) -> None:
    exchange = spawn()
    assert exchange.control("stall", site="tokyo") == 0
    assert exchange.stats()["sites"]["tokyo"]["connections"] == 0


def test_a_refused_command_carries_the_exchange_s_words(spawn: Spawn) -> None:
    with pytest.raises(ExchangeProcessError, match="there is no site 'paris'"):
        spawn().control("flush", site="paris")


def test_an_exchange_that_ends_early_is_an_error_with_its_words(
    configure: Callable[..., ExchangeConfig], tmp_path: Path
) -> None:
    config = configure(replay={"file": str(tmp_path / "none.gz")})
    with pytest.raises(ChildError, match=r"none\.gz: cannot be read: No such file"):
        ExchangeProcess(config, tmp_path).start()


def test_an_interrupt_is_a_clean_stop(spawn: Spawn) -> None:
    exchange = spawn()
    assert exchange._child is not None
    os.kill(exchange._child.pid, signal.SIGINT)
    # `stop` sends SIGTERM, which no handler takes any more while the interpreter winds up.
    assert exchange._child.wait(within_sec=30) == 0
    exchange.stop()
    assert exchange.pid is None


def test_stopping_twice_does_nothing(spawn: Spawn) -> None:
    exchange = spawn()
    exchange.stop()
    exchange.stop()


@pytest.mark.parametrize(
    ("change", "code", "fault"),
    [
        ({"seed": -1}, 2, "seed: input should be greater than or equal to 0"),
        ({"replay": {"file": "none.gz"}}, 2, "none.gz: cannot be read"),
        ({"tls": {"cert": "none.pem", "key": "none.key"}}, 69, "none.pem and none.key"),
        ({"ground_truth_dir": "/proc/none"}, 69, "the exchange cannot start"),
        ({"ready_file": "/proc/none/ready"}, 69, "ready_file /proc/none/ready cannot be written"),
    ],
)
def test_a_mistake_is_one_sentence_and_an_exit_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    code: int,
    fault: str,
) -> None:
    path = tmp_path / "exchange.json"
    path.write_text(json.dumps({"sites": {"a": {}}, "symbols": {"BTCUSDT": {}}} | change))
    assert main(["--config", str(path)]) == code
    error = capsys.readouterr().err
    assert fault in error
    assert error.count("\n") == 1


def test_the_command_line_can_name_the_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "exchange.json"
    path.write_text(json.dumps({"sites": {"a": {}}, "symbols": {"BTCUSDT": {}}}))
    assert main(["--config", str(path), "--replay", "other.gz"]) == 2
    assert "other.gz: cannot be read" in capsys.readouterr().err


def test_the_module_runs_by_name() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "latency_sweep.lab.exchange", "--help"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert "python -m latency_sweep.lab.exchange" in finished.stdout
