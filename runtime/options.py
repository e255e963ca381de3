"""Options that several commands share: one name, one meaning, one help text.

Parsing only: `parser` makes a parser, `add_*` add options to it, and the value types below turn
text into values. What a command gets is a frozen record, never what argparse made.
"""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from latency_sweep.runtime.help import HelpFormatter
from latency_sweep.runtime.logs import LEVELS, LogFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOKEN_VARIABLE: Final = "PROMETHEUS_TOKEN"  # noqa: S105 - the name, not the token
PASSWORD_VARIABLE: Final = "PROMETHEUS_PASSWORD"  # noqa: S105 - the name, not the password
TIMEOUT_SEC: Final = 60
MAX_COUNT: Final = (
    10_000  # runs, replicas, hours: more is a typing error, and planning it takes minutes
)

FROM_PROMETHEUS_HELP: Final = "URL of a server with the Prometheus HTTP API"
CONFIG_HELP: Final = "experiment file"
CA_FILE_HELP: Final = "CA certificates to trust, PEM"
EXPERIMENT_ID_HELP: Final = "name of the experiment, value of the experiment label"
SYMBOLS_HELP: Final = "comma-separated symbols, such as BTCUSDT,ETHUSDT"
STREAMS_HELP: Final = "comma-separated streams, such as trade,depth@100ms"
MARKET_HELP: Final = "market of the feeds"
EXCHANGE_INFO_HELP: Final = (
    "saved answer of the exchange's exchangeInfo, to check the symbols against"
)
JSON_HELP: Final = "print JSON to standard output"
LOG_FORMAT_HELP: Final = "format of the log on standard error"
LOG_LEVEL_HELP: Final = "least severe messages to log"
SHIPPED: Final = "default: the one shipped"

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_EXPERIMENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
MOMENT_HELP: Final = "as 2026-01-31T06:00:00Z, Unix seconds, or how long ago, as 6h"


class UsageError(Exception):
    """The command line, or a file that it names, cannot be used; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class PrometheusOptions:
    """How to reach and authenticate to a Prometheus server.

    Attributes:
        url: of the server; None if the command knows it otherwise.
        bearer_token_file: with the token; `$PROMETHEUS_TOKEN` if None.
        username: for basic authentication.
        password_file: with its password; `$PROMETHEUS_PASSWORD` if None.
        headers: further request headers, name and value.
        ca_file: CA certificates to trust instead of the system's.
        client_cert: client certificate, PEM.
        client_key: its private key, PEM.
        timeout_sec: longest wait for data from the server.
    """

    url: str | None = None
    bearer_token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    headers: tuple[tuple[str, str], ...] = ()
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    timeout_sec: float = TIMEOUT_SEC


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How to log.

    Attributes:
        format: of a line.
        level: the least that is logged, one of `logs.LEVELS`.
    """

    format: LogFormat
    level: str


