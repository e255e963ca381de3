"""Settings of a probe: the experiment, overridden by environment variables and flags."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from probe.clock.local import AUTO, SOURCES
from probe.contract import experiment
from probe.contract.experiment import Experiment, ExperimentError
from probe.tuning import Tuning

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

DEFAULT_METRICS_PORT: Final = 9090
MAX_CONNECTIONS: Final = 16
API_KEY_VARIABLE: Final = "PROBE_API_KEY"
_MAX_PORT: Final = 65535
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
        api_key: key of markets that need one, or None; never shown.
        connections: parallel connections; of several copies the first counts.
        pin_address: IP address of the exchange to use, or None.
        all_addresses: one connection to each address that the endpoint's name has.
        ca_file: certificate authorities to trust instead of the system's, or None.
        clock_source: name of the local clock's source.
        tuning: options that make the reader prompter.
        log_level: name of the logging level.
    """

    experiment: Experiment
    experiment_id: str
    region: str
    instance_family: str
    metrics_host: str
    metrics_port: int
    api_key: str | None = field(repr=False)
    connections: int
    pin_address: str | None
    all_addresses: bool
    ca_file: Path | None
    clock_source: str
    tuning: Tuning
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


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


_FLAGS: Final = (
    _Flag("--config", "experiment file (default: the one shipped)", Path, metavar="FILE"),
    _Flag("--region", "AWS region this probe runs in", default="local"),
    _Flag("--instance-family", "instance family it runs on", default="local"),
    _Flag("--experiment-id", "experiment it belongs to (default: the file's name key)"),
    _Flag("--symbols", "comma-separated symbols, BTCUSDT,ETHUSDT", _names, metavar="LIST"),
    _Flag("--streams", "comma-separated streams, trade,depth@100ms", _names, metavar="LIST"),
    _Flag("--market", "which market's feeds", choices=("spot", "usdm", "sbe")),
    _Flag("--endpoint", "WebSocket base URL of the feed", metavar="URL"),
    _Flag("--time-endpoint", "URL of the exchange's time; empty for none", metavar="URL"),
    _Flag("--warmup-sec", "warm-up of each run, seconds", int, metavar="N"),
    _Flag("--measurement-sec", "measurement of each run, seconds", int, metavar="N"),
    _Flag("--cooldown-sec", "cool-down of each run, seconds", int, metavar="N"),
    _Flag("--metrics-host", "address the metrics port listens on", default="127.0.0.1"),
    _Flag(
        "--metrics-port",
        "metrics port; 0 picks a free one",
        int,
        metavar="N",
        default=DEFAULT_METRICS_PORT,
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
        "--log-level",
        "how much is logged",
        choices=("debug", "info", "warning", "error"),
        default="info",
    ),
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
            type=flag.kind,
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
    given = {flag.name: _given(flag, arguments, environment) for flag in _FLAGS}
    path = given["--config"]
    assert path is None or isinstance(path, Path)
    base = experiment.load(path)
    overridden = _override(base, given)
    port = given["--metrics-port"]
    assert isinstance(port, int)
    if not 0 <= port <= _MAX_PORT:
        raise SettingsError(f"--metrics-port {port} is not a port; use 0 to {_MAX_PORT}.")
    connections = given["--connections"]
    assert isinstance(connections, int)
    if not 1 <= connections <= MAX_CONNECTIONS:
        raise SettingsError(f"--connections {connections} is not 1 to {MAX_CONNECTIONS}.")
    pin_address = given["--pin-address"]
    all_addresses = bool(given["--all-addresses"])
    if all_addresses and (connections > 1 or pin_address is not None):
        raise SettingsError(
            "--all-addresses opens one connection to each address; "
            "leave out --connections and --pin-address."
        )
    ca_file = given["--ca-file"]
    assert ca_file is None or isinstance(ca_file, Path)
    return Settings(
        experiment=overridden,
        experiment_id=str(given["--experiment-id"] or overridden.name),
        region=str(given["--region"]),
        instance_family=str(given["--instance-family"]),
        metrics_host=str(given["--metrics-host"]),
        metrics_port=port,
        api_key=_api_key(given["--api-key-file"], environment),
        connections=connections,
        pin_address=None if pin_address is None else _ip_address(str(pin_address)),
        all_addresses=all_addresses,
        ca_file=ca_file,
        clock_source=str(given["--clock-source"]),
        tuning=Tuning(
            cpu=_optional_int(given["--cpu"]),
            niceness=_optional_int(given["--niceness"]),
            realtime_priority=_optional_int(given["--realtime-priority"]),
            low_latency_idle=bool(given["--low-latency-idle"]),
        ),
        log_level=str(given["--log-level"]),
    )


def _optional_int(value: object | None) -> int | None:
    assert value is None or isinstance(value, int)
    return value


def _api_key(path: object | None, environment: Mapping[str, str]) -> str | None:
    """The key from a file or the environment; there is no flag that would show it to `ps`."""
    if path is None:
        return environment.get(API_KEY_VARIABLE)
    assert isinstance(path, Path)
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingsError(f"--api-key-file {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"--api-key-file {path}: is no key of letters and digits.") from error


def _ip_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise SettingsError(f"--pin-address {text!r} is not an IP address.") from None


def _given(
    flag: _Flag, arguments: argparse.Namespace, environment: Mapping[str, str]
) -> object | None:
    value: object = getattr(arguments, flag.name.removeprefix("--").replace("-", "_"))
    if value is not None:
        return value
    text = environment.get(flag.variable)
    if text is None:
        return flag.default
    try:
        value = flag.kind(text)
    except ValueError:
        wanted = "yes or no" if flag.switch else "a whole number"
        raise SettingsError(f"{flag.variable}={text!r} is not {wanted}.") from None
    if flag.choices is not None and value not in flag.choices:
        raise SettingsError(f"{flag.variable}={text!r} is not one of {', '.join(flag.choices)}.")
    return value


_SECTIONS: Final[Mapping[str, Sequence[str]]] = {
    "timing": ("warmup_sec", "measurement_sec", "cooldown_sec"),
    "market_data": ("market", "symbols", "streams", "endpoint", "time_endpoint"),
}


def _override(base: Experiment, given: Mapping[str, object | None]) -> Experiment:
    document = base.model_dump(by_alias=True)
    for section, keys in _SECTIONS.items():
        for key in keys:
            value = given["--" + key.replace("_", "-")]
            if value is not None:
                document[section][key] = None if value == "" else value
    try:
        return Experiment.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        flag = "--" + str(fault["loc"][1]).replace("_", "-")
        raise ExperimentError(f"{flag}: {fault['msg'].lower()}, got {fault['input']!r}.") from error


def from_process(arguments: argparse.Namespace) -> Settings:
    """`resolve` with this process' environment."""
    return resolve(arguments, os.environ)
