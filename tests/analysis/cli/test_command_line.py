"""What is said of a command line before anything is computed."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from latency_sweep.analysis.cli import command_line
from latency_sweep.analysis.cli.options import (
    AnalyzeOptions,
    CompareOptions,
    ExportOptions,
    PricesOptions,
)
from latency_sweep.contract import program


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["nonsense"],
            (
                "unknown command 'nonsense'; "
                "choose export, compare, prices, doctor, or none for the verdict"
            ),
        ),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["--from-arch", "x.parquet"], "unrecognized arguments: --from-arch x.parquet"),
        (
            [],
            (
                "one of the arguments --from-prometheus --from-archive --from-jsonl "
                "--from-recordings is required"
            ),
        ),
    ],
)
def test_what_is_wrong_is_what_is_complained_of(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        command_line.parse(arguments)
    assert exited.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"analyze: error: {complaint}"


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        command_line.parse(["--version"])
    assert exited.value.code == 0
    assert capsys.readouterr().out == f"{version(program.DISTRIBUTION)}\n"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--from-archive", "x"], AnalyzeOptions),
        (["export", "--from-prometheus", "http://p:9090", "-o", "x"], ExportOptions),
        (["compare", "x", "y"], CompareOptions),
        (["prices"], PricesOptions),
    ],
)
def test_the_command_is_found_by_its_name(arguments: list[str], options: type) -> None:
    assert isinstance(command_line.parse(arguments), options)
