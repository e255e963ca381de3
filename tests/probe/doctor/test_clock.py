"""What the doctor says of the local clock."""

from __future__ import annotations

import pytest

from latency_sweep.probe.clock.reading import ClockError, ClockReading
from latency_sweep.probe.doctor.clock import check_leap_smear, check_local_clock, check_steps
from latency_sweep.runtime.check_result import CheckStatus


def reading(
    bound_sec: float = 20e-6, *, synchronized: bool = True, source: str = "chrony"
) -> ClockReading:
    return ClockReading(0.0, bound_sec, synchronized=synchronized, source=source)


def test_a_clock_within_its_limit_passes() -> None:
    result, found = check_local_clock(reading, limit_sec=1e-3)
    assert (result.status, result.found) == (CheckStatus.PASS, "chrony: bound 20 µs")
    assert found == reading()


def test_a_bound_beyond_the_limit_fails() -> None:
    result, _ = check_local_clock(lambda: reading(2e-3), limit_sec=1e-3)
    assert (result.status, result.found) == (CheckStatus.FAIL, "chrony: bound 2 ms")
    assert "169.254.169.123" in result.action


def test_a_small_bound_of_a_clock_that_follows_nothing_fails() -> None:
    result, _ = check_local_clock(lambda: reading(synchronized=False), limit_sec=1e-3)
    assert result.status is CheckStatus.FAIL
    assert "not synchronised" in result.found


def test_a_source_that_cannot_be_read_fails_with_its_reason() -> None:
    def read() -> ClockReading:
        raise ClockError("chronyd does not answer.")

    result, found = check_local_clock(read, limit_sec=1e-3)
    assert (result.status, result.found, found) == (
        CheckStatus.FAIL,
        "chronyd does not answer.",
        None,
    )


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("chrony+phc", "not smeared"),
        ("chrony", "smeared, if the NTP server is Amazon's"),
        ("kernel", "smeared, unless it follows the PTP clock"),
        ("clockbound", "smeared, unless it follows the PTP clock"),
    ],
)
def test_how_a_leap_second_is_passed_depends_on_what_is_followed(source: str, found: str) -> None:
    result = check_leap_smear(reading(source=source))
    assert result.status is CheckStatus.PASS
    assert found in result.found


@pytest.mark.parametrize("state", [None, reading(synchronized=False), reading(source="shared")])
def test_leap_seconds_are_not_evaluated_where_nothing_is_followed(
    state: ClockReading | None,
) -> None:
    assert check_leap_smear(state).status is CheckStatus.SKIP


def test_a_calm_clock_passes() -> None:
    assert check_steps(None, 1.0).status is CheckStatus.PASS


@pytest.mark.parametrize(
    ("step_sec", "found"), [(1.0, "set forward by 1 s"), (-2e-3, "set back by 2 ms")]
)
def test_a_clock_that_is_set_while_watched_fails(step_sec: float, found: str) -> None:
    result = check_steps(step_sec, 1.0)
    assert (result.status, result.found) == (CheckStatus.FAIL, found)
