"""A run is the sum of its instances, and unknown where one of them is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import candidate_of, latencies, run_of

if TYPE_CHECKING:
    from latency_sweep.analysis.evidence.records import RunEvidence


def run_with(*changes: dict[str, Any]) -> RunEvidence:
    """A run with an instance for each set of changes."""
    run = run_of(candidate_of(), 0, latencies(0.010))
    (instance,) = run.instances
    return replace(run, instances=tuple(replace(instance, **fields) for fields in changes))


def test_latencies_of_the_instances_are_added() -> None:
    parts = latencies(0.010), latencies(0.020)
    run = run_with({"latency": parts[0]}, {"latency": parts[1]})
    assert run.latency == FloatHistogram.merge(*parts)


def test_windows_are_added_where_all_instances_are_cut_alike() -> None:
    windows = latencies(0.010), latencies(0.020)
    run = run_with({"windows": windows}, {"windows": windows})
    assert run.windows == tuple(FloatHistogram.merge(window, window) for window in windows)
    assert run_with({"windows": windows}, {"windows": windows[:1]}).windows == ()
    assert run_with({"windows": windows}, {"windows": ()}).windows == ()


@pytest.mark.parametrize("counter", ["messages", "lost", "reconnects", "negative", "hours"])
def test_counters_are_summed_and_unknown_if_one_is(counter: str) -> None:
    assert getattr(run_with({counter: 2}, {counter: 3}), counter) == 5
    assert getattr(run_with({counter: 2}, {counter: None}), counter) is None


def test_the_worst_instance_counts_for_coverage_and_clock() -> None:
    run = run_with(
        {"coverage": 0.9, "clock_error_bound_sec": 1e-4},
        {"coverage": 1.0, "clock_error_bound_sec": 2e-4},
    )
    assert (run.coverage, run.clock_error_bound_sec) == (0.9, 2e-4)
    assert run_with({}, {"clock_error_bound_sec": None}).clock_error_bound_sec is None


@pytest.mark.parametrize(
    ("states", "synchronized"),
    [
        ((True, True), True),
        ((True, None), None),
        ((None, False), False),
    ],
)
def test_a_clock_is_synchronised_if_that_of_every_instance_is(
    states: tuple[bool | None, ...],
    synchronized: bool | None,  # noqa: FBT001 - parametrized
) -> None:
    run = run_with(*({"clock_synchronized": state} for state in states))
    assert run.clock_synchronized is synchronized
