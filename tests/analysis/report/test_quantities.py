"""Numbers in sentences."""

from __future__ import annotations

import pytest

from latency_sweep.analysis.report.words.quantities import (
    constraint,
    count,
    duration,
    enumeration,
    ms,
    percent,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0124, "12.4 ms"),
        (0.000183, "0.183 ms"),
        (1.25, "1250 ms"),
        (0.0, "0 ms"),
        (-0.002, "-2 ms"),
        (12.3456, "12346 ms"),
        (999_999.0, "999999000 ms"),
        (2e12, "2e+15 ms"),
        (-1e300, "-1e+303 ms"),
    ],
)
def test_durations_in_milliseconds(seconds: float, text: str) -> None:
    assert ms(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.95, "95 %"), (0.000123, "0.0123 %"), (34.4, "3440 %"), (0.0, "0 %"), (1e200, "1e+202 %")],
)
def test_ratios_in_per_cent(ratio: float, text: str) -> None:
    assert percent(ratio) == text


@pytest.mark.parametrize(
    ("hours", "text"), [(0.01, "36 s"), (0.5, "30 min"), (3.0, "3.0 h"), (0.0, "0 s")]
)
def test_durations_in_the_unit_that_suits_them(hours: float, text: str) -> None:
    assert duration(hours) == text


def test_counts_with_their_noun() -> None:
    assert count(1, "run") == "1 run"
    assert count(0, "run") == "0 runs"
    assert count(12_000, "sample") == "12,000 samples"
    assert count(12_000) == "12,000"


def test_names_in_a_row() -> None:
    assert enumeration([]) == ""
    assert enumeration(["a"]) == "a"
    assert enumeration(["a", "b"]) == "a and b"
    assert enumeration(["a", "b", "c"], conjunction="or") == "a, b or c"


def test_constraints_have_the_names_that_the_reports_use() -> None:
    assert constraint("tail_ratio") == "p99.9 / p99"
    assert constraint("loss") == "loss"
