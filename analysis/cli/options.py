"""The options of the `analyze` commands: how they are written and what they mean."""

from __future__ import annotations

import argparse
import math
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from latency_sweep.analysis.cli import exit_codes
from latency_sweep.contract.targets import CANDIDATE_LABELS
from latency_sweep.runtime.help import HelpFormatter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.prometheus_api import Access

TOKEN_VARIABLE: Final = "PROMETHEUS_TOKEN"  # noqa: S105 - the name, not the token
PASSWORD_VARIABLE: Final = "PROMETHEUS_PASSWORD"  # noqa: S105 - the name, not the password

# What can be chosen in Prometheus and is settled in a file.
RANGE_OPTIONS: Final = ("--experiment", "--since", "--until", "--market", "--stream")
SELECTION_OPTIONS: Final = (*RANGE_OPTIONS, "--by", "--symbol")
# What a refresh of the prices needs, and nothing else.
REFRESH_OPTIONS: Final = ("--output-file", "--config", "--region", "--instance-type")

_SUFFIXES: Final = {
    ".html": "html",
    ".htm": "html",
    ".json": "json",
    ".md": "markdown",
    ".csv": "csv",
    ".txt": "text",
}
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
# The random generator takes any size; a person means no more than this.
_MOST_DIGITS: Final = 18
_MOMENT_HELP: Final = "as 2026-01-31T06:00:00Z, Unix seconds, or how long ago, as 6h"


class UsageError(Exception):
    """Something on the command line cannot be used; the message says what."""


