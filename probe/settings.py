"""Settings of a probe: the experiment, overridden by environment variables and flags."""

from __future__ import annotations

import argparse
import ipaddress
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel, ValidationError

from latency_sweep.contract import experiment
from latency_sweep.contract.experiment import Experiment, ExperimentError
from latency_sweep.contract.values import MAX_PORT
from latency_sweep.probe.clock.local import AUTO, SOURCES
from latency_sweep.probe.net.receiving import Receiving, Timestamps
from latency_sweep.probe.tuning import Tuning
from latency_sweep.runtime.logs import LEVELS, LogFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEFAULT_METRICS_PORT: Final = 9090
# Binance allows an address 300 attempts to connect in five minutes. A connection that is cut again
# and again makes 60 of them: after 5 s it was a good one, and is replaced at once.
MAX_CONNECTIONS: Final = 5
MAX_BUSY_POLL_US: Final = 1_000_000
MAX_FINAL_SCRAPE_WAIT_SEC: Final = 3600.0
API_KEY_VARIABLE: Final = "PROBE_API_KEY"
# Five requests each time: at most 600 of the 2,400 a minute that the stricter market allows, and
# often enough to see a drift within a run.
_MIN_TIME_INTERVAL_SEC: Final = 0.5
_MAX_TIME_INTERVAL_SEC: Final = 3600.0
_SWITCH: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a probe needs to know.

    Attributes:
        experiment: the experiment with all overrides applied.
        experiment_id: value of the `experiment` label of `feed_probe_info`.
        region: what the probe was told of its region.
        instance_family: what it was told of its instance.
        metrics_host: address the metrics port listens on.
        metrics_port: that port; 0 picks a free one.
        web_config_file: rules of the metrics port in exporter-toolkit's format, or None.
        bearer_token_file: tokens that the metrics port lets in, or None.
        final_scrape_wait_sec: how long the last values stay after SIGTERM if nobody scrapes them.
        api_key: key of markets that need one, or None; never shown.
        api_key_file: where it was read, or None.
        connections: parallel connections; of several copies the first counts.
        pin_address: IP address of the exchange to use, or None.
        all_addresses: one connection to each address that the endpoint's name has.
        ca_file: certificate authorities to trust instead of the system's, or None.
        clock_source: name of the local clock's source.
        time_interval_sec: between asking the exchange for its time.
        receiving: where receive timestamps come from, and whether to poll.
        tuning: options that make the reader prompter.
        log_format: how a line of the log is written.
        log_level: the least that is logged, one of `runtime.logs.LEVELS`.
    """

    experiment: Experiment
    experiment_id: str
    region: str
    instance_family: str
    metrics_host: str
    metrics_port: int
    web_config_file: Path | None
    bearer_token_file: Path | None
    final_scrape_wait_sec: float
    api_key: str | None = field(repr=False)
    api_key_file: Path | None
    connections: int
    pin_address: str | None
    all_addresses: bool
    ca_file: Path | None
    clock_source: str
    time_interval_sec: float
    receiving: Receiving
    tuning: Tuning
    log_format: LogFormat
    log_level: str


class SettingsError(Exception):
    """Settings that cannot work; the message is one sentence that says which and why."""


@dataclass(frozen=True, slots=True)
class _Flag:
    """A flag, also readable from the environment as `PROBE_` and its name."""

    name: str
    help: str
    kind: Callable[[str], object] = str
    choices: tuple[str, ...] | None = None
    metavar: str | None = None
    default: object = None
    switch: bool = False

    @property
    def variable(self) -> str:
        return "PROBE_" + self.name.removeprefix("--").replace("-", "_").upper()


def _switch(text: str) -> bool:
    if text.lower() not in _SWITCH:
        raise ValueError(text)
    return _SWITCH[text.lower()]


def printable_text(text: str) -> str:
    """A text that is put into labels and pages."""
    if not text.isprintable():
        raise ValueError(text)
    return text


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


_WANTED: Final[Mapping[Callable[[str], object], str]] = {
    _switch: "yes or no",
    int: "a whole number",
    float: "a number",
    printable_text: "printable text",
}
_FLAGS: Final = (
    _Flag("--config", "experiment file (default: the one shipped)", Path, metavar="FILE"),
    _Flag("--region", "AWS region this probe runs in", printable_text, default="local"),
    _Flag("--instance-family", "instance family it runs on", printable_text, default="local"),
    _Flag(
        "--experiment-id", "experiment it belongs to (default: the file's name key)", printable_text
    ),
    _Flag("--symbols", "comma-separated symbols, BTCUSDT,ETHUSDT", _names, metavar="LIST"),
    _Flag("--streams", "comma-separated streams, trade,depth@100ms", _names, metavar="LIST"),
    _Flag("--market", "which market's feeds", choices=("spot", "usdm", "sbe")),
    _Flag("--endpoint", "WebSocket base URL of the feed", metavar="URL"),
    _Flag("--time-endpoint", "URL of the exchange's time; empty for none", metavar="URL"),
    _Flag(
        "--time-interval-sec",
        "seconds between asking the exchange for its time",
        float,
        metavar="N",
        default=60.0,
    ),
    _Flag("--warmup-sec", "warm-up of each run, seconds", int, metavar="N"),
    _Flag("--measurement-sec", "measurement of each run, seconds", int, metavar="N"),
    _Flag("--cooldown-sec", "cool-down of each run, seconds", int, metavar="N"),
    _Flag(
        "--metrics-host",
        "address the metrics port listens on; 0.0.0.0 or :: for all",
        default="127.0.0.1",
    ),
    _Flag(
        "--metrics-port",
        "metrics port; 0 picks a free one",
        int,
        metavar="N",
        default=DEFAULT_METRICS_PORT,
    ),
    _Flag(
        "--web-config-file",
        "TLS, users and limits of the metrics port, as Prometheus' exporters have them",
        Path,
        metavar="FILE",
    ),
    _Flag(
        "--bearer-token-file",
        "file with tokens that the metrics port lets in, one a line",
        Path,
        metavar="FILE",
    ),
    _Flag(
        "--final-scrape-wait-sec",
        "how long the last values stay after SIGTERM if nobody scrapes them "
        "(default: the scrape interval)",
        float,
        metavar="N",
    ),
    _Flag(
        "--api-key-file", "file with the API key that the sbe market needs", Path, metavar="FILE"
    ),
    _Flag(
        "--connections",
        "parallel connections; of several copies of a message the first counts",
        int,
        metavar="N",
        default=1,
    ),
    _Flag("--pin-address", "use this IP address of the endpoint", metavar="IP"),
    _Flag(
        "--all-addresses",
        "one connection to each address that the endpoint's name has",
        _switch,
        switch=True,
        default=False,
    ),
    _Flag("--ca-file", "trust these certificate authorities", Path, metavar="FILE"),
    _Flag(
        "--clock-source",
        "where the local clock's error is read; shared: exchange and probe use one clock",
        choices=tuple(SOURCES),
        default=AUTO,
    ),
    _Flag("--cpu", "run on this core only", int, metavar="N"),
    _Flag("--niceness", "-20 to 19; lower runs sooner", int, metavar="N"),
    _Flag("--realtime-priority", "1 to 99: run before all that is not real-time", int, metavar="N"),
    _Flag(
        "--low-latency-idle",
        "keep the cores out of deep sleep: wakes up sooner, costs power",
        _switch,
        switch=True,
        default=False,
    ),
    _Flag(
        "--timestamps",
        "where receive timestamps come from: each read (socket), each segment (capture, needs "
        "CAP_NET_RAW), or the network card (nic)",
        choices=tuple(Timestamps),
        default=Timestamps.SOCKET.value,
    ),
    _Flag(
        "--busy-poll-us",
        "after data came, keep asking for more for as long before sleeping, microseconds",
        int,
        metavar="N",
        default=0,
    ),
    _Flag(
        "--log-format",
        "how the log on standard error is written",
        choices=tuple(LogFormat),
        default=LogFormat.TEXT.value,
    ),
    _Flag("--log-level", "the least that is logged", choices=LEVELS, default="info"),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the probe's flags to a parser; unset ones stay None."""
    for flag in _FLAGS:
        if flag.switch:
            help_text = f"{flag.help} [{flag.variable}]"
            parser.add_argument(flag.name, action="store_const", const=True, help=help_text)
            continue
        default = "" if flag.default is None else f", default {flag.default}"
        parser.add_argument(
            flag.name,
            type=partial(_of_argument, flag),
            choices=flag.choices,
            metavar=flag.metavar or (None if flag.choices else "NAME"),
            help=f"{flag.help} [{flag.variable}{default}]",
        )


