from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from latency_sweep.contract.metrics import Phase
from latency_sweep.lab.local.progress import DemoProgress, SiteProgress, show
from latency_sweep.runtime.progress import ProgressDisplay

PROGRESS = DemoProgress(
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


def console(*, terminal: bool) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=100,
        height=30,
        color_system=None,
        _environ={"TERM": "xterm"},
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
    with ProgressDisplay(output) as display:
        for left in (12.0, 11.0, 10.0):
            show(display, replace(PROGRESS, phase_left_sec=left))
        show(display, replace(PROGRESS, phase=Phase.COOLDOWN))
    lines = printed(output).splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "Run 3 of 8: measuring",
        "Run 3 of 8: cooling down",
    ]


def test_a_terminal_gets_the_live_numbers_of_every_site() -> None:
    output = console(terminal=True)
    with ProgressDisplay(output) as display:
        show(display, PROGRESS)
        text = printed(output)
    assert "4.12 ms" in text
    assert "11,900" in text
    assert "..." in text
