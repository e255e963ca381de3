from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.collector.lifecycle import schedule
from latency_sweep.collector.lifecycle.collecting import progress
from latency_sweep.collector.lifecycle.schedule import (
    ScheduleError,
    plan_runs,
    runs_of_labels,
    stratum_of,
)
from latency_sweep.contract import experiment as experiments
from latency_sweep.contract.timeline import NS_PER_SEC

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Experiment

MORNING = int(datetime(2026, 1, 31, 5, 0, tzinfo=UTC).timestamp()) * NS_PER_SEC


@pytest.fixture(scope="module")
def shipped() -> Experiment:
    return experiments.load()


def timed(experiment: Experiment, **timing: int) -> Experiment:
    changed = experiment.timing.model_copy(update=timing)
    return experiment.model_copy(update={"timing": changed})


def test_the_next_runs_are_whole_ones(shipped: Experiment) -> None:
    runs = plan_runs(shipped, after_ns=MORNING, runs=3, strata=())
    assert runs[0].start_ns > MORNING
    assert [after.start_ns for after in runs[1:]] == [before.end_ns for before in runs[:-1]]


@given(after_sec=st.integers(1_700_000_000, 1_900_000_000), runs=st.integers(1, 5))
def test_a_schedule_survives_being_kept_as_labels(after_sec: int, runs: int) -> None:
    experiment = experiments.load()
    planned = plan_runs(experiment, after_ns=after_sec * NS_PER_SEC, runs=runs, strata=())
    assert runs_of_labels(experiment, [run.label for run in planned]) == planned


def test_random_blocks_are_planned_over_days_and_kept_as_labels(shipped: Experiment) -> None:
    document = shipped.model_dump(by_alias=True)
    document["timing"] |= {
        "measurement_sec": 600,
        "random_blocks": {"per_day": 6, "seed": 1, "most": 44},
    }
    experiment = type(shipped).model_validate(document)
    planned = plan_runs(experiment, after_ns=MORNING, runs=44, strata=())
    assert planned[0].start_ns > MORNING
    days = (planned[-1].end_ns - MORNING) / NS_PER_SEC / 86_400
    assert 7 <= days <= 8
    assert runs_of_labels(experiment, [run.label for run in planned]) == planned


def test_each_stratum_gets_its_runs(shipped: Experiment) -> None:
    short = timed(shipped, warmup_sec=60, measurement_sec=1680, cooldown_sec=60)
    runs = plan_runs(short, after_ns=MORNING, runs=3, strata=("low", "high", "peak"))
    assert sorted(stratum_of(short, run) or "" for run in runs) == [
        *["high"] * 3,
        *["low"] * 3,
        *["peak"] * 3,
    ]


def test_a_stratum_that_one_day_has_too_little_room_for_takes_several(
    shipped: Experiment,
) -> None:
    runs = plan_runs(shipped, after_ns=MORNING, runs=3, strata=("low",))
    assert len({run.label[:10] for run in runs}) > 1


def test_a_stratum_that_no_run_can_fall_into_is_refused(shipped: Experiment) -> None:
    day = timed(shipped, warmup_sec=1, measurement_sec=86_398, cooldown_sec=1)
    with pytest.raises(ScheduleError, match="No schedule of 1 runs fits"):
        plan_runs(day, after_ns=MORNING, runs=1, strata=("low",))


def test_progress_names_the_run_its_stratum_and_the_time_left(shipped: Experiment) -> None:
    runs = plan_runs(shipped, after_ns=MORNING, runs=2, strata=("low",))
    waiting, share, left = progress(shipped, runs, MORNING)
    assert waiting == f"Waiting for run 1 of 2 (low), which measures from {runs[0].label}"
    assert share == 0
    assert left == (schedule.settled_at_ns(shipped, runs) - MORNING) / NS_PER_SEC
    assert progress(shipped, runs, runs[0].measure_start_ns)[0] == "Run 1 of 2 (low): measuring"
    end = schedule.settled_at_ns(shipped, runs)
    assert progress(shipped, runs, end) == ("Waiting for the last scrape", 1.0, 0.0)
