"""Logs: one line for each event, as text or JSON, with its context as key-value pairs.

The message is a constant, so that it can be searched for; what varies is context:

    _LOG: Final = logs.logger(__name__)
    _LOG.info("connected", extra={"remote": address, "tls": True})

    2026-11-29T06:00:00.123Z INFO probe.connection connected remote=192.0.2.1 tls=True
    {"time":"2026-11-29T06:00:00.123Z","level":"info","logger":"probe.connection",...}

Nothing on the per-message path logs below `warning`.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TextIO

from latency_sweep.runtime.printable import printable_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping
    from pathlib import Path

PACKAGE: Final = "latency_sweep"
LEVELS: Final = ("debug", "info", "warning", "error")
# Attribute of a log record that holds its context.
_CONTEXT: Final = "context"


class LogFormat(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


class ContextLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose `extra` becomes the line's context, after that of the logger itself.

    Args:
        logger: takes the records.
        context: called for each line that is written, as a run or an address may have changed;
            None values are omitted.
    """

    def __init__(
        self, logger: logging.Logger, context: Callable[[], Mapping[str, object]] = dict
    ) -> None:
        super().__init__(logger, {})
        self._own_context = context

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Combine the logger's context with the line's; see `logging.LoggerAdapter`."""
        fields = {**self._own_context(), **(kwargs.get("extra") or {})}
        known = {key: value for key, value in fields.items() if value is not None}
        return msg, {**kwargs, "extra": {_CONTEXT: known}}


def logger(name: str, context: Callable[[], Mapping[str, object]] = dict) -> ContextLogger:
    """The logger of a module or of an object; see `ContextLogger`."""
    return ContextLogger(logging.getLogger(name), context)


class TextFormatter(logging.Formatter):
    """Time, level, logger, message and context on one line; a traceback on the lines after it."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; see `logging.Formatter`."""
        pairs = [f"{key}={_value(value)}" for key, value in _context(record).items()]
        words = (_time(record), record.levelname, _name(record), _printable(record.getMessage()))
        line = " ".join((*words, *pairs))
        trace = _traceback(self, record)
        return line if trace is None else f"{line}\n{trace}"


class JsonFormatter(logging.Formatter):
    """One JSON object: `time`, `level`, `logger`, `message`, the context, and `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; see `logging.Formatter`."""
        document: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": _name(record),
            "message": record.getMessage(),
        }
        trace = _traceback(self, record)
        if trace is not None:
            document["exception"] = trace
        document |= {k: v for k, v in _context(record).items() if k not in document}
        text = json.dumps(document, ensure_ascii=False, default=str, separators=(",", ":"))
        return printable_json(text)


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is at the time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override] # the base class keeps one for good
        return sys.stderr


@contextmanager
def configured(log_format: LogFormat, level: str) -> Iterator[None]:
    """Log to standard error until the context ends.

    Args:
        log_format: how lines are written.
        level: of `LEVELS`, the least that is written of this program; of the libraries it uses
            only warnings are, as their debug lines would bury ours.
    """
    handler = _StandardError()
    handler.setFormatter(TextFormatter() if log_format is LogFormat.TEXT else JsonFormatter())
    handler.setLevel(level.upper())
    with _added(handler):
        yield


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Append everything from `debug` on to a file as text, until the context ends.

    Raises:
        OSError: it cannot be written.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(TextFormatter())
    handler.setLevel(logging.DEBUG)
    try:
        with _added(handler):
            yield
    finally:
        handler.close()


@contextmanager
def _added(handler: logging.Handler) -> Iterator[None]:
    """Let a handler have all that it wants of this program, beside what others have."""
    root, package = logging.getLogger(), logging.getLogger(PACKAGE)
    before = package.level
    root.addHandler(handler)
    package.setLevel(min(handler.level, before or handler.level))
    try:
        yield
    finally:
        package.setLevel(before)
        root.removeHandler(handler)


def _context(record: logging.LogRecord) -> Mapping[str, object]:
    found: Mapping[str, object] = getattr(record, _CONTEXT, {})
    return found


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _name(record: logging.LogRecord) -> str:
    return record.name.removeprefix(f"{PACKAGE}.")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    return formatter.formatException(record.exc_info) if record.exc_info else None


def _value(value: object) -> str:
    """A value that a reader can split from the next: quoted where it has spaces or quotes."""
    text = str(value)
    plain = text.isprintable() and not any(c in ' "=' for c in text)
    return text if text and plain else _printable(json.dumps(text, ensure_ascii=False))


def _printable(text: str) -> str:
    """A message on one line: others may have chosen a part of it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
