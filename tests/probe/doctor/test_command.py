"""`probe doctor` as a whole, against an exchange on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.probe import command_line
from latency_sweep.probe.command_line import DoctorOptions
from latency_sweep.probe.doctor import command

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.lab.local.tls import Certificates

NAMES = [
    "configuration",
    "clock",
    "clock steps",
    "leap seconds",
    "kernel timestamps",
    "timestamp sources",
    "event loop delay",
    "CPU cores",
    "CPU isolation",
    "CPU governor",
    "clock source",
    "CPU load",
    "CPU steal",
    "ENI allowances",
    "file descriptors",
    "DNS",
    "route to exchange",
    "TLS",
    "exchange clock",
    "clock drift",
]


class Exchange(Protocol):
    ahead_sec: float

    @property
    def feed(self) -> str: ...

    @property
    def time(self) -> str: ...


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command; returns exit code and standard output."""

    def run(*flags: str) -> tuple[int, str]:
        options = command_line.parse(["doctor", "--watch-sec", "0.05", *flags])
        assert isinstance(options, DoctorOptions)
        code = command.run(options)
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def flags(exchange: Exchange, certificates: Certificates) -> list[str]:
    ca = str(certificates.ca)
    where = ["--endpoint", exchange.feed, "--time-endpoint", exchange.time]
    return [*where, "--ca-file", ca, "--clock-source", "shared", "--json"]


def statuses(output: str) -> dict[str, str]:
    return {result["name"]: result["status"] for result in json.loads(output)["results"]}


def test_a_host_that_reaches_its_exchange_passes_where_it_should(
    doctor: Callable[..., tuple[int, str]], flags: list[str]
) -> None:
    _, output = doctor(*flags)
    found = statuses(output)
    assert list(found) == NAMES
    for name in (
        "configuration",
        "clock",
        "clock steps",
        "kernel timestamps",
        "TLS",
        "exchange clock",
    ):
        assert found[name] == "PASS", output


def test_a_clock_wrong_by_a_second_fails_the_command(
    doctor: Callable[..., tuple[int, str]], flags: list[str], exchange: Exchange
) -> None:
    exchange.ahead_sec = 1.0
    code, output = doctor(*flags)
    assert (code, statuses(output)["exchange clock"]) == (1, "FAIL")


def test_bad_settings_are_a_finding_and_the_host_is_checked_all_the_same(
    doctor: Callable[..., tuple[int, str]],
) -> None:
    code, output = doctor("--warmup-sec", "0", "--json")
    found = statuses(output)
    assert list(found) == NAMES
    assert (code, found["configuration"], found["kernel timestamps"]) == (1, "FAIL", "PASS")
    assert {found[name] for name in NAMES[-5:]} == {"SKIP"}


def test_the_screen_has_a_line_for_every_check(
    doctor: Callable[..., tuple[int, str]], flags: list[str]
) -> None:
    _, output = doctor(*[flag for flag in flags if flag != "--json"])
    for name in NAMES:
        assert f"\n{name}" in output
    assert "\x1b" not in output


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_a_terminal_is_colored_unless_no_color_is_set(
    doctor: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    no_color: str,
    colored: bool,
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", no_color)
    _, output = doctor("--warmup-sec", "0")
    assert ("\x1b[" in output) == colored


@pytest.mark.parametrize("seconds", ["0", "3601", "soon"])
def test_a_time_that_cannot_be_watched_is_refused(
    doctor: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str], seconds: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        doctor("--watch-sec", seconds)
    assert caught.value.code == 2
    assert "--watch-sec" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reader", "complaint"),
    [("gone", ""), ("full", "probe: the report cannot be written: No space left on device.\n")],
)
def test_a_report_that_nobody_can_read_costs_no_traceback(reader: str, complaint: str) -> None:
    probe = str(Path(sys.executable).with_name("probe"))
    flags = ("--watch-sec", "0.05", "--endpoint", "ws://127.0.0.1:9", "--time-endpoint", "")
    if reader == "gone":
        reading, stdout = os.pipe()
        os.close(reading)
    else:
        stdout = os.open("/dev/full", os.O_WRONLY)
    try:
        done = subprocess.run(
            [probe, "doctor", *flags],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
            check=False,
        )
    finally:
        os.close(stdout)
    assert done.stderr == complaint
    assert done.returncode == ExitCode.CHECK_FAILED  # nothing listens on the discard port


def test_a_terminal_without_a_character_shows_a_question_mark() -> None:
    probe = str(Path(sys.executable).with_name("probe"))
    flags = ("--watch-sec", "0.05", "--endpoint", "ws://127.0.0.1:9", "--time-endpoint", "")
    done = subprocess.run(
        [probe, "doctor", *flags],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (ExitCode.CHECK_FAILED, "")
    assert "? 2 usable" in done.stdout  # at least so many
