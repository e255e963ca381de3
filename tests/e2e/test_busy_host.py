"""A place whose probe hardly gets to run: its runs are excluded, and the right place wins."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from latency_sweep.contract import experiment
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.lab.exchange import config as exchange_config
from latency_sweep.lab.exchange.process import ExchangeProcess
from latency_sweep.lab.local.environment import clean_environment
from latency_sweep.lab.local.stack import console_command
from latency_sweep.runtime.child import Child, Priority
from tests.e2e.test_clock_faults import address, analyze, scraped, sleep_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latency_sweep.lab.binaries.prometheus_binary import Binaries

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(400)]

# Latency of each place, ms: far apart, so that another load of the machine changes nothing.
LATENCY_MS = {"i-quick": 100.0, "i-starved": 120.0, "i-slow": 200.0}
RUNS = 4
STOPPED_SEC, RUNNING_SEC = 0.15, 0.03


def experiment_file(folder: Path) -> Path:
    """The shipped experiment with seconds for hours, so that little evidence decides."""
    document = experiment.load().model_dump(by_alias=True)
    document |= {"name": "clock-faults", "time_strata": {}}
    document["timing"] = {
        "warmup_sec": 2,
        "measurement_sec": 4,
        "cooldown_sec": 3,  # one scrape after the end is enough
        "scrape_interval_sec": 1,
    }
    document["market_data"] |= {"symbols": ["BTCUSDT"], "streams": ["trade"]}
    # Four runs give a p of 2 / 2^4.
    document["decision"] |= {
        "confidence": 0.8,
        "equivalence_ratio": 0.2,
        "bootstrap_resamples": 200,
    }
    document["decision"]["constraints"] |= {
        "p99_sec": 1.0,
        "reconnects_per_hour": 5_000,
        "loss_ratio": 0.5,
        "min_samples": 500,
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


@contextmanager
def starved(pid: int) -> Iterator[None]:
    """Let a process run in short slices only."""
    enough = Event()

    def stop_and_go() -> None:
        while not enough.is_set():
            os.kill(pid, signal.SIGSTOP)
            enough.wait(STOPPED_SEC)
            os.kill(pid, signal.SIGCONT)
            enough.wait(RUNNING_SEC)

    thread = Thread(target=stop_and_go)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@pytest.fixture(scope="module")
def verdict(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What `analyze` says of four runs of all places."""
    folder = tmp_path_factory.mktemp("busy")
    config = experiment_file(folder)
    timeline = Timeline.of(experiment.load(config).timing)
    market = exchange_config.ExchangeConfig(
        sites={
            place: exchange_config.SiteConfig(latency=exchange_config.Constant(ms=ms))
            for place, ms in LATENCY_MS.items()
        },
        symbols={"BTCUSDT": exchange_config.Symbol(trades_per_sec=250.0)},
    )
    with ExitStack() as cleanup:
        exchange = cleanup.enter_context(ExchangeProcess(market, folder))
        probes = {}
        for place in LATENCY_MS:
            command = [console_command("probe"), "run", "--config", str(config)]
            command += ["--symbols", "BTCUSDT", "--streams", "trade"]
            command += ["--endpoint", exchange.url(place), "--time-endpoint", exchange.time_url]
            command += ["--clock-source", "shared", "--time-interval-sec", "0.5"]
            command += ["--metrics-port", "0", "--timestamps", "socket"]
            child = Child(
                place,
                command,
                folder=folder,
                environment=clean_environment(),
                priority=Priority.PROMPT,
            )
            probes[place] = cleanup.enter_context(child)
        targets = {place: address(probe) for place, probe in probes.items()}
        prometheus = cleanup.enter_context(scraped(targets, prometheus_binaries, folder))
        first = last = timeline.run_after(timeline.run_at(time.time_ns()))
        for _ in range(RUNS - 1):
            last = timeline.run_after(last)
        with starved(probes["i-starved"].pid):
            # Until the next run's measurement the last totals are exposed.
            sleep_until(last.end_ns + NS_PER_SEC)
        found = analyze(prometheus, config, (first, last))
        for probe in probes.values():
            probe.ask_to_stop()
    return found


def runs_of(verdict: dict[str, Any], place: str) -> list[dict[str, Any]]:
    (row,) = [row for row in verdict["ranking"] if row["name"].split("/")[1] == place]
    return list(row["runs"])


def test_every_run_of_the_starved_probe_is_excluded_because_it_was_starved(
    verdict: dict[str, Any],
) -> None:
    runs = runs_of(verdict, "i-starved")
    assert len(runs) == RUNS
    for run in runs:
        assert any(
            reason.startswith("the host of i-starved was too busy to measure: ")
            for reason in run["reasons"]
        ), run


def test_the_right_place_wins_by_runs_that_are_not_excluded(verdict: dict[str, Any]) -> None:
    for place in ("i-quick", "i-slow"):
        assert [run["reasons"] for run in runs_of(verdict, place)] == [[]] * RUNS
    assert (verdict["kind"], verdict["winner"].split("/")[1]) == ("winner", "i-quick")


def test_the_least_p99_of_the_starved_probe_is_no_larger_than_the_true_one(
    verdict: dict[str, Any],
) -> None:
    """What was read is far larger; the exchange itself sends no later than to the quick place."""
    quick = runs_of(verdict, "i-quick")
    for run, beside in zip(runs_of(verdict, "i-starved"), quick, strict=True):
        late_by_exchange = beside["p99_sec"] - LATENCY_MS["i-quick"] / 1e3
        true_sec = LATENCY_MS["i-starved"] / 1e3 + late_by_exchange
        assert run["p99_sec"] - run["p99_lateness_sec"] <= true_sec < run["p99_sec"]
