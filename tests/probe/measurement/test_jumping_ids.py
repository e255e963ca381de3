"""Copies and new numberings are told apart where ids jump and there may be no event time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.measurement.arrival import Arrival
from latency_sweep.probe.measurement.jumping_ids import JumpingIds, JumpingPosition


@dataclass
class Received:
    """A channel that connections deliver; each opens at its first message."""

    strays: list[str] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.jumping = JumpingIds(self.strays.append)
        self.positions: dict[str, JumpingPosition] = {}

    def open(self, name: str) -> None:
        self.positions[name] = self.jumping.position()
        if len(self.positions) > 1:
            self.jumping.overlap()

    def see(self, number: int, event_ns: int | None = None, *, on: str = "a") -> Arrival:
        if on not in self.positions:
            self.open(on)
        arrival = self.jumping.see(number, event_ns, self.positions[on])
        self.arrivals.append(arrival)
        return arrival

    @property
    def counted(self) -> int:
        return self.arrivals.count(Arrival.COUNTED)


def test_ids_that_begin_anew_on_one_connection_are_a_restart() -> None:
    received = Received()
    for number in (100, 140, 150, 1, 30, 31):
        received.see(number)
    assert (received.counted, received.jumping.restarts, received.strays) == (6, 1, [])


def test_a_new_connection_may_bring_the_new_numbering() -> None:
    received = Received()
    for number in (100, 140, 150):
        received.see(number)
    received.positions.clear()
    for number in (1, 30, 31):
        received.see(number)
    assert (received.counted, received.jumping.restarts, received.strays) == (6, 1, [])


def test_in_an_overlap_the_new_numbering_counts_once() -> None:
    received = Received()
    for number in (100, 140, 150):
        received.see(number)
    for name in ("b", "a"):
        for number in (1, 30, 31):
            received.see(number, on=name)
    assert (received.counted, received.jumping.restarts, received.strays) == (6, 1, [])


@pytest.mark.parametrize("wrong", [5, 99, 10**12])
def test_an_isolated_id_is_an_error_and_no_restart(wrong: int) -> None:
    received = Received()
    for number in (100, 140, wrong, 150, 160, 170):
        received.see(number)
    assert (received.counted, received.jumping.restarts) == (6, 0)
    assert len(received.strays) == 1


def test_messages_that_overtake_each_other_are_no_error() -> None:
    received = Received()
    for number in (100, 140, 130, 150, 150):
        received.see(number)
    assert (received.counted, received.jumping.restarts, received.strays) == (5, 0, [])


def test_with_an_event_time_an_old_message_is_old() -> None:
    received = Received()
    for number in (100, 140, 150):
        received.see(number, number)
    for number in (100, 140):
        received.see(number, number)
    assert (received.counted, received.jumping.restarts, received.strays) == (5, 0, [])
    received.see(100, 200)
    received.see(140, 210)
    assert received.jumping.restarts == 1


def test_an_id_with_another_event_time_is_no_copy() -> None:
    received = Received()
    received.open("a")
    received.open("b")
    assert received.see(100, 1, on="a") is Arrival.COUNTED
    assert received.see(100, 2, on="b") is Arrival.COUNTED
    assert received.see(110, 3, on="a") is Arrival.COUNTED
    assert received.see(110, 3, on="b") is Arrival.REDUNDANT


STEPS = st.lists(st.integers(1, 1000), min_size=3, max_size=20)
CLOCKS = ("event time", "none")
TURNS = st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=20)


@given(st.lists(STEPS, min_size=1, max_size=2), TURNS, st.integers(0, 2), st.sampled_from(CLOCKS))
def test_two_connections_at_any_lag_count_everything_once(
    epochs: list[list[int]], turns: list[tuple[bool, int]], late: int, clock: str
) -> None:
    """Each numbering begins below the one before, here and there by little."""
    numbers = []
    for depth, steps in enumerate(epochs):
        number = 10**6 - 10**5 * depth
        for step in steps:
            numbers.append(number)
            number += step
    messages = [
        (number, when if clock == "event time" else None) for when, number in enumerate(numbers)
    ]
    received, places = Received(), {"a": 0, "b": late}
    received.open("a")
    for number, when in messages[:late]:
        received.see(number, when)
        places["a"] += 1
    received.open("b")
    for is_b, count in [*turns, (False, len(messages)), (True, len(messages))]:
        name = "b" if is_b else "a"
        for number, when in messages[places[name] :][:count]:
            received.see(number, when, on=name)
            places[name] += 1
    assert received.counted == len(messages)
    assert (received.jumping.restarts, received.strays) == (len(epochs) - 1, [])
