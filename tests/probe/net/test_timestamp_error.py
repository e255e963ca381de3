"""The bound on a shared timestamp goes back to when the socket was last found empty."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.net.timestamp_error import TimestampError

QUEUE = 10


def test_before_anything_was_read_it_goes_back_to_the_beginning() -> None:
    assert TimestampError(1000, QUEUE).bound_ns(1500, 1600) == 510


def test_it_goes_back_to_the_last_time_nothing_was_there() -> None:
    error = TimestampError(1000, QUEUE)
    error.found_empty(1400)
    assert error.bound_ns(1500, 1600) == 110
    assert error.since_ns == 1390


def test_a_segment_older_than_that_waited_for_another_one() -> None:
    error = TimestampError(1000, QUEUE)
    error.found_empty(1400)
    assert not error.is_overtaken(1390)
    assert error.is_overtaken(1389)
    assert error.bound_ns(1389, 1600) == 211  # it may have become usable just now


@given(
    st.lists(st.tuples(st.integers(1, 100), st.booleans()), min_size=1, max_size=40),
    st.integers(0, QUEUE),
)
def test_every_message_of_every_read_came_within_the_bound(
    steps: list[tuple[int, bool]], queued: int
) -> None:
    """Messages come, reach the queue a little later, and are read in turns."""
    now, waiting = 1000, []
    error = TimestampError(now, QUEUE)
    for pause, arrives in steps:
        now += pause
        if arrives:
            waiting.append(now)
            continue
        readable = [at for at in waiting if at + queued <= now]
        waiting = waiting[len(readable) :]
        if readable:
            bound_ns = error.bound_ns(readable[-1], now)
            assert not error.is_overtaken(readable[-1])
            assert all(0 <= readable[-1] - at <= bound_ns for at in readable)
        error.found_empty(now)
