"""Every byte of a TCP stream gets the timestamp of the segment that made it usable."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.net.segments import SegmentTimestamps

if TYPE_CHECKING:
    import random

WRAP = 1 << 32
SIZES = st.lists(st.integers(1, 3000), min_size=1, max_size=30)


def usable_from(arrivals: list[tuple[int, int, int]], end: int) -> list[int]:
    """The reference: for each byte, when all bytes up to it had come, one by one."""
    came: dict[int, int] = {}
    for start, stop, timestamp_ns in arrivals:
        for offset in range(start, stop):
            came.setdefault(offset, timestamp_ns)
    return list(accumulate((came[offset] for offset in range(end)), max))


def timestamps_of(pieces: list[tuple[int, int]] | None, start: int) -> list[int]:
    assert pieces is not None
    found = []
    for end, timestamp_ns in pieces:
        found += [timestamp_ns] * (end - start)
        start = end
    return found


@given(SIZES, st.integers(0, WRAP - 1), st.randoms(use_true_random=False), st.data())
def test_any_order_and_repetition_gives_each_byte_the_time_it_became_usable(
    sizes: list[int], first: int, rng: random.Random, data: st.DataObject
) -> None:
    edges = [0, *accumulate(size % 40 + 1 for size in sizes)]
    segments = list(pairwise(edges))
    again = data.draw(st.lists(st.sampled_from(segments), max_size=5))
    order = [*segments, *again]
    rng.shuffle(order)
    arrivals = [(start, end, 1000 + at) for at, (start, end) in enumerate(order)]
    timestamps = SegmentTimestamps(first)
    for start, end, timestamp_ns in arrivals:
        timestamps.add((first + start) % WRAP, end - start, timestamp_ns)
    cuts = sorted({*data.draw(st.lists(st.integers(0, edges[-1]), max_size=8)), 0, edges[-1]})
    found = [
        timestamp
        for start, end in pairwise(cuts)
        for timestamp in timestamps_of(timestamps.read(start, end), start)
    ]
    assert found == usable_from(arrivals, edges[-1])


def test_reading_in_between_changes_nothing() -> None:
    timestamps = SegmentTimestamps(100)
    timestamps.add(100, 10, 1)
    assert timestamps.read(0, 4) == [(4, 1)]
    timestamps.add(110, 10, 2)
    assert timestamps.read(4, 20) == [(10, 1), (20, 2)]


def test_a_segment_sent_again_keeps_its_first_timestamp() -> None:
    timestamps = SegmentTimestamps(0)
    timestamps.add(0, 10, 1)
    timestamps.add(0, 10, 7)
    timestamps.add(5, 10, 8)
    assert timestamps.read(0, 15) == [(10, 1), (15, 8)]


def test_what_was_overtaken_lends_its_timestamp_to_what_overtook_it() -> None:
    timestamps = SegmentTimestamps(0)
    timestamps.add(10, 10, 1)
    timestamps.add(0, 10, 5)
    assert timestamps_of(timestamps.read(0, 20), 0) == [5] * 20


def test_sequence_numbers_wrap() -> None:
    timestamps = SegmentTimestamps(WRAP - 5)
    timestamps.add(WRAP - 5, 10, 1)
    timestamps.add(5, 10, 2)
    assert timestamps.read(0, 20) == [(10, 1), (20, 2)]


def test_a_stream_longer_than_the_sequence_numbers_goes_on() -> None:
    timestamps = SegmentTimestamps(7)
    step = 1 << 30
    for number in range(9):
        timestamps.add((7 + number * step) % WRAP, step, number)
        assert timestamps.read(number * step, (number + 1) * step) == [
            ((number + 1) * step, number)
        ]


def test_what_was_not_seen_has_no_timestamp_and_what_follows_has() -> None:
    timestamps = SegmentTimestamps(0)
    timestamps.add(10, 10, 2)
    assert timestamps.read(0, 20) is None
    timestamps.add(20, 10, 3)
    assert timestamps.read(20, 30) == [(30, 3)]


def test_a_segment_without_data_says_nothing() -> None:
    timestamps = SegmentTimestamps(0)
    timestamps.add(0, 0, 1)
    timestamps.add(WRAP - 1, 1, 2)  # as a keep-alive
    timestamps.add(0, 10, 3)
    assert timestamps.read(0, 10) == [(10, 3)]
