"""The local clock's own account of itself."""

from __future__ import annotations

from probe.clock import local


def test_the_kernel_gives_a_bound_that_covers_its_offset() -> None:
    reading = local.read_kernel()
    assert reading.error_bound_sec >= abs(reading.offset_sec)
    assert isinstance(reading.synchronized, bool)


def test_a_shared_clock_has_no_offset() -> None:
    reading = local.read_shared()
    assert (reading.offset_sec, reading.synchronized) == (0.0, True)
    assert 0 < reading.error_bound_sec <= 1e-4
