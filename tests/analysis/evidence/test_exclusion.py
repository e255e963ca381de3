"""When a run must not be used."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.evidence.exclusion import lateness_reasons, sample_reasons
from latency_sweep.analysis.evidence.timestamps import TimestampErrors
from latency_sweep.contract.usable_runs import fewest_samples
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import candidate_of, latencies, run_of

if TYPE_CHECKING:
    from latency_sweep.analysis.evidence.records import InstanceEvidence


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_fewest_samples_just_bound_the_p99(confidence: float) -> None:
    needed = fewest_samples(confidence)
    assert 0.99**needed <= (1 - confidence) / 2 < 0.99 ** (needed - 1)


def test_enough_samples_are_no_reason_and_one_fewer_are() -> None:
    assert sample_reasons(368, 0.95) == ()
    (reason,) = sample_reasons(367, 0.95)
    assert reason.startswith("only 367 latency samples")


def test_no_samples_are_another_reasons_business() -> None:
    assert sample_reasons(0, 0.95) == ()


def instance(bounds: list[float], *, clock: float = 1e-5) -> InstanceEvidence:
    """A thousand latencies around 10 ms, some of which may be late by the bounds."""
    (one,) = run_of(candidate_of(), 0, latencies(0.010, samples=1000)).instances
    errors = TimestampErrors(FloatHistogram.from_samples(bounds), 1000 - len(bounds))
    return replace(one, timestamp_errors=errors, clock_error_bound_sec=clock)


@pytest.mark.parametrize(
    ("bounds", "clock", "excluded"),
    [
        ([], 1e-5, False),
        ([1e-4] * 1000, 1e-5, False),  # 1 % of p99
        ([5e-4] * 1000, 1e-5, True),  # 5 % of p99
        ([5e-4] * 1000, 6e-4, False),  # the clock itself is known no better
        ([1.0], 1e-5, False),  # the next smaller of a thousand is as close
        ([1.0] * 50, 1e-5, True),
    ],
)
def test_a_host_is_too_busy_where_late_timestamps_explain_more_than_matters(
    bounds: list[float],
    clock: float,
    excluded: bool,  # noqa: FBT001 - parametrized
) -> None:
    reasons = lateness_reasons(instance(bounds, clock=clock), 0.02)
    assert bool(reasons) is excluded
    assert all("the host of i-1 was too busy to measure" in reason for reason in reasons)


def test_unlimited_lateness_explains_any_part_of_p99() -> None:
    (reason,) = lateness_reasons(instance([math.inf] * 1000), 0.02)
    assert "can explain any part of its p99 of 10 ms" in reason


def test_a_probe_that_does_not_say_is_not_called_busy() -> None:
    assert lateness_reasons(replace(instance([]), timestamp_errors=None), 0.02) == ()