def parser(name: str, text: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose help ends with examples and the exit codes."""
    return argparse.ArgumentParser(
        name,
        description=text,
        epilog=f"{examples}\nexit codes:\n{exit_codes.table()}",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )


def add_evidence(to: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that select evidence; returns the group for its sources."""
    sources = to.add_argument_group("evidence")
    scope = to.add_argument_group("selection")
    scope.add_argument(
        "--config", metavar="FILE", type=Path, help="the experiment; the shipped one if absent"
    )
    scope.add_argument("--experiment", metavar="NAME", help="value of the `experiment` label")
    scope.add_argument("--since", metavar="TIME", type=moment, help=_MOMENT_HELP)
    scope.add_argument("--until", metavar="TIME", type=moment, help=_MOMENT_HELP)
    scope.add_argument(
        "--by",
        metavar="LABELS",
        type=dimensions,
        default=(),
        help=f"what makes a candidate, of {','.join(CANDIDATE_LABELS)} (all of them)",
    )
    scope.add_argument("--market", metavar="NAME", help="market; the experiment's if absent")
    scope.add_argument(
        "--stream",
        metavar="NAMES",
        type=names,
        default=(),
        help="streams, with commas; the experiment's evidence streams if absent",
    )
    scope.add_argument(
        "--symbol", metavar="NAMES", type=names, default=(), help="symbols, with commas; all"
    )
    add_access(to)
    return sources


def add_access(to: argparse.ArgumentParser) -> None:
    """Add the options of how to get into Prometheus."""
    group = to.add_argument_group("access to Prometheus")
    group.add_argument(
        "--bearer-token-file", metavar="FILE", type=Path, help=f"else ${TOKEN_VARIABLE}"
    )
    group.add_argument("--username", metavar="NAME", help="for basic authentication")
    group.add_argument(
        "--password-file", metavar="FILE", type=Path, help=f"else ${PASSWORD_VARIABLE}"
    )
    group.add_argument(
        "--header",
        metavar="NAME:VALUE",
        type=_header,
        action="append",
        default=[],
        help="a further request header, such as X-Scope-OrgID:tenant; repeatable",
    )
    group.add_argument("--ca-file", metavar="FILE", type=Path, help="certificates to trust")
    group.add_argument("--client-cert", metavar="FILE", type=Path)
    group.add_argument("--client-key", metavar="FILE", type=Path)
    group.add_argument(
        "--timeout", metavar="SECONDS", type=_positive, default=60.0, help="longest silence (60)"
    )


def add_output(to: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    """Add the options of a report and of what it is computed with."""
    group = to.add_argument_group("output")
    group.add_argument("--output", choices=formats, help="format; from the suffix of -o, else text")
    group.add_argument(
        "-o",
        "--output-file",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="write to a file; repeatable, for the same report in several formats",
    )
    group.add_argument(
        "--prices", metavar="FILE", type=Path, help="price table instead of the shipped one"
    )
    group.add_argument(
        "--seed", type=_seed, default=0, help="of the bootstrap; the same seed repeats the answer"
    )


def add_prices(to: argparse.ArgumentParser) -> None:
    """Add the options of the price table."""
    to.add_argument(
        "--prices", metavar="FILE", type=Path, help="price table to show instead of the shipped one"
    )
    group = to.add_argument_group("refreshing")
    group.add_argument(
        "--refresh",
        action="store_true",
        help="write a table of what AWS's price list says now; takes AWS's usual settings and"
        " credentials, which must permit pricing:GetProducts",
    )
    group.add_argument(
        "-o",
        "--output-file",
        metavar="FILE",
        type=Path,
        help="the table to write; the shipped one if absent",
    )
    group.add_argument(
        "--config", metavar="FILE", type=Path, help="the experiment; the shipped one if absent"
    )
    group.add_argument(
        "--region", metavar="NAMES", type=names, help="with commas; the experiment's if absent"
    )
    group.add_argument(
        "--instance-type",
        metavar="NAMES",
        type=names,
        help="with commas; the experiment's if absent",
    )


def refuse(given: argparse.Namespace, options: Sequence[str], needed: str) -> None:
    """Refuse options that would have no effect.

    Args:
        given: the parsed command line.
        options: the options, as written.
        needed: what they would need.

    Raises:
        UsageError: one of them is given.
    """
    for option in options:
        if getattr(given, option.removeprefix("--").replace("-", "_")) not in {None, ()}:
            raise UsageError(f"{option} only works with {needed}.")


def check_range(given: argparse.Namespace) -> None:
    """Refuse a range of time that holds nothing.

    Raises:
        UsageError: it ends before it starts.
    """
    if None not in {given.since, given.until} and given.since >= given.until:
        raise UsageError("--since must be earlier than --until.")


def outputs(given: argparse.Namespace, formats: Sequence[str]) -> dict[Path | None, str]:
    """The format of each file to write, by `--output` or by its suffix; None for the terminal.

    Raises:
        UsageError: a suffix is that of a format that this command does not have, or there are
            several files and `--output`.
    """
    files: list[Path] = given.output_file
    if given.output and len(files) > 1:
        raise UsageError("--output is for one -o; of several, each has the format of its suffix.")
    found: dict[Path | None, str] = {}
    for file in files:
        chosen = given.output or _SUFFIXES.get(file.suffix.lower(), "text")
        if chosen not in formats:
            raise UsageError(
                f"{file}: there is no {chosen} for this; choose --output {' or '.join(formats)}."
            )
        found[file] = chosen
    return found or {None: given.output or "text"}


def access(given: argparse.Namespace) -> Access:
    """How to get into Prometheus, from options, files and environment variables.

    Raises:
        UsageError: a file cannot be read, one option lacks another, or a secret or header cannot
            be sent.
    """
    from latency_sweep.analysis.prometheus_api import Access, InvalidAccessError  # noqa: PLC0415 - slow, and the help does not need it

    if given.bearer_token_file is not None:
        token: str | None = _secret(given.bearer_token_file)
    else:
        token = _secret_variable(TOKEN_VARIABLE)
    basic = None
    if given.username is not None:
        if given.password_file is not None:
            password: str | None = _secret(given.password_file)
        else:
            password = _secret_variable(PASSWORD_VARIABLE)
        if password is None:
            raise UsageError(f"--username needs --password-file or ${PASSWORD_VARIABLE}.")
        basic = (given.username, password)
    if (given.client_cert is None) != (given.client_key is None):
        raise UsageError("--client-cert and --client-key need one another.")
    for path in (given.ca_file, given.client_cert, given.client_key):
        if path is not None and not path.is_file():
            raise UsageError(f"{path}: there is no such file.")
    certificate = None if given.client_cert is None else (given.client_cert, given.client_key)
    try:
        return Access(token, basic, dict(given.header), given.ca_file, certificate)
    except InvalidAccessError as error:
        raise UsageError(str(error)) from None


def _secret_variable(name: str) -> str | None:
    """A secret from the environment, where it may have kept the line end of the file it is from."""
    found = os.environ.get(name)
    return None if found is None else found.strip()


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"{path}: cannot be read: {reason}.") from error


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
        seconds = float(text)
    except ValueError:
        pass
    else:
        if math.isfinite(seconds):
            return seconds
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        _bad(f"{text!r} is no time; write it {_MOMENT_HELP}")
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


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas.

    Raises:
        argparse.ArgumentTypeError: one of them is empty.
    """
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        _bad(f"{text!r} has an empty name")
    return found


def dimensions(text: str) -> tuple[str, ...]:
    """Labels that define a candidate, in the usual order, so that it has one name only.

    Raises:
        argparse.ArgumentTypeError: one of them is no such label.
    """
    found = names(text)
    for name in found:
        if name not in CANDIDATE_LABELS:
            _bad(f"{name!r} is none of {', '.join(CANDIDATE_LABELS)}")
    return tuple(name for name in CANDIDATE_LABELS if name in found)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        _bad("a header is written NAME:VALUE")
    return name.strip(), value.strip()


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        _bad(f"{text!r} is not a number of seconds greater than zero")
    return value


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        _bad(f"{text!r} is not a whole number from 0 on with at most {_MOST_DIGITS} digits")
    return int(text)


def _bad(text: str) -> NoReturn:
    raise argparse.ArgumentTypeError(text)
