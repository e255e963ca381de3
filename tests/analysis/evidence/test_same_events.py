"""Instances that measured other events than the rest are named, unless it is known why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from latency_sweep.analysis.evidence.records import InstanceEvidence
from latency_sweep.analysis.evidence.run_queries import InstanceRun
from latency_sweep.analysis.evidence.same_events import warnings
from latency_sweep.contract.targets import Target
from latency_sweep.contract.timeline import Timeline
from latency_sweep.nativehist.float_histogram import FloatHistogram

TIMELINE = Timeline(60 * 10**9, 3600 * 10**9, 60 * 10**9)
FIRST = TIMELINE.run_at(1_795_000_000 * 10**9)
RUNS = [FIRST, TIMELINE.run_after(FIRST)]
TRADES, BOOK = ("trade", "BTCUSDT"), ("depth@100ms", "BTCUSDT")
ALL = {TRADES: 50_000, BOOK: 36_000}
TOKYO, DUBLIN = (Target(name, "region", "zone", "type") for name in ("i-tokyo", "i-dublin"))


def observed(channels: dict[tuple[str, str], int], **changes: Any) -> InstanceRun:
    usual = InstanceRun(
        evidence=InstanceEvidence(
            instance="i-1",
            az_id="zone",
            latency=FloatHistogram.from_samples([0.01]),
            windows=(),
            messages=86_000,
            lost=0,
            reconnects=0,
            negative=0,
            hours=1.0,
            coverage=1.0,
            clock_error_bound_sec=1e-4,
            clock_synchronized=True,
        ),
        complete=True,
        torn=False,
        restarts=0,
        scrapes=240,
        scrapes_expected=240,
        clock_scrapes=240,
        channels=channels,
    )
    own = {name: changes.pop(name) for name in InstanceRun.__dataclass_fields__ if name in changes}
    return replace(usual, **{"evidence": replace(usual.evidence, **changes), **own})


def test_instances_with_the_same_events_are_not_named() -> None:
    assert warnings([FIRST], [{TOKYO: observed(ALL), DUBLIN: observed(ALL)}]) == ()


def test_a_channel_that_fell_silent_on_one_instance_is_named() -> None:
    silent = observed({**ALL, BOOK: 9_000})
    (warning,) = warnings([FIRST], [{TOKYO: observed(ALL), DUBLIN: silent}])
    assert warning == (
        "i-dublin measured only 25 % of the depth@100ms BTCUSDT messages that another instance "
        f"measured in run {FIRST.label}, and reports no loss."
    )


def test_a_channel_that_never_spoke_on_one_instance_is_named() -> None:
    (warning,) = warnings([FIRST], [{TOKYO: observed({TRADES: 50_000}), DUBLIN: observed(ALL)}])
    assert warning.startswith("i-tokyo measured only 0 % of the depth@100ms BTCUSDT messages")


def test_of_several_cases_the_worst_is_told() -> None:
    runs = [
        {TOKYO: observed(ALL), DUBLIN: observed({**ALL, TRADES: count})} for count in (4_000, 500)
    ]
    (warning,) = warnings(RUNS, runs)
    assert warning == (
        "i-dublin measured only 1 % of the trade BTCUSDT messages that another instance measured "
        f"in run {RUNS[1].label}, and reports no loss (the worst of 2 such cases)."
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
