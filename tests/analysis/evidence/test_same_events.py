"""Places that measured other events than the rest are told of, unless it is known why."""

from __future__ import annotations

from typing import Any

import pytest

from latency_sweep.analysis.evidence.run_queries import InstanceRun, Place
from latency_sweep.analysis.evidence.same_events import warnings
from latency_sweep.contract.timeline import Timeline
from latency_sweep.nativehist.float_histogram import FloatHistogram

TIMELINE = Timeline(60 * 10**9, 3600 * 10**9, 60 * 10**9)
FIRST = TIMELINE.run_at(1_795_000_000 * 10**9)
RUNS = [FIRST, TIMELINE.run_after(FIRST)]
TRADES, BOOK = ("trade", "BTCUSDT"), ("depth@100ms", "BTCUSDT")
ALL = {TRADES: 50_000, BOOK: 36_000}
TOKYO, DUBLIN = (Place(name, "region", "zone", "type") for name in ("i-tokyo", "i-dublin"))


def observed(channels: dict[tuple[str, str], int], **changes: Any) -> InstanceRun:
    usual: dict[str, Any] = {
        "latency": FloatHistogram.from_samples([0.01]),
        "windows": (),
        "complete": True,
        "torn": False,
        "restarts": 0,
        "messages": 86_000,
        "lost": 0,
        "reconnects": 0,
        "negative": 0,
        "hours": 1.0,
        "scrapes": 240,
        "scrapes_expected": 240,
        "clock_error_bound_sec": 1e-4,
        "clock_scrapes": 240,
        "clock_synchronized": True,
    }
    return InstanceRun(**(usual | changes), channels=channels)


def test_places_with_the_same_events_are_not_spoken_of() -> None:
    assert warnings([FIRST], [{TOKYO: observed(ALL), DUBLIN: observed(ALL)}]) == ()


def test_a_channel_that_fell_silent_at_one_place_is_named() -> None:
    silent = observed({**ALL, BOOK: 9_000})
    (warning,) = warnings([FIRST], [{TOKYO: observed(ALL), DUBLIN: silent}])
    assert warning == (
        "i-dublin measured only 25 % of the depth@100ms BTCUSDT messages that another place "
        f"measured in run {FIRST.label}, and knows of no loss."
    )


def test_a_channel_that_never_spoke_at_one_place_is_named() -> None:
    (warning,) = warnings([FIRST], [{TOKYO: observed({TRADES: 50_000}), DUBLIN: observed(ALL)}])
    assert warning.startswith("i-tokyo measured only 0 % of the depth@100ms BTCUSDT messages")


def test_of_several_cases_the_worst_is_told() -> None:
    places = [
        {TOKYO: observed(ALL), DUBLIN: observed({**ALL, TRADES: count})} for count in (4_000, 500)
    ]
    (warning,) = warnings(RUNS, places)
    assert warning == (
        "i-dublin measured only 1 % of the trade BTCUSDT messages that another place measured "
        f"in run {RUNS[1].label}, and knows of no loss (the worst of 2 such cases)."
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"lost": 27_000},
        {"reconnects": 1},
        {"restarts": 1},
        {"complete": False},
        {"torn": True},
        {"latency": FloatHistogram.empty()},
    ],
)
def test_what_another_finding_explains_is_not_told_again(changes: dict[str, Any]) -> None:
    explained = observed({**ALL, BOOK: 9_000}, **changes)
    assert warnings([FIRST], [{TOKYO: observed(ALL), DUBLIN: explained}]) == ()


def test_few_messages_may_differ_as_chance_has_it() -> None:
    few = {TOKYO: observed({TRADES: 400}), DUBLIN: observed({TRADES: 310})}
    assert warnings([FIRST], [few]) == ()
    assert warnings([FIRST], [few | {DUBLIN: observed({TRADES: 290})}]) != ()
