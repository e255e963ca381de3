from __future__ import annotations

import signal
from pathlib import Path

import pytest

from latency_sweep.collector.cli import entry, main
from latency_sweep.contract.program import program_version
from latency_sweep.lab.local import demo
from latency_sweep.lab.local.plan import DemoOptions
from latency_sweep.runtime import extras
from latency_sweep.runtime.interruption import Interrupted


def test_help_gives_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main.main(["--help"])
    assert exited.value.code == 0
    output = capsys.readouterr().out
    assert "examples:\n  sweep demo" in output
    assert "exit codes:\n    0  success" in output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--vers"],
        ["demo", "--resul", "r"],
        ["watch", "--from-prometheus", "http://127.0.0.1:9", "--onc"],
        ["status", "--from-prom", "http://127.0.0.1:9"],
    ],
)
def test_an_abbreviation_is_not_taken_for_an_option(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main.main(arguments)
    assert exited.value.code == 2
    assert "sweep: error: " in capsys.readouterr().err


def test_help_of_the_demo_gives_examples_and_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exited:
        main.main(["demo", "--help"])
    assert exited.value.code == 0
    output = capsys.readouterr().out
    assert "sweep demo --replay" in output
    assert "exit codes:" in output


def test_without_a_command_the_usage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main.main([])
    assert exited.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_options_reach_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[DemoOptions] = []

    def run(options: DemoOptions) -> int:
        seen.append(options)
        return 4

    monkeypatch.setattr(demo, "run", run)
    replayed = ["--replay", "f.gz", "--speed", "2.5", "--results", "r", "--keep"]
    assert main.main(["demo", *replayed]) == 4
    assert main.main(["demo", "--runs", "3"]) == 4
    assert seen == [
        DemoOptions(replay=Path("f.gz"), speed=2.5, results=Path("r"), keep=True),
        DemoOptions(runs=3),
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--runs", "3", "--replay", "f.gz"], "--runs is for the simulated market; a recording is"),
        (["--speed", "2"], "--speed only works with --replay."),
    ],
)
def test_an_option_without_effect_is_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["demo", *arguments]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--runs", "0"], "'0' is not a whole number of at least 1"),
        (["--runs", "many"], "'many' is not a whole number of at least 1"),
        (["--runs", "10001"], "'10001' is more than 10000"),
        (["--runs", "9" * 5000], "is more than 10000"),
        (["--speed", "0"], "'0' is not a number above 0"),
        (["--speed", "nan"], "'nan' is not a number above 0"),
        (["--speed", "fast"], "'fast' is not a number above 0"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main.main(["demo", *arguments])
    assert exited.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("preflight", "sweep preflight: stopped; it changes nothing in AWS."),
        ("reap", "sweep reap: stopped; what runs in AWS keeps running."),
    ],
)
def test_an_interrupted_command_says_what_it_leaves(
    command: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object) -> int:
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(main, "_dispatch", interrupt)
    assert main.main([command]) == 130
    assert sentence in capsys.readouterr().err


def test_the_version_needs_no_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    monkeypatch.setattr("sys.argv", ["sweep", "--version"])
    assert entry._load()() == 0
    assert capsys.readouterr().out == f"{program_version()}\n"


def test_without_the_extra_packages_the_command_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "moto" else name)
    assert main.main(["demo"]) == 2
    assert capsys.readouterr().err == (
        "`sweep demo` needs the extra `local` (moto missing); "
        "install it with: pip install 'binance-latency-sweep[local]'\n"
    )


@pytest.mark.parametrize(
    "command", ["preflight", "deploy", "collect", "status", "archive", "destroy", "reap", "run"]
)
def test_help_of_each_aws_command_gives_examples_and_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main.main([command, "--help"])
    assert exited.value.code == 0
    output = capsys.readouterr().out
    assert f"examples:\n  sweep {command}" in output
    assert "exit codes:\n    0  success" in output


@pytest.mark.parametrize("command", ["demo", "run", "deploy", "collect", "destroy", "watch"])
def test_each_command_takes_the_options_of_the_log(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main.main([command, "--log-level", "debug", "--log-format", "text", "--help"])
    assert exited.value.code == 0
    assert "--log-format {text,json}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main.main([command, "--log-level", "loud"])
    assert "argument --log-level: invalid choice: 'loud'" in capsys.readouterr().err


def test_preflight_names_the_symbol_that_is_not_listed_before_it_asks_aws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "info.json"
    listed.write_text('{"symbols":[{"symbol":"BTCUSDT","status":"TRADING"}]}')
    assert main.main(["preflight", "--exchange-info", str(listed)]) == 2
    assert "symbol ETHUSDT is none of the 1 in" in capsys.readouterr().err