def parser(name: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser whose help is laid out as that of all commands."""
    return argparse.ArgumentParser(
        name,
        description=description,
        epilog=epilog,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    *,
    summary: str,
    description: str,
    epilog: str,
) -> argparse.ArgumentParser:
    """Add a subcommand, laid out like `parser`.

    Args:
        commands: the parser's subcommands.
        name: of this one.
        summary: for the list of commands.
        description: for its own help.
        epilog: examples and exit codes.
    """
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    return added


def add_version(to: argparse.ArgumentParser, version: str) -> None:
    """Add `--version`."""
    to.add_argument(
        "--version", action="version", version=version, help="print the version and exit"
    )


def add_log(to: argparse.ArgumentParser) -> None:
    """Add `--log-format` and `--log-level`; `log_options` reads them."""
    group = to.add_argument_group("log")
    group.add_argument(
        "--log-format",
        choices=tuple(LogFormat),
        default=LogFormat.TEXT.value,
        help=f"{LOG_FORMAT_HELP} (default: {LogFormat.TEXT})",
    )
    group.add_argument(
        "--log-level",
        choices=LEVELS,
        default="warning",
        help=f"{LOG_LEVEL_HELP} (default: warning)",
    )


def log_options(given: argparse.Namespace) -> LogOptions:
    """What was given for the options of `add_log`."""
    return LogOptions(LogFormat(given.log_format), given.log_level)


def add_config(to: argparse._ActionsContainer, default: str = SHIPPED) -> None:
    """Add `--config`, the experiment file."""
    to.add_argument("--config", metavar="FILE", type=Path, help=f"{CONFIG_HELP} ({default})")


def add_experiment_id(
    to: argparse._ActionsContainer, default: str, kind: Callable[[str], str] = str
) -> None:
    """Add `--experiment-id`.

    Args:
        to: the parser or group.
        default: which experiment is meant without it.
        kind: checks the name; `experiment_id` where a sweep is made, anything where one is read.
    """
    to.add_argument(
        "--experiment-id", metavar="NAME", type=kind, help=f"{EXPERIMENT_ID_HELP} ({default})"
    )


def add_prices(to: argparse._ActionsContainer) -> None:
    """Add `--prices`."""
    to.add_argument("--prices", metavar="FILE", type=Path, help=f"price table ({SHIPPED})")


def add_instance_types(to: argparse._ActionsContainer) -> None:
    """Add `--instance-types`."""
    to.add_argument(
        "--instance-types",
        metavar="NAMES",
        type=names,
        default=(),
        help="comma-separated EC2 instance types (default: the experiment's)",
    )


def add_stream(to: argparse._ActionsContainer) -> None:
    """Add `--stream`, which names what recorded raw messages are of."""
    to.add_argument(
        "--stream",
        metavar="NAMES",
        type=names,
        default=(),
        help="full names of the streams whose messages a recording holds raw, without "
        '{"stream":...} around them, such as btcusdt@trade,btcusdt@depth@100ms',
    )


def add_json(to: argparse._ActionsContainer) -> None:
    """Add `--json`."""
    to.add_argument("--json", action="store_true", help=JSON_HELP)


def add_from_prometheus(
    to: argparse._ActionsContainer, *, default: str = "", required: bool = False
) -> None:
    """Add `--from-prometheus`, which a command that knows its server may leave out."""
    to.add_argument(
        "--from-prometheus",
        metavar="URL",
        required=required,
        help=f"{FROM_PROMETHEUS_HELP} ({default})" if default else FROM_PROMETHEUS_HELP,
    )


def add_prometheus_access(to: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add authentication, TLS and timeout of a Prometheus server; returns their group."""
    group = to.add_argument_group("access to Prometheus")
    group.add_argument(
        "--bearer-token-file",
        metavar="FILE",
        type=Path,
        help=f"file with the bearer token (default: ${TOKEN_VARIABLE})",
    )
    group.add_argument("--username", metavar="NAME", help="user name for basic authentication")
    group.add_argument(
        "--password-file",
        metavar="FILE",
        type=Path,
        help=f"file with the password (default: ${PASSWORD_VARIABLE})",
    )
    group.add_argument(
        "--header",
        metavar="NAME:VALUE",
        type=_header,
        action="append",
        default=[],
        help="extra request header, such as X-Scope-OrgID:tenant; repeatable",
    )
    group.add_argument(
        "--ca-file", metavar="FILE", type=Path, help=f"{CA_FILE_HELP} (default: the system's)"
    )
    group.add_argument("--client-cert", metavar="FILE", type=Path, help="client certificate, PEM")
    group.add_argument("--client-key", metavar="FILE", type=Path, help="its private key, PEM")
    group.add_argument(
        "--timeout",
        metavar="DURATION",
        type=seconds,
        default=TIMEOUT_SEC,
        help=f"longest wait for data (default: {TIMEOUT_SEC}s)",
    )
    return group


def prometheus_options(given: argparse.Namespace) -> PrometheusOptions:
    """What `add_from_prometheus` and `add_prometheus_access` parsed."""
    return PrometheusOptions(
        url=given.from_prometheus,
        bearer_token_file=given.bearer_token_file,
        username=given.username,
        password_file=given.password_file,
        headers=tuple(given.header),
        ca_file=given.ca_file,
        client_cert=given.client_cert,
        client_key=given.client_key,
        timeout_sec=given.timeout,
    )


def moment(text: str) -> float:
    """Unix seconds of a time, or of a duration before now.

    Raises:
        argparse.ArgumentTypeError: the text is neither.
    """
    ago = duration(text)
    if ago is not None:
        try:
            return (datetime.now(UTC) - ago).timestamp()
        except OverflowError:
            _bad(f"{text!r} is longer ago than there are dates")
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if math.isfinite(number):
            return number
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        _bad(f"{text!r} is not a time; write it {MOMENT_HELP}")
    # Like everything in a sweep, a time without a zone is UTC.
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def duration(text: str) -> timedelta | None:
    """A duration such as `90s`, `6h` or `1d12h`; None if it is none, too long or repeats a unit."""
    if not _DURATION.fullmatch(text):
        return None
    found = _DURATION_PART.findall(text)
    parts = {_UNITS[unit]: float(number) for number, unit in found}
    if len(parts) < len(found):
        return None
    try:
        return timedelta(**parts)
    except OverflowError:
        return None


def seconds(text: str) -> int:
    """Whole seconds of a duration such as 300, 5m or 1h.

    Raises:
        argparse.ArgumentTypeError: it is not one of at least a second.
    """
    plain = text.isascii() and text.isdigit()
    found = duration(f"{text}s" if plain else text)
    number = found.total_seconds() if found is not None else 0.0
    if number < 1 or not number.is_integer():
        _bad(f"{text!r} is not a duration such as 300, 5m or 1h")
    return int(number)


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas.

    Raises:
        argparse.ArgumentTypeError: one of them is empty.
    """
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        _bad(f"{text!r} has an empty name")
    return found


def positive_int(text: str) -> int:
    """A whole number from 1 to `MAX_COUNT`.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    digits = text.lstrip("0") if text.isascii() and text.isdigit() else ""
    if not digits:
        _bad(f"{text!r} is not a whole number of at least 1")
    # Python itself refuses to read thousands of digits.
    if len(digits) > len(str(MAX_COUNT)) or int(digits) > MAX_COUNT:
        _bad(f"{text[:20]!r} is more than {MAX_COUNT}")
    return int(digits)


def positive_float(text: str) -> float:
    """A finite number above 0.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        _bad(f"{text!r} is not a number above 0")
    return number


def experiment_id(text: str) -> str:
    """A name that works as a tag, a label and a folder.

    Raises:
        argparse.ArgumentTypeError: it does not.
    """
    if not _EXPERIMENT_ID.fullmatch(text):
        _bad(f"{text!r} is not 1 to 63 letters, digits, dots, dashes or underscores")
    return text


def refuse(given: argparse.Namespace, flags: Sequence[str], needed: str) -> None:
    """Refuse options that would have no effect.

    Args:
        given: the parsed command line.
        flags: the options, as written.
        needed: what they would need.

    Raises:
        UsageError: one of them is given.
    """
    for flag in flags:
        value = getattr(given, flag.removeprefix("--").replace("-", "_"))
        if value is not None and value != ():
            raise UsageError(f"{flag} only works with {needed}.")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        _bad("a header is written NAME:VALUE")
    return name.strip(), value.strip()


def _bad(text: str) -> NoReturn:
    raise argparse.ArgumentTypeError(text)
