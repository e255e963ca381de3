from __future__ import annotations

import io

import pytest
from rich.console import Console

from latency_sweep.runtime.progress import ProgressDisplay, duration


def terminal(kind: str = "xterm") -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=100, height=30, _environ={"TERM": kind}
    )


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (-3, "0 s")],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_without_a_terminal_a_line_is_printed_when_something_changes() -> None:
    console = Console(file=io.StringIO())
    with ProgressDisplay(console) as display:
        display.show("Measuring, 1 min 30 s to go", 0.1, step="measuring")
        display.show("Measuring, 1 min 20 s to go", 0.2, step="measuring")
        display.show("Cooling down", 0.3)
        display.show("Cooling down", 0.4)
    assert printed(console).splitlines() == ["Measuring, 1 min 30 s to go", "Cooling down"]


def test_on_a_terminal_there_is_a_bar_and_notes_stay() -> None:
    console = terminal()
    with ProgressDisplay(console) as display:
        display.show("Run 1 of 2: measuring", 0.5, below="a table")
        display.report("Note: a probe is down.")
        assert "━" in printed(console)
        assert "a table" in printed(console)
    assert "Note: a probe is down." in printed(console)


def test_what_is_drawn_in_place_is_gone_when_it_is_left() -> None:
    console = terminal()
    with ProgressDisplay(console) as display:
        display.show("Measuring", 0.5)
        before = printed(console)
    assert "\x1b[2K" in printed(console)[len(before) :]


def test_a_terminal_that_cannot_redraw_gets_lines() -> None:
    console = terminal("dumb")
    with ProgressDisplay(console) as display:
        display.show("Measuring", 0.5)
    assert printed(console) == "Measuring\n"
