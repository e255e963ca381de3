"""Populated buckets of one sign: adding them up and reducing their resolution."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.nativehist.bounds import MAX_SCHEMA, MIN_SCHEMA
from latency_sweep.nativehist.sparse_buckets import NO_BUCKETS, SparseBuckets
from tests.nativehist.reference import key_of

MAGNITUDES = st.floats(min_value=0, exclude_min=True)
COUNTS = st.dictionaries(st.integers(-500, 500), st.integers(1, 1000))


@given(MAGNITUDES, st.integers(MIN_SCHEMA + 1, MAX_SCHEMA))
def test_lowering_the_schema_gives_the_buckets_of_the_lower_schema(
    magnitude: float, schema: int
) -> None:
    reduced = SparseBuckets.of({key_of(magnitude, schema): 1}).reduce_resolution(1)
    assert reduced == SparseBuckets.of({key_of(magnitude, schema - 1): 1})


@given(COUNTS, st.integers(0, 6), st.integers(0, 6))
def test_lowering_twice_is_lowering_by_the_sum(
    counts: dict[int, int], first: int, second: int
) -> None:
    buckets = SparseBuckets.of(counts)
    assert buckets.reduce_resolution(first).reduce_resolution(second) == buckets.reduce_resolution(
        first + second
    )


@given(COUNTS, COUNTS)
def test_buckets_add_up_key_by_key(one: dict[int, int], other: dict[int, int]) -> None:
    keys = one.keys() | other.keys()
    total = SparseBuckets.of(one) + SparseBuckets.of(other)
    assert total.as_dict() == {key: one.get(key, 0) + other.get(key, 0) for key in sorted(keys)}
    assert len(total) == len(keys)
    assert total.total == sum(one.values()) + sum(other.values())


def test_equal_buckets_have_equal_hashes_and_are_no_other_thing() -> None:
    assert hash(SparseBuckets.of({1: 2})) == hash(SparseBuckets.of({1: 2}))
    assert SparseBuckets.of({1: 2}) != {1: 2}


def test_buckets_cannot_be_changed_by_those_who_share_them() -> None:
    buckets = SparseBuckets.of({1: 2})
    with pytest.raises(ValueError, match="read-only"):
        buckets.counts[0] = 3
    assert NO_BUCKETS.as_dict() == {}
