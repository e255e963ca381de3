"""The flags of a probe, also read from the environment; parsed into `Settings`."""

from __future__ import annotations

import argparse
import ipaddress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel, ValidationError

from latency_sweep.contract import experiment
from latency_sweep.contract.exchange_info import ExchangeInfoError, check_listed
from latency_sweep.contract.experiment import Experiment, ExperimentError
from latency_sweep.contract.markets import MARKETS
from latency_sweep.contract.values import MAX_PORT
from latency_sweep.probe.clock.local import AUTO, SOURCES
from latency_sweep.probe.net.receiving import Receiving, Timestamps
from latency_sweep.probe.settings import MAX_CONNECTIONS, Settings, SettingsError, read_api_key
from latency_sweep.probe.tuning import Tuning
from latency_sweep.runtime.logs import LEVELS, LogFormat
from latency_sweep.runtime.options import (
    CA_FILE_HELP,
    CONFIG_HELP,
    EXCHANGE_INFO_HELP,
    EXPERIMENT_ID_HELP,
    LOG_FORMAT_HELP,
    LOG_LEVEL_HELP,
    MARKET_HELP,
    SHIPPED,
    STREAMS_HELP,
    SYMBOLS_HELP,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEFAULT_METRICS_PORT: Final = 9090
MAX_BUSY_POLL_US: Final = 1_000_000
MAX_FINAL_SCRAPE_WAIT_SEC: Final = 3600.0
API_KEY_VARIABLE: Final = "PROBE_API_KEY"
# Five requests each time: at most 600 of the 2,400 a minute that the stricter market allows, and
# often enough to see a drift within a run.
_MIN_TIME_INTERVAL_SEC: Final = 0.5
_MAX_TIME_INTERVAL_SEC: Final = 3600.0
_SWITCH: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


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
    """A text that is put into labels and pages, where an empty one would say nothing."""
    if not text.strip() or not text.isprintable():
        raise ValueError(text)
    return text


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


_WANTED: Final[Mapping[Callable[[str], object], str]] = {
    _switch: "yes or no",
    int: "a whole number",
    float: "a number",
    printable_text: "non-empty, printable text",
}
_FLAGS: Final = (
    _Flag("--config", f"{CONFIG_HELP} ({SHIPPED})", Path, metavar="FILE"),
    _Flag("--region", "AWS region this probe runs in", printable_text, default="local"),
    _Flag("--instance-family", "instance family it runs on", printable_text, default="local"),
    _Flag("--az-id", "id of its availability zone, as apne1-az4", printable_text, default="local"),
    _Flag("--instance-type", "its instance type", printable_text, default="local"),
    _Flag(
        "--experiment-id",
        f"{EXPERIMENT_ID_HELP} (default: the experiment file's name)",
        printable_text,
    ),
    _Flag("--symbols", f"{SYMBOLS_HELP} (default: the experiment's)", _names, metavar="NAMES"),
    _Flag("--exchange-info", EXCHANGE_INFO_HELP, Path, metavar="FILE"),
    _Flag("--streams", f"{STREAMS_HELP} (default: the experiment's)", _names, metavar="NAMES"),
    _Flag("--market", f"{MARKET_HELP} (default: the experiment's)", choices=MARKETS),
    _Flag(
        "--endpoint", "WebSocket base URL of the feed (default: the experiment's)", metavar="URL"
    ),
    _Flag(
        "--time-endpoint",
        "URL of the exchange's time, empty for none (default: the experiment's)",
        metavar="URL",
    ),
    _Flag(
        "--time-interval-sec",
        "seconds between queries of the exchange's time",
        float,
        metavar="N",
        default=60.0,
    ),
    _Flag("--warmup-sec", "warm-up of each run, seconds", int, metavar="N"),
    _Flag("--measurement-sec", "measurement of each run, seconds", int, metavar="N"),
    _Flag("--cooldown-sec", "cool-down of each run, seconds", int, metavar="N"),
    _Flag(
        "--metrics-host",
        "address the metrics endpoint listens on; 0.0.0.0 or :: for all",
        default="127.0.0.1",
    ),
    _Flag(
        "--metrics-port",
        "port of the metrics endpoint; 0 picks a free one",
        int,
        metavar="N",
        default=DEFAULT_METRICS_PORT,
    ),
    _Flag(
        "--web-config-file",
        "TLS, users and limits of the metrics endpoint, in the format of Prometheus exporters",
        Path,
        metavar="FILE",
    ),
    _Flag(
        "--bearer-token-file",
        "file with the bearer tokens that the metrics endpoint accepts, one per line",
        Path,
        metavar="FILE",
    ),
    _Flag(
        "--final-scrape-wait-sec",
        "how long to wait after SIGTERM for a scrape of the last values "
        "(default: the scrape interval)",
        float,
        metavar="N",
    ),
    _Flag(
        "--api-key-file", "file with the API key that the sbe market needs", Path, metavar="FILE"
    ),
    _Flag(
        "--connections",
        "parallel connections; the first arrival of each message counts",
        int,
        metavar="N",
        default=1,
    ),
    _Flag("--pin-address", "connect to this IP address of the endpoint", metavar="IP"),
    _Flag(
        "--all-addresses",
        "one connection to each IP address of the endpoint",
        _switch,
        switch=True,
        default=False,
    ),
    _Flag("--ca-file", f"{CA_FILE_HELP} (default: the system's)", Path, metavar="FILE"),
    _Flag(
        "--clock-source",
        "source of the local clock's error; shared: exchange and probe share a clock",
        choices=tuple(SOURCES),
        default=AUTO,
    ),
    _Flag("--cpu", "run on this CPU core only", int, metavar="N"),
    _Flag("--niceness", "-20 to 19; lower runs sooner", int, metavar="N"),
    _Flag("--realtime-priority", "1 to 99: real-time scheduling", int, metavar="N"),
    _Flag(
        "--low-latency-idle",
        "keep the CPU cores out of deep sleep: faster wake-ups, more power",
        _switch,
        switch=True,
        default=False,
    ),
    _Flag(
        "--timestamps",
        "source of receive timestamps: each read (socket), each segment (capture, needs "
        "CAP_NET_RAW), capture where it works and else socket (auto), or the network card (nic)",
        choices=tuple(Timestamps),
        default=Timestamps.AUTO.value,
    ),
    _Flag(
        "--busy-poll-us",
        "microseconds to poll for more data after some came, before sleeping",
        int,
        metavar="N",
        default=0,
    ),
    _Flag(
        "--record",
        "record every message in this file, which ends with .gz or .zst; not for sbe",
        Path,
        metavar="FILE",
    ),
    _Flag(
        "--log-format",
        LOG_FORMAT_HELP,
        choices=tuple(LogFormat),
        default=LogFormat.TEXT.value,
    ),
    _Flag("--log-level", LOG_LEVEL_HELP, choices=LEVELS, default="info"),
)


# What `probe try` has no use for: it has no runs, no labels and no endpoint.
_NOT_FOR_TRY: Final = frozenset(
    {
        *("--region", "--instance-family", "--az-id", "--instance-type", "--experiment-id"),
        *("--warmup-sec", "--measurement-sec", "--cooldown-sec", "--final-scrape-wait-sec"),
        *("--metrics-host", "--metrics-port", "--web-config-file", "--bearer-token-file"),
    }
)
# The table says what matters; lines of the log would disturb it.
TRY_LOG_LEVEL: Final = "error"
# What `probe try` measures without an experiment file.
_TRIED: Final[Mapping[str, object]] = {"--symbols": ["BTCUSDT"], "--streams": ["trade"]}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the probe's flags to a parser; unset ones stay None."""
    for flag in _FLAGS:
        default = "" if flag.default is None else f" (default: {flag.default})"
        _add_flag(parser, flag, f"{flag.help}{'' if flag.switch else default}")


def add_try_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `probe try` to a parser; unset ones stay None."""
    defaults = {
        "--symbols": "BTCUSDT, or those of --config",
        "--streams": "trade, or those of --config",
        "--log-level": TRY_LOG_LEVEL,
    }
    for flag in _FLAGS:
        if flag.name in _NOT_FOR_TRY:
            continue
        help_text = flag.help
        default = defaults.get(flag.name, "" if flag.switch else flag.default)
        if default is not None and default != "":
            help_text = f"{flag.help.partition(' (default')[0]} (default: {default})"
        _add_flag(parser, flag, help_text)


def _add_flag(parser: argparse.ArgumentParser, flag: _Flag, help_text: str) -> None:
    help_text = f"{help_text} [{flag.variable}]"
    if flag.switch:
        parser.add_argument(flag.name, action="store_const", const=True, help=help_text)
        return
    parser.add_argument(
        flag.name,
        type=partial(_of_argument, flag),
        choices=flag.choices,
        metavar=flag.metavar or (None if flag.choices else "NAME"),
        help=help_text,
    )


def settings_of(flags: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """The settings of `probe run` with these flags; see `resolve`.

    Raises:
        SystemExit: a flag is not valid.
    """
    parser = argparse.ArgumentParser("probe run", allow_abbrev=False)
    add_flags(parser)
    return resolve(parser.parse_args(flags), environment)


def resolve(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Combine flags, environment, experiment file and defaults, in that order of weight.

    Raises:
        SettingsError: a value of the environment or a port that cannot be used, or a symbol that
            the exchange does not list.
        ExperimentError: the experiment file, or an override of it, is not valid.
    """
    return _resolve(_Given(arguments, environment), environment)


def resolve_try(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The settings of `probe try`: as `resolve`, but for what is measured by default.

    Raises:
        SettingsError: see `resolve`.
        ExperimentError: see `resolve`.
    """
    unused = {flag.variable for flag in _FLAGS if flag.name in _NOT_FOR_TRY}
    used = {name: value for name, value in environment.items() if name not in unused}
    given = _Given(arguments, used)
    given.prefer("--log-level", TRY_LOG_LEVEL)
    if given["--config"] is None:
        for flag, value in _TRIED.items():
            given.prefer(flag, value)
    return _resolve(given, used)


def _resolve(given: _Given, environment: Mapping[str, str]) -> Settings:
    path = _optional_path(given["--config"])
    overridden = _override(experiment.load(path), given)
    _check_symbols(_optional_path(given["--exchange-info"]), overridden)
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
        az_id=str(given["--az-id"]),
        instance_type=str(given["--instance-type"]),
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
        record_file=_record_file(given, overridden),
        log_format=LogFormat(str(given["--log-format"])),
        log_level=str(given["--log-level"]),
    )


def _record_file(given: _Given, described: Experiment) -> Path | None:
    path = _optional_path(given["--record"])
    if path is not None and described.market_data.market == "sbe":
        raise SettingsError(
            "--record writes lines of text, and the messages of the sbe market are binary; record "
            "the same symbols on the spot market."
        )
    return path


class _Given:
    """What was given for each flag, and where, to be named in errors.

    Args:
        arguments: the parsed flags.
        environment: variables, for flags that were not given.

    Raises:
        SettingsError: the value of a variable cannot be used.
    """

    def __init__(self, arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
        self._values: dict[str, object | None] = {}
        self._names: dict[str, str] = {}
        self._defaults: set[str] = set()
        for flag in _FLAGS:
            name = flag.name.removeprefix("--").replace("-", "_")
            value: object = getattr(arguments, name, None)
            self._names[flag.name] = flag.name
            if value is None and flag.variable in environment:
                value = _of_variable(flag, environment[flag.variable])
                self._names[flag.name] = flag.variable
            if value is None:
                self._defaults.add(flag.name)
            self._values[flag.name] = flag.default if value is None else value

    def __getitem__(self, flag: str) -> object | None:
        return self._values[flag]

    def prefer(self, flag: str, value: object) -> None:
        """Use another default for a flag that was not given."""
        if flag in self._defaults:
            self._values[flag] = value

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


def _check_symbols(exchange_info: Path | None, chosen: Experiment) -> None:
    if exchange_info is None:
        return
    try:
        check_listed(exchange_info, chosen.market_data.symbols)
    except ExchangeInfoError as error:
        raise SettingsError(str(error)) from error


def _api_key(path: Path | None, environment: Mapping[str, str]) -> str | None:
    """The key from a file or the environment; there is no flag that would show it to `ps`."""
    return environment.get(API_KEY_VARIABLE) if path is None else read_api_key(path)


def _host(given: _Given, flag: str) -> str:
    text = str(given[flag])
    if not text:  # asyncio would listen on all addresses
        name = given.written(flag, repr(text))
        raise SettingsError(f"{name} is empty; 0.0.0.0 or :: listens on all addresses.")
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
        # A fault of the section as a whole names the options that it is about itself.
        name = given.name(_flag_of(str(fault["loc"][0]))) if fault["loc"] else "timing"
        raise ExperimentError(f"{name}: {experiment.describe(fault)}.") from error


def _flag_of(key: str) -> str:
    return "--" + key.replace("_", "-")
