"""The timeline derives the same runs everywhere."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from latency_sweep.contract.experiment import Timing
from latency_sweep.contract.metrics import Phase
from latency_sweep.contract.timeline import NS_PER_SEC, RandomStarts, Timeline, parse_run_label

TIMELINE = Timeline.of(
    Timing(warmup_sec=300, measurement_sec=3600, cooldown_sec=60, scrape_interval_sec=15)
)
SCHEDULE_OF_SEED_1 = ["2027-01-15T09:26:39Z", "2027-01-15T13:08:41Z", "2027-01-15T18:23:42Z"]
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


DAY = 86_400
BANDS = st.integers(min_value=3, max_value=96)
SEEDS = st.integers(min_value=0, max_value=2**31 - 1)


def blocks(per_day: int, seed: int) -> Timeline:
    second = NS_PER_SEC
    return Timeline(300 * second, 600 * second, second, random_starts=RandomStarts(per_day, seed))


@given(BANDS, SEEDS, MOMENTS)
def test_each_band_of_the_day_has_one_whole_block(per_day: int, seed: int, moment: int) -> None:
    per_day = min(per_day, DAY // 901)
    timeline, starts = blocks(per_day, seed), RandomStarts(per_day, seed)
    day = moment // NS_PER_SEC // DAY
    run = timeline.run_from(day * DAY * NS_PER_SEC)
    for number in range(per_day):
        first, last = (starts.band_start_sec(day * per_day + number + x) for x in (0, 1))
        assert first * NS_PER_SEC <= run.start_ns < run.end_ns <= last * NS_PER_SEC
        assert last - first in {DAY // per_day, DAY // per_day + 1}
        run = timeline.run_after(run)
    assert run.start_ns >= (day + 1) * DAY * NS_PER_SEC


@given(BANDS, SEEDS, MOMENTS)
def test_a_moment_between_blocks_waits_for_the_next_one(
    per_day: int, seed: int, moment: int
) -> None:
    timeline = blocks(min(per_day, 95), seed)
    run = timeline.run_at(moment)
    assert moment < run.end_ns
    assert run.start_ns - moment < 2 * DAY * NS_PER_SEC / 3
    for inside in (run.start_ns, run.measure_start_ns, run.end_ns - 1):
        assert timeline.run_at(inside) == run
    assert timeline.run_at(parse_ns(run.label)).label == run.label
    assert timeline.run_from(run.start_ns) == run
    assert timeline.run_from(run.start_ns + 1) == timeline.run_after(run)


def test_blocks_start_at_all_times_of_their_band_alike() -> None:
    starts = RandomStarts(4, 7)
    found = [
        (starts.start_sec(band, 900) - starts.band_start_sec(band)) / (DAY // 4 - 900 + 1)
        for band in range(4 * 5_000, 4 * 5_500)
    ]
    assert stats.kstest(found, "uniform").pvalue > 0.01
    # Neighbours are independent.
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.05


def test_the_schedule_of_a_seed_never_changes() -> None:
    """Probes of another version must measure the same blocks."""
    run = blocks(6, 1).run_at(1_800_000_000 * NS_PER_SEC)
    found = []
    for _ in range(3):
        found.append(run.label)
        run = blocks(6, 1).run_after(run)
    assert found == SCHEDULE_OF_SEED_1
    assert blocks(6, 2).run_at(1_800_000_000 * NS_PER_SEC).label not in found


def parse_ns(label: str) -> int:
    return int(parse_run_label(label).timestamp()) * NS_PER_SEC
