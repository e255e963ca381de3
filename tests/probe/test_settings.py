"""Flags weigh more than the environment, and that more than the experiment file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract.experiment import ExperimentError
from latency_sweep.probe.net.receiving import Receiving, Timestamps
from latency_sweep.probe.options import settings_of
from latency_sweep.probe.settings import Settings, SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def resolve(*flags: str, **environment: str) -> Settings:
    return settings_of(flags, environment)


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
    ("flags", "sentence"),
    [
        (
            ("--warmup-sec", "0"),
            "--warmup-sec: input should be greater than or equal to 1, got 0.",
        ),
        (
            ("--symbols", "ETHUSDT,btcusdt"),
            (
                "--symbols: must be a symbol as Binance lists it, in capitals, like BTCUSDT or "
                "BTCUSD_PERP, got 'btcusdt'."
            ),
        ),
        (("--symbols", ","), "--symbols: must name at least one."),
        (
            ("--streams", "BTCUSDT@trade"),
            (
                "--streams: must be a stream's name without its symbol, like trade or depth@100ms, "
                "got 'BTCUSDT@trade'."
            ),
        ),
        (
            ("--endpoint", "stream.binance.com"),
            (
                "--endpoint: must be a URL like wss://stream.binance.com:9443, "
                "got 'stream.binance.com'."
            ),
        ),
        (
            ("--time-endpoint", "nowhere"),
            (
                "--time-endpoint: must be a URL like https://api.binance.com/api/v3/time, "
                "got 'nowhere'."
            ),
        ),
    ],
)
def test_a_bad_override_names_its_flag_and_the_mend(flags: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        resolve(*flags)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "PROBE_ENDPOINT",
            "",
            "PROBE_ENDPOINT: must be a URL like wss://stream.binance.com:9443, got ''.",
        ),
        (
            "PROBE_SYMBOLS",
            "btc-usd",
            (
                "PROBE_SYMBOLS: must be a symbol as Binance lists it, in capitals, like BTCUSDT "
                "or BTCUSD_PERP, got 'btc-usd'."
            ),
        ),
        (
            "PROBE_ENDPOINT",
            "ws://h:70000",
            "PROBE_ENDPOINT: must have a port of 1 to 65535, or none, got 'ws://h:70000'.",
        ),
    ],
)
def test_a_bad_override_by_a_variable_names_the_variable(
    variable: str, value: str, sentence: str
) -> None:
    with pytest.raises(ExperimentError) as caught:
        resolve(**{variable: value})
    assert str(caught.value) == sentence


def test_a_bad_flag_is_blamed_even_where_its_variable_is_good() -> None:
    with pytest.raises(ExperimentError, match=r"^--symbols: "):
        resolve("--symbols", "btcusdt", PROBE_SYMBOLS="BTCUSDT")


def test_a_probe_may_leave_out_the_streams_of_the_evidence() -> None:
    assert resolve("--streams", "bookTicker").experiment.market_data.streams == ["bookTicker"]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PROBE_WARMUP_SEC", "soon", "PROBE_WARMUP_SEC='soon' is not a whole number"),
        ("PROBE_MARKET", "moon", "PROBE_MARKET='moon' is not one of spot, usdm, coinm, sbe"),
        ("PROBE_TIME_INTERVAL_SEC", "x", "PROBE_TIME_INTERVAL_SEC='x' is not a number"),
        ("PROBE_REGION", "a\nb", r"PROBE_REGION='a\\nb' is not non-empty, printable text"),
        ("PROBE_REGION", "", "PROBE_REGION='' is not non-empty, printable text"),
        ("PROBE_REGION", "\udcff", "is not non-empty, printable text"),
        ("PROBE_FINAL_SCRAPE_WAIT_SEC", "-1", "PROBE_FINAL_SCRAPE_WAIT_SEC=-1 is not 0 to 3600"),
        ("PROBE_METRICS_PORT", "70000", "PROBE_METRICS_PORT=70000 is not 0 to 65535"),
        ("PROBE_PIN_ADDRESS", "here", "PROBE_PIN_ADDRESS='here' is not an IP address"),
    ],
)
def test_a_bad_variable_names_itself(variable: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve(**{variable: value})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--metrics-port", "70000"), "--metrics-port 70000 is not 0 to 65535."),
        (("--connections", "6"), "--connections 6 is not 1 to 5."),
        (("--time-interval-sec", "nan"), "--time-interval-sec nan is not 0.5 to 3600."),
        (("--pin-address", "here"), "--pin-address 'here' is not an IP address."),
        (
            ("--metrics-host", ""),
            "--metrics-host '' is empty; 0.0.0.0 or :: listens on all addresses.",
        ),
        (("--metrics-host", "a..b"), "--metrics-host 'a..b' is not a host's name or address."),
    ],
)
def test_a_flag_beyond_its_limits_names_itself(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(*flags)
    assert str(caught.value) == message


def test_the_last_values_stay_for_one_scrape_interval_unless_told() -> None:
    chosen = resolve()
    assert chosen.final_scrape_wait_sec == chosen.experiment.timing.scrape_interval_sec
    assert resolve("--final-scrape-wait-sec", "0").final_scrape_wait_sec == 0


def test_another_experiment_file(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"gone\.yaml"):
        resolve("--config", str(tmp_path / "gone.yaml"))


def test_timestamps_come_from_the_socket_and_nothing_polls_unless_asked_for() -> None:
    assert resolve().receiving == Receiving(Timestamps.AUTO, 0)
    chosen = resolve("--timestamps", "capture", PROBE_BUSY_POLL_US="50")
    assert chosen.receiving == Receiving(Timestamps.CAPTURE, 50)


@pytest.mark.parametrize("value", ["-1", "1000001"])
def test_polling_for_an_impossible_time_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"--busy-poll-us .* is not 0 to 1000000"):
        resolve("--busy-poll-us", value)
