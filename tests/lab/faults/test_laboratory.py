"""The laboratory's measurement begins when it is wanted, whatever the time and the day."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from latency_sweep.contract.experiment import Timing
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.lab.faults.laboratory import timing_arguments

# The last of them is shortly before the end of a cycle of an hour, of two, and so on up to weeks.
MOMENTS = [
    datetime(2026, 11, 27, 14, 0, 0, tzinfo=UTC),
    datetime(2026, 11, 27, 14, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC),
    datetime(2026, 12, 2, 7, 45, 0, 250_000, tzinfo=UTC),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_a_measurement_begins_within_a_second_and_goes_on_for_long(moment: datetime) -> None:
    wanted = moment.timestamp()
    flags = dict(flag.removeprefix("--").split("=") for flag in timing_arguments(wanted))
    durations = {name.replace("-", "_"): int(value) for name, value in flags.items()}
    timing = Timing.model_validate(durations | {"scrape_interval_sec": 1})
    run = Timeline.of(timing).run_at(round(wanted * NS_PER_SEC))
    assert wanted < run.measure_start_ns / NS_PER_SEC <= wanted + 1
    assert run.measure_end_ns / NS_PER_SEC > wanted + 1700
