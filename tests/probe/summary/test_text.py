"""The table in a terminal."""

from __future__ import annotations

import json

import pytest

from latency_sweep.probe.summary import text
from latency_sweep.probe.summary.document import to_json
from latency_sweep.probe.summary.wording import COLUMNS
from tests.probe.summary.summaries import SILENT, UNTIMED, stream, summary

HOSTILE = "wss://x\x1b[2J\u202e.example"


def test_the_table_of_80_columns_reads_well() -> None:
    lines = text.render(summary(stream(), UNTIMED), width=80, color=False).splitlines()
    assert lines[:6] == [
        "spot at wss://stream.example:9443",
        "4,000 messages in 50 s of 1 min 00 s",
        "",
        "stream                p50    p99  p99.9  jitter  rate  loss    own",
        "BTCUSDT trade       10.00  15.00  30.00   2.000  40/s  0.1%  0.250",
        "BTCUSDT bookTicker      -      -      -       -  40/s     -  0.250",
    ]


@pytest.mark.parametrize(
    ("width", "last"), [(40, "p99.9"), (60, "loss"), (80, "own"), (100, "late")]
)
def test_what_has_no_room_is_left_out_and_no_number_is_cut(width: int, last: str) -> None:
    odd = stream(symbol="1000000MOGUSDT_260925", stream="depth20@100ms")
    shown = text.render(summary(odd, SILENT), width=width, color=False)
    heading, row, _ = shown.splitlines()[3:6]
    assert heading.split()[-1] == last
    numbers = row.split("…")[-1].split() if "…" in row else row.split()[2:]
    texts = [column.of(odd) for column in COLUMNS]
    assert numbers == texts[: len(numbers)]
    assert len(numbers) == len(heading.split()) - 1
    assert all(len(line) <= width for line in shown.splitlines())


def test_without_color_there_is_no_escape_and_with_it_there_is() -> None:
    failures = ["p99>1ms: p99 of BTCUSDT trade is 15.00 ms."]
    plain = text.render(summary(), width=80, color=False, failures=failures)
    assert "\x1b" not in plain
    assert f"\n! {failures[0]}\n" in plain
    assert "\x1b[1;31m" in text.render(summary(), width=80, color=True, failures=failures)


def test_escapes_in_what_others_chose_do_not_reach_the_terminal() -> None:
    shown = text.render(summary(endpoint=HOSTILE), width=80, color=False)
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_json_has_the_numbers_in_seconds_and_null_for_what_is_unknown() -> None:
    found = json.loads(to_json(summary(stream(), UNTIMED), complete=True, failures=["x"]))
    assert (found["version"], found["complete"], found["failed_conditions"]) == (1, True, ["x"])
    trade, ticker = found["streams"]
    assert trade["latency"]["p99.9_sec"] == 0.030
    assert trade["own_delay_p99_sec"] == 0.00025
    assert (ticker["latency"], ticker["lost"], ticker["rate_per_sec"]) == (None, None, 40.0)
    assert found["clock"]["error_bound_sec"] == 0.0001
    assert json.loads(to_json(summary(clock=None), complete=False))["clock"] is None
