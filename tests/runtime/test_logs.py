"""Lines of the log: their form, their context, their level."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.runtime import logs
from latency_sweep.runtime.logs import JsonFormatter, LogFormat, TextFormatter

if TYPE_CHECKING:
    from pathlib import Path

NAME = f"{logs.PACKAGE}.probe.connection.supervisor"
CREATED = 1_795_932_000.1239  # 2026-11-29T06:00:00.1239Z


def record(message: str, level: int = logging.INFO, /, **context: object) -> logging.LogRecord:
    made = logging.LogRecord(NAME, level, __file__, 1, message, (), None)
    made.created = CREATED
    made.context = context
    return made


def failed() -> Any:
    try:
        int("of the test")
    except ValueError:
        return sys.exc_info()


def test_text_is_time_level_logger_message_and_pairs() -> None:
    line = TextFormatter().format(record("connected", connection="0", stream="trade"))
    assert line == (
        "2026-11-29T06:00:00.123Z INFO probe.connection.supervisor connected "
        "connection=0 stream=trade"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        (1.5, "1.5"),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "x"', '"say \\"x\\""'),
        ("a=b", '"a=b"'),
        ("line\nbreak", '"line\\nbreak"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("\x85", '"\\x85"'),
    ],
)
def test_text_quotes_values_that_would_run_into_others(value: object, written: str) -> None:
    assert TextFormatter().format(record("m", key=value)).endswith(f" m key={written}")


def test_a_message_cannot_begin_a_line_of_its_own() -> None:
    line = TextFormatter().format(record("said\n2026-01-01T00:00:00.000Z INFO forged"))
    assert "\n" not in line


def test_json_is_one_object_a_line_with_the_context_beside_the_message() -> None:
    text = JsonFormatter().format(record("connected", logging.WARNING, connection="0", age_sec=1.5))
    assert "\n" not in text
    assert json.loads(text) == {
        "time": "2026-11-29T06:00:00.123Z",
        "level": "warning",
        "logger": "probe.connection.supervisor",
        "message": "connected",
        "connection": "0",
        "age_sec": 1.5,
    }


def test_context_does_not_replace_what_every_line_has() -> None:
    assert json.loads(JsonFormatter().format(record("m", level="forged")))["level"] == "info"


def test_exceptions_have_their_traceback_in_one_field_of_json() -> None:
    made = record("failed")
    made.exc_info = failed()
    text = JsonFormatter().format(made)
    assert "\n" not in text
    assert "ValueError: invalid literal" in json.loads(text)["exception"]
    assert TextFormatter().format(made).splitlines()[1] == "Traceback (most recent call last):"


def test_what_is_no_json_is_written_as_text() -> None:
    assert json.loads(JsonFormatter().format(record("m", error=OSError("no"))))["error"] == "no"


def test_a_logger_adds_its_own_context_as_it_is_when_the_line_is_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    context: dict[str, object] = {"connection": "0", "run": None}
    log = logs.logger(NAME, lambda: context)
    with logs.configured(LogFormat.TEXT, "info"):
        log.info("first", extra={"remote": "192.0.2.1"})
        context["run"] = "2026-11-29T06:00:00Z"
        log.info("second")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("first connection=0 remote=192.0.2.1")
    assert second.endswith("second connection=0 run=2026-11-29T06:00:00Z")


@pytest.mark.parametrize("level", logs.LEVELS)
def test_only_the_level_asked_for_and_above_is_written(
    level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logs.logger(NAME)
    with logs.configured(LogFormat.JSON, level):
        for name in logs.LEVELS:
            log.log(getattr(logging, name.upper()), name)
    written = [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()]
    assert written == list(logs.LEVELS[logs.LEVELS.index(level) :])


def test_libraries_are_heard_from_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    library = logging.getLogger("a_library")
    with logs.configured(LogFormat.TEXT, "debug"):
        library.debug("quiet")
        library.warning("loud")
    assert [line.split()[1:] for line in capsys.readouterr().err.splitlines()] == [
        ["WARNING", "a_library", "loud"]
    ]


def test_a_file_has_everything_and_standard_error_what_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, file = logs.logger(NAME), tmp_path / "a.log"
    package = logging.getLogger(logs.PACKAGE)
    before = package.level, list(logging.getLogger().handlers)
    with logs.configured(LogFormat.TEXT, "warning"):
        for number in range(2):
            with logs.to_file(file):
                log.debug("detail", extra={"number": number})
        log.debug("unseen")
        log.warning("seen")
    assert [line.split()[3:] for line in file.read_text("utf-8").splitlines()] == [
        ["detail", "number=0"],
        ["detail", "number=1"],
    ]
    assert [line.split()[3:] for line in capsys.readouterr().err.splitlines()] == [["seen"]]
    assert (package.level, logging.getLogger().handlers) == before
