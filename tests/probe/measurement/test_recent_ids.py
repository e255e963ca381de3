"""Ids of several connections are recognised in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.measurement.recent_ids import REMEMBERED, RecentIds


@given(st.lists(st.integers(min_value=0, max_value=50)))
def test_each_id_above_the_floor_is_first_once(ids: list[int]) -> None:
    recent = RecentIds(floor=10)
    first = [number for number in ids if recent.is_first(number)]
    assert sorted(first) == sorted({number for number in ids if number > 10})


def test_memory_is_bounded_and_what_is_forgotten_counts_as_seen() -> None:
    recent = RecentIds(floor=-1)
    assert all(recent.is_first(number) for number in range(REMEMBERED + 100))
    assert len(recent._ids) == len(recent._order) == REMEMBERED
    assert not recent.is_first(50)
