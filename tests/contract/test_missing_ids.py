"""Tables of missing ids: what two differ by is read off, whatever they share."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.contract.missing_ids import CELLS, FIELDS, MODULUS, IdRange, MissingIds

ids = st.integers(0, 10**13)
ranges = st.builds(lambda first, more: IdRange(first, first + more), ids, st.integers(0, 10**6))
few = st.sets(ranges, max_size=6)


def table(of: set[IdRange]) -> MissingIds:
    made = MissingIds()
    for one in of:
        made.add(one)
    return made


def sampled(made: MissingIds) -> dict[tuple[int, str], int]:
    return {(cell, field): value for cell, field, value in made.samples()}


@given(st.sets(ranges, max_size=200), few, few)
def test_what_two_tables_share_cancels(
    shared: set[IdRange], one: set[IdRange], other: set[IdRange]
) -> None:
    difference = table(shared | one).difference(table(shared | other))
    if difference is not None:  # two of a dozen ranges share all their cells once in 20,000 times
        assert set(difference.only_first) == (one - other) - shared
        assert set(difference.only_second) == (other - one) - shared


def test_forty_differences_are_nearly_always_read_off() -> None:
    chance = random.Random(1)
    read = 0
    for _ in range(200):
        drawn = {IdRange(first, first + 1) for first in chance.sample(range(10**12), 40)}
        difference = table(drawn).difference(table(set()))
        read += difference is not None
        assert difference is None or set(difference.only_first) == drawn
    assert read >= 197


@pytest.mark.parametrize("count", [CELLS, 1000])
def test_too_many_differences_are_said_to_be_too_many(count: int) -> None:
    drawn = {IdRange(3 * number, 3 * number) for number in range(count)}
    assert table(drawn).difference(table(set())) is None


@given(few, few)
def test_removing_undoes_adding(stay: set[IdRange], go: set[IdRange]) -> None:
    made = table(stay | go)
    for one in go - stay:
        made.remove(one)
    difference = made.difference(table(stay))
    assert difference == ((), ())
    assert (made.ranges, made.ids) == (len(stay), sum(one.length for one in stay))


@given(st.sets(ranges, max_size=300))
def test_samples_are_the_table_and_exact_in_a_float(missing: set[IdRange]) -> None:
    samples = sampled(table(missing))
    assert len(samples) <= CELLS * len(FIELDS)
    assert all(0 <= value < MODULUS and int(float(value)) == value for value in samples.values())
    made = MissingIds.of_samples(samples)
    assert sampled(made) == samples
    assert made.ranges == len(missing)


def test_ids_near_the_largest_do_not_break_a_table() -> None:
    largest = {IdRange(2**63 - 10, 2**63 - 1), IdRange(5, 5)}
    difference = table(largest).difference(table({IdRange(5, 5)}))
    assert difference is not None
    assert [one.length for one in difference.only_first] == [10]


@pytest.mark.parametrize(
    "samples",
    [
        {(CELLS, "ranges"): 1},
        {(-1, "ranges"): 1},
        {(0, "other"): 1},
        {(0, "first"): MODULUS},
        {(0, "first"): -1},
        {(0, "ranges"): 1},  # not in the other parts
    ],
)
def test_samples_of_no_table_are_refused(samples: dict[tuple[int, str], int]) -> None:
    with pytest.raises(ValueError, match="table"):
        MissingIds.of_samples(samples)
