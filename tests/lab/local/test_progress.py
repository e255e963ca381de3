from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from latency_sweep.contract.metrics import Phase
from latency_sweep.lab.local.progress import (
    LineDisplay,
    LiveDisplay,
    Progress,
    SiteProgress,
    display_for,
)

PROGRESS = Progress(
    run=3,
    runs=8,
    phase=Phase.MEASURE,
    phase_left_sec=12.4,
    left_sec=125.0,
    elapsed_share=0.4,
    sites=(
        SiteProgress("ap-northeast-1 c6in.large", 12_000, 0, 0.00412),
        SiteProgress("eu-central-1 c6i.large", 11_900, 7, None),
    ),
)


def console(*, terminal: bool, kind: str = "xterm") -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=100,
        height=30,
        color_system=None,
        _environ={"TERM": kind},
    )


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_headline_tells_run_phase_messages_and_time_left() -> None:
    assert PROGRESS.headline == (
        "Run 3 of 8: measuring, 12 s left; 23,900 messages; 2 min 05 s to go"
    )


def test_before_the_first_run_there_is_no_number_of_a_run() -> None:
    waiting = replace(PROGRESS, run=1, phase=Phase.WAIT, left_sec=59.6)
    assert waiting.headline.startswith("Waiting for the first run, 12 s left;")
    assert waiting.headline.endswith("; 1 min 00 s to go")


def test_a_pipe_gets_one_line_for_each_phase() -> None:
    output = console(terminal=False)
    with display_for(output) as display:
        for left in (12.0, 11.0, 10.0):
            display.show(replace(PROGRESS, phase_left_sec=left))
        display.show(replace(PROGRESS, phase=Phase.COOLDOWN))
    lines = printed(output).splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "Run 3 of 8: measuring",
        "Run 3 of 8: cooling down",
    ]


def test_a_terminal_gets_the_live_numbers_of_every_site() -> None:
    output = console(terminal=True)
    with display_for(output) as display:
        display.show(PROGRESS)
        text = printed(output)
    assert "4.12 ms" in text
    assert "11,900" in text
    assert "..." in text


def test_the_live_display_is_gone_when_it_is_left() -> None:
    output = console(terminal=True)
    with display_for(output) as display:
        display.show(PROGRESS)
        before = printed(output)
    assert printed(output) != before
    assert "\x1b[2K" in printed(output)[len(before) :]


def test_the_display_suits_the_console() -> None:
    assert isinstance(display_for(console(terminal=True)), LiveDisplay)
    assert isinstance(display_for(console(terminal=False)), LineDisplay)


def test_a_terminal_that_cannot_redraw_gets_lines() -> None:
    output = console(terminal=True, kind="dumb")
    with display_for(output) as display:
        display.show(PROGRESS)
    assert printed(output) == f"{PROGRESS.headline}\n"
