"""`analyze --from-recordings`: its options, and one sentence for what goes wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.cli import command_line, main
from latency_sweep.analysis.cli.options import AnalyzeOptions, FromRecordings
from latency_sweep.contract.exit_codes import ExitCode
from tests.recordings_made import MadeMarket

if TYPE_CHECKING:
    from pathlib import Path


def parsed(*arguments: str) -> FromRecordings:
    options = command_line.parse(arguments)
    assert isinstance(options, AnalyzeOptions)
    assert isinstance(options.source, FromRecordings)
    return options.source


def test_files_are_gathered_by_host_with_the_bound_of_its_clock() -> None:
    found = parsed(
        *("--from-recordings", "a=1.gz", "c=2.gz", "a=3.gz", "--clock-bound", "c=1.5ms"),
        *("--stream", "btcusdt@trade"),
    )
    assert [(h.name, [str(f) for f in h.files]) for h in found.hosts] == [
        ("a", ["1.gz", "3.gz"]),
        ("c", ["2.gz"]),
    ]
    assert [h.clock_bound_sec for h in found.hosts] == [None, pytest.approx(0.0015)]
    assert found.raw_streams == ("btcusdt@trade",)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--from-recordings", "a.gz"], "'a.gz' is not HOST=FILE"),
        (["--from-recordings", "=a.gz"], "'=a.gz' is not HOST=FILE"),
        (["--from-recordings", "a=x", "b=x"], "x is named twice"),
        (["--from-recordings", "a=x", "--clock-bound", "b=1us"], "no recording of b; choose a"),
        (["--from-recordings", "a=x", "--clock-bound", "a=1"], "'a=1' is not HOST=DURATION"),
        (["--from-recordings", "a=x", "--since", "1h"], "--since only works with --from-prom"),
        (["--from-archive", "x", "--stream", "a@trade"], "--stream only works with --from-rec"),
        (["--from-jsonl", "x", "--clock-bound", "a=1us"], "--clock-bound only works with --from-r"),
        (["--from-recordings", "a=/none/x"], "/none/x: cannot be read: No such file"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    arguments: list[str], fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main.main(arguments)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == ExitCode.BAD_INPUT
    assert fault in capfd.readouterr().err


def test_the_report_says_how_much_later_the_same_events_came(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    market = MadeMarket()
    near = market.recorded(tmp_path / "near")
    far = market.recorded(tmp_path / "far", later_ns=37_500)
    code = main.main(["--from-recordings", f"near={near}", f"far={far}"])
    assert code == ExitCode.INCONCLUSIVE
    text = capfd.readouterr().out
    assert "The same events at two hosts" in text
    assert "+37.5" in text
    report = tmp_path / "report.json"
    main.main(["--from-recordings", f"near={near}", f"far={far}", "-o", str(report)])
    (found,) = json.loads(report.read_text(encoding="utf-8"))["same_events"]
    assert found["p50_sec"] == pytest.approx(37.5e-6, rel=0.01)


def test_nothing_in_common_has_the_code_of_no_data(tmp_path: Path) -> None:
    a = MadeMarket().recorded(tmp_path / "a")
    b = MadeMarket().recorded(tmp_path / "b", symbol="ethusdt")
    assert main.main(["--from-recordings", f"a={a}", f"b={b}"]) == ExitCode.NO_DATA
