from __future__ import annotations

import io

import pytest
from rich.console import Console

from latency_sweep.runtime.progress import Meter, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (-3, "0 s")],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_without_a_terminal_a_line_is_printed_when_something_changes() -> None:
    output = io.StringIO()
    with Meter(Console(file=output)) as meter:
        meter.show("Run 1 of 2: measuring", 0.1, 90)
        meter.show("Run 1 of 2: measuring", 0.2, 80)
        meter.show("Run 1 of 2: cooling down", 0.3, 70)
    assert output.getvalue().splitlines() == [
        "Run 1 of 2: measuring, 1 min 30 s to go",
        "Run 1 of 2: cooling down, 1 min 10 s to go",
    ]


def test_on_a_terminal_there_is_a_bar_and_notes_stay() -> None:
    output = io.StringIO()
    with Meter(Console(file=output, force_terminal=True, width=100)) as meter:
        meter.show("Run 1 of 2: measuring", 0.5, 90)
        meter.say("Note: a probe is down.")
    assert "Note: a probe is down." in output.getvalue()
