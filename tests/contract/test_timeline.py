"""The timeline derives the same runs everywhere."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.contract.experiment import Timing
from latency_sweep.contract.metrics import Phase
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline, parse_run_label

TIMELINE = Timeline.of(
    Timing(warmup_sec=300, measurement_sec=3600, cooldown_sec=60, scrape_interval_sec=15)
)
MOMENTS = st.integers(min_value=0, max_value=4_000_000_000 * NS_PER_SEC)


@given(MOMENTS)
def test_every_moment_lies_in_the_run_it_is_assigned_to(moment: int) -> None:
    run = TIMELINE.run_at(moment)
    assert run.start_ns <= moment < run.end_ns


@given(MOMENTS)
def test_runs_follow_one_another_without_a_pause(moment: int) -> None:
    run = TIMELINE.run_at(moment)
    assert TIMELINE.run_after(run).start_ns == run.end_ns


@given(MOMENTS)
def test_phases_last_as_long_as_configured(moment: int) -> None:
    run = TIMELINE.run_at(moment)
    assert run.measure_start_ns - run.start_ns == 300 * NS_PER_SEC
    assert run.measure_end_ns - run.measure_start_ns == 3600 * NS_PER_SEC
    assert run.end_ns - run.measure_end_ns == 60 * NS_PER_SEC


def test_phase_changes_exactly_at_its_start() -> None:
    run = TIMELINE.run_at(1_700_000_000 * NS_PER_SEC)
    for phase in (Phase.WARMUP, Phase.MEASURE, Phase.COOLDOWN):
        assert run.phase_at(run.phase_start_ns(phase)) is phase
    assert run.phase_at(run.measure_start_ns - 1) is Phase.WARMUP
    assert run.phase_at(run.measure_end_ns - 1) is Phase.MEASURE


@given(MOMENTS)
def test_label_names_the_start_of_the_measurement(moment: int) -> None:
    run = TIMELINE.run_at(moment)
    assert parse_run_label(run.label).timestamp() * NS_PER_SEC == run.measure_start_ns


def test_label_is_iso_8601_in_utc() -> None:
    run = Timeline(NS_PER_SEC, NS_PER_SEC, NS_PER_SEC).run_at(0)
    assert run.label == "1970-01-01T00:00:01Z"
    assert parse_run_label(run.label) == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("label", ["", "today", "2026-01-01", "2026-01-01T00:00:00+02:00"])
def test_other_labels_are_refused(label: str) -> None:
    with pytest.raises(ValueError, match="does not match format"):
        parse_run_label(label)
