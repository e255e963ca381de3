"""How values of options are written and what they mean."""

from __future__ import annotations

import argparse
import time

import pytest

from latency_sweep.runtime import options


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-31T06:05:00Z", 1769839500.0),
        ("2026-01-31T08:05:00+02:00", 1769839500.0),
        ("2026-01-31 06:05", 1769839500.0),
        ("1769839500.5", 1769839500.5),
    ],
)
def test_times_are_read_as_utc(text: str, seconds: float) -> None:
    assert options.moment(text) == seconds


@pytest.mark.parametrize(("text", "seconds"), [("6h", 21_600), ("1d12h", 129_600), ("1.5m", 90)])
def test_durations_count_back_from_now(text: str, seconds: float) -> None:
    before = time.time()
    assert before - seconds <= options.moment(text) <= time.time() - seconds


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "1h1h", "1d2h3d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a time"):
        options.moment(text)


def test_a_duration_that_repeats_a_unit_is_none() -> None:
    assert options.duration("1h1h") is None


@pytest.mark.parametrize("text", ["9999999w", "9" * 400 + "h"])
def test_durations_beyond_all_dates_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a time|longer ago"):
        options.moment(text)


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
