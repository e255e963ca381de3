"""How the options of `sweep` are written and what they mean."""

from __future__ import annotations

import argparse

import pytest

from latency_sweep.collector.cli import options


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300", 300), ("90s", 90), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("2d", 172_800)],
)
def test_durations_are_whole_seconds(text: str, seconds: int) -> None:
    assert options.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0h", "-5m", "1.5s", "soon", "5 m", "9" * 400])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a duration such as 300, 5m or 1h"):
        options.seconds(text)
