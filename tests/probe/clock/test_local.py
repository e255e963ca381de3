"""The table of sources, and the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.probe.clock import chrony, clockbound, kernel, local, shared
from latency_sweep.probe.clock.reading import ClockError, ClockReading, UnknownBoundError

if TYPE_CHECKING:
    from collections.abc import Callable


def answers(
    source: str, *, synchronized: bool = True, bound_sec: float = 1e-6
) -> Callable[[], ClockReading]:
    return lambda: ClockReading(0.0, bound_sec, synchronized=synchronized, source=source)


def fails(error: Exception) -> Callable[[], ClockReading]:
    def read() -> ClockReading:
        raise error

    return read


def test_the_kernel_gives_a_bound_that_covers_its_offset() -> None:
    reading = kernel.read()
    assert reading.error_bound_sec >= abs(reading.offset_sec)
    assert isinstance(reading.synchronized, bool)
    assert reading.source == "kernel"


def test_a_shared_clock_has_no_offset() -> None:
    reading = shared.read()
    assert (reading.offset_sec, reading.synchronized, reading.source) == (0.0, True, "shared")
    assert 0 < reading.error_bound_sec <= 1e-4


def test_every_source_is_named_as_it_labels_its_reading() -> None:
    assert list(local.SOURCES) == ["auto", "clockbound", "chrony", "kernel", "shared"]


def test_the_first_synchronised_source_is_the_best() -> None:
    candidates = [fails(ClockError("none.")), answers("chrony"), answers("kernel")]
    assert local.read_best(candidates).source == "chrony"


def test_a_synchronised_source_is_better_than_a_preferred_one_that_is_not() -> None:
    candidates = [answers("clockbound", synchronized=False), answers("kernel")]
    assert local.read_best(candidates).source == "kernel"


def test_where_none_is_synchronised_the_first_that_answers_is_shown() -> None:
    candidates = [
        fails(ClockError("none.")),
        answers("chrony", synchronized=False),
        answers("kernel", synchronized=False),
    ]
    assert local.read_best(candidates).source == "chrony"


def test_where_none_answers_every_reason_is_told() -> None:
    candidates = [fails(ClockError("No segment.")), fails(ClockError("No daemon."))]
    with pytest.raises(ClockError, match=r"No segment\. No daemon\."):
        local.read_best(candidates)


def test_a_bound_nobody_knows_is_not_replaced_by_one_that_understates_it() -> None:
    candidates = [fails(UnknownBoundError("no phc_error_bound.")), answers("kernel")]
    with pytest.raises(UnknownBoundError):
        local.read_best(candidates)


@pytest.mark.parametrize("source", ["auto", "clockbound", "kernel"])
def test_no_source_passes_while_chronyd_follows_a_reference_clock_of_unknown_error(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ClockBound 2 and the kernel know from chronyd what they know."""
    monkeypatch.setattr(clockbound, "read", answers("clockbound"))
    monkeypatch.setattr(kernel, "read", answers("kernel"))
    monkeypatch.setattr(chrony, "read", fails(UnknownBoundError("nothing says how far.")))
    with pytest.raises(UnknownBoundError):
        local.SOURCES[source]()


@pytest.mark.parametrize(
    ("chronyds", "bound_sec"),
    [
        (answers("chrony+phc", bound_sec=6e-6), 6e-6),
        (answers("chrony", bound_sec=5e-7), 1e-6),
        (fails(ClockError("No daemon.")), 1e-6),
    ],
)
def test_the_kernel_s_bound_is_at_least_chronyd_s(
    chronyds: Callable[[], ClockReading], bound_sec: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "read", answers("kernel"))
    monkeypatch.setattr(chrony, "read", chronyds)
    reading = local.SOURCES["kernel"]()
    assert (reading.error_bound_sec, reading.source) == (bound_sec, "kernel")


def test_this_machine_has_a_best_source() -> None:
    assert local.SOURCES["auto"]().source in {"clockbound", "chrony", "chrony+phc", "kernel"}
