"""Flags weigh more than the environment, and that more than the experiment file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from probe import settings
from probe.contract.experiment import ExperimentError
from probe.net.receiving import Receiving, Stamps
from probe.settings import Settings, SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def resolve(*flags: str, **environment: str) -> Settings:
    parser = argparse.ArgumentParser()
    settings.add_flags(parser)
    return settings.resolve(parser.parse_args(flags), environment)


def test_defaults_come_from_the_experiment() -> None:
    chosen = resolve()
    assert chosen.experiment.timing.warmup_sec == 300
    assert chosen.experiment_id == "binance-latency-sweep"
    assert (chosen.metrics_host, chosen.metrics_port) == ("127.0.0.1", 9090)


def test_the_environment_weighs_more_than_the_experiment() -> None:
    chosen = resolve(PROBE_WARMUP_SEC="7", PROBE_SYMBOLS="BTCUSDT, ETHUSDT", PROBE_REGION="x")
    assert chosen.experiment.timing.warmup_sec == 7
    assert chosen.experiment.market_data.symbols == ["BTCUSDT", "ETHUSDT"]
    assert chosen.region == "x"


def test_a_flag_weighs_more_than_the_environment() -> None:
    chosen = resolve("--warmup-sec", "8", PROBE_WARMUP_SEC="7")
    assert chosen.experiment.timing.warmup_sec == 8


def test_an_empty_time_endpoint_means_none() -> None:
    assert resolve("--time-endpoint", "").experiment.market_data.time_endpoint is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--warmup-sec", "0"), r"--warmup-sec: .*got 0"),
        (("--symbols", "btc/usdt"), r"--symbols: .*btc/usdt"),
        (("--endpoint", "stream.binance.com"), r"--endpoint: "),
        (("--time-endpoint", "nowhere"), r"--time-endpoint: "),
    ],
)
def test_a_bad_override_names_its_flag(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        resolve(*flags)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PROBE_WARMUP_SEC", "soon", "PROBE_WARMUP_SEC='soon' is not a whole number"),
        ("PROBE_MARKET", "moon", "PROBE_MARKET='moon' is not one of spot, usdm, sbe"),
        ("PROBE_TIME_INTERVAL_SEC", "x", "PROBE_TIME_INTERVAL_SEC='x' is not a number"),
        ("PROBE_REGION", "a\nb", r"PROBE_REGION='a\\nb' is not printable text"),
        ("PROBE_REGION", "\udcff", "is not printable text"),
        ("PROBE_FINAL_SCRAPE_WAIT_SEC", "-1", "--final-scrape-wait-sec -1 is not 0 to 3600"),
        ("PROBE_METRICS_PORT", "70000", "--metrics-port 70000 is not a port"),
    ],
)
def test_a_bad_variable_names_itself(variable: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve(**{variable: value})


def test_the_last_values_stay_for_one_scrape_interval_unless_told() -> None:
    chosen = resolve()
    assert chosen.final_scrape_wait_sec == chosen.experiment.timing.scrape_interval_sec
    assert resolve("--final-scrape-wait-sec", "0").final_scrape_wait_sec == 0


def test_another_experiment_file(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"gone\.yaml"):
        resolve("--config", str(tmp_path / "gone.yaml"))


def test_stamps_come_from_the_socket_and_nothing_polls_unless_asked_for() -> None:
    assert resolve().receiving == Receiving(Stamps.SOCKET, 0)
    chosen = resolve("--stamps", "capture", PROBE_BUSY_POLL_US="50")
    assert chosen.receiving == Receiving(Stamps.CAPTURE, 50)


@pytest.mark.parametrize("value", ["-1", "1000001"])
def test_polling_for_an_impossible_time_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"--busy-poll-us .* is not 0 to 1000000"):
        resolve("--busy-poll-us", value)