def resolve(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Combine flags, environment, experiment file and defaults, in that order of weight.

    Raises:
        SettingsError: a value of the environment or a port that cannot be used.
        ExperimentError: the experiment file, or an override of it, is not valid.
    """
    given = _Given(arguments, environment)
    path = _optional_path(given["--config"])
    overridden = _override(experiment.load(path), given)
    connections = given.number("--connections", 1, MAX_CONNECTIONS)
    all_addresses = bool(given["--all-addresses"])
    if all_addresses and (connections > 1 or given["--pin-address"] is not None):
        raise SettingsError(
            "--all-addresses opens one connection to each address; "
            "leave out --connections and --pin-address."
        )
    return Settings(
        experiment=overridden,
        experiment_id=str(given["--experiment-id"] or overridden.name),
        region=str(given["--region"]),
        instance_family=str(given["--instance-family"]),
        metrics_host=_host(given, "--metrics-host"),
        metrics_port=given.number("--metrics-port", 0, MAX_PORT),
        web_config_file=_optional_path(given["--web-config-file"]),
        bearer_token_file=_optional_path(given["--bearer-token-file"]),
        final_scrape_wait_sec=_final_wait(given, overridden),
        api_key=_api_key(_optional_path(given["--api-key-file"]), environment),
        api_key_file=_optional_path(given["--api-key-file"]),
        connections=connections,
        pin_address=_ip_address(given, "--pin-address"),
        all_addresses=all_addresses,
        ca_file=_optional_path(given["--ca-file"]),
        clock_source=str(given["--clock-source"]),
        time_interval_sec=given.seconds(
            "--time-interval-sec", _MIN_TIME_INTERVAL_SEC, _MAX_TIME_INTERVAL_SEC
        ),
        receiving=Receiving(
            Timestamps(str(given["--timestamps"])),
            given.number("--busy-poll-us", 0, MAX_BUSY_POLL_US),
        ),
        tuning=Tuning(
            cpu=_optional_int(given["--cpu"]),
            niceness=_optional_int(given["--niceness"]),
            realtime_priority=_optional_int(given["--realtime-priority"]),
            low_latency_idle=bool(given["--low-latency-idle"]),
        ),
        log_format=LogFormat(str(given["--log-format"])),
        log_level=str(given["--log-level"]),
    )


class _Given:
    """What was given for each flag, and where, to be named in complaints.

    Args:
        arguments: the parsed flags.
        environment: variables, for flags that were not given.

    Raises:
        SettingsError: the value of a variable cannot be used.
    """

    def __init__(self, arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
        self._values: dict[str, object | None] = {}
        self._names: dict[str, str] = {}
        for flag in _FLAGS:
            value: object = getattr(arguments, flag.name.removeprefix("--").replace("-", "_"))
            self._names[flag.name] = flag.name
            if value is None and flag.variable in environment:
                value = _of_variable(flag, environment[flag.variable])
                self._names[flag.name] = flag.variable
            self._values[flag.name] = flag.default if value is None else value

    def __getitem__(self, flag: str) -> object | None:
        return self._values[flag]

    def name(self, flag: str) -> str:
        """The flag, or the variable that its value is from."""
        return self._names[flag]

    def written(self, flag: str, value: str) -> str:
        """The flag or variable with its value, as one writes them."""
        name = self._names[flag]
        return f"{name} {value}" if name == flag else f"{name}={value}"

    def number(self, flag: str, least: int, most: int) -> int:
        """A whole number within limits.

        Raises:
            SettingsError: it is not within them.
        """
        value = self._values[flag]
        assert isinstance(value, int)
        if not least <= value <= most:
            raise SettingsError(f"{self.written(flag, str(value))} is not {least} to {most}.")
        return value

    def seconds(self, flag: str, least: float, most: float) -> float:
        """A number within limits.

        Raises:
            SettingsError: it is not within them.
        """
        value = self._values[flag]
        assert isinstance(value, float)
        if not least <= value <= most:
            text = self.written(flag, f"{value:g}")
            raise SettingsError(f"{text} is not {least:g} to {most:g}.")
        return value


def _optional_int(value: object | None) -> int | None:
    assert value is None or isinstance(value, int)
    return value


def _optional_path(value: object | None) -> Path | None:
    assert value is None or isinstance(value, Path)
    return value


def _final_wait(given: _Given, chosen: Experiment) -> float:
    flag = "--final-scrape-wait-sec"
    if given[flag] is None:
        return float(chosen.timing.scrape_interval_sec)
    return given.seconds(flag, 0, MAX_FINAL_SCRAPE_WAIT_SEC)


def _api_key(path: Path | None, environment: Mapping[str, str]) -> str | None:
    """The key from a file or the environment; there is no flag that would show it to `ps`."""
    return environment.get(API_KEY_VARIABLE) if path is None else read_api_key(path)


def read_api_key(path: Path) -> str:
    """The API key in a file.

    Raises:
        SettingsError: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingsError(f"--api-key-file {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"--api-key-file {path}: is no key of letters and digits.") from error


def _host(given: _Given, flag: str) -> str:
    text = str(given[flag])
    try:
        text.encode("idna")  # as the resolver does
    except UnicodeError:
        name = given.written(flag, repr(text))
        raise SettingsError(f"{name} is not a host's name or address.") from None
    return text


def _ip_address(given: _Given, flag: str) -> str | None:
    if given[flag] is None:
        return None
    text = str(given[flag])
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise SettingsError(f"{given.written(flag, repr(text))} is not an IP address.") from None


def _of_argument(flag: _Flag, text: str) -> object:
    try:
        return flag.kind(text)
    except ValueError:
        # Argparse by itself would name a type of the program.
        wanted = _WANTED.get(flag.kind, "usable")
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None


def _of_variable(flag: _Flag, text: str) -> object:
    try:
        value = _of_argument(flag, text)
    except argparse.ArgumentTypeError as error:
        raise SettingsError(f"{flag.variable}={error}.") from None
    if flag.choices is not None and value not in flag.choices:
        raise SettingsError(f"{flag.variable}={text!r} is not one of {', '.join(flag.choices)}.")
    return value


_Section = TypeVar("_Section", bound=BaseModel)
_TIMING_KEYS: Final = ("warmup_sec", "measurement_sec", "cooldown_sec")
_MAY_BE_NONE: Final = "time_endpoint"
_MARKET_DATA_KEYS: Final = ("market", "symbols", "streams", "endpoint", _MAY_BE_NONE)


def _override(base: Experiment, given: _Given) -> Experiment:
    """The experiment with what was given; one probe need not receive the evidence streams."""
    return base.model_copy(
        update={
            "timing": _overridden(base.timing, _TIMING_KEYS, given),
            "market_data": _overridden(base.market_data, _MARKET_DATA_KEYS, given),
        }
    )


def _overridden(section: _Section, keys: Sequence[str], given: _Given) -> _Section:
    document = section.model_dump(by_alias=True)
    for key in keys:
        value = given[_flag_of(key)]
        if value is not None:
            document[key] = None if value == "" and key == _MAY_BE_NONE else value
    try:
        return section.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = given.name(_flag_of(str(fault["loc"][0])))
        raise ExperimentError(f"{name}: {experiment.describe(fault)}.") from error


def _flag_of(key: str) -> str:
    return "--" + key.replace("_", "-")


def from_process(arguments: argparse.Namespace) -> Settings:
    """`resolve` with this process' environment."""
    return resolve(arguments, os.environ)
