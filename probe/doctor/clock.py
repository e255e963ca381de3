"""Checks of the local clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.probe.clock import chrony, shared
from latency_sweep.probe.clock.reading import ClockError, ClockReading
from latency_sweep.runtime.check_result import CheckResult, CheckStatus, duration

if TYPE_CHECKING:
    from collections.abc import Callable

_LOCAL: Final = "clock"
_LEAP: Final = "leap seconds"
_STEPS: Final = "clock steps"
_STEER: Final = (
    "Run chrony with 'server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4', or with "
    "'refclock PHC /dev/ptp_ena poll 0 delay 0.000010 prefer' where the card has a PTP clock."
)


def check_local_clock(
    read: Callable[[], ClockReading], limit_sec: float
) -> tuple[CheckResult, ClockReading | None]:
    """Whether the clock follows UTC, and within which bound; with the reading itself."""
    expected = f"synchronised, bound ≤ {duration(limit_sec)}"
    try:
        reading = read()
    except ClockError as error:
        return CheckResult(_LOCAL, CheckStatus.FAIL, str(error), expected, _STEER), None
    found = f"{reading.source}: bound {duration(reading.error_bound_sec)}"
    if not reading.synchronized:
        return CheckResult(
            _LOCAL, CheckStatus.FAIL, f"{found}, not synchronised", expected, _STEER
        ), reading
    if reading.error_bound_sec > limit_sec:
        return CheckResult(_LOCAL, CheckStatus.FAIL, found, expected, _STEER), reading
    return CheckResult(_LOCAL, CheckStatus.PASS, found, expected), reading


def check_leap_smear(reading: ClockReading | None) -> CheckResult:
    """How this clock handles a leap second; it must be the same for all candidates."""
    expected = "the same for all candidates"
    if reading is None or not reading.synchronized:
        return CheckResult(_LEAP, CheckStatus.SKIP, "the clock follows nothing", expected)
    if reading.source == shared.NAME:
        return CheckResult(_LEAP, CheckStatus.SKIP, "one clock for exchange and probe", expected)
    if reading.source == chrony.WITH_PHC_NAME:
        return CheckResult(_LEAP, CheckStatus.PASS, "not smeared (PTP clock)", expected)
    if reading.source == chrony.NAME:
        return CheckResult(
            _LEAP, CheckStatus.PASS, "smeared, if the NTP server is Amazon's", expected
        )
    return CheckResult(
        _LEAP, CheckStatus.PASS, "smeared, unless it follows the PTP clock", expected
    )


def check_steps(step_sec: float | None, watched_sec: float) -> CheckResult:
    """Whether the clock was set while it was watched."""
    expected = "slewed, never set"
    if step_sec is None:
        found = f"none in {duration(watched_sec)}"
        return CheckResult(_STEPS, CheckStatus.PASS, found, expected)
    direction = "forward" if step_sec > 0 else "back"
    return CheckResult(
        _STEPS,
        CheckStatus.FAIL,
        f"set {direction} by {duration(abs(step_sec))}",
        expected,
        "Find out what sets the clock, let only one daemon steer it, and run this again.",
    )
