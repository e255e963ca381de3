"""Which value falls into which bucket, bit by bit as the Go client and the server have it."""

from __future__ import annotations

import hashlib
import itertools
import math
import struct
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latency_sweep.nativehist.buckets import (
    BOUNDS,
    MAX_SCHEMA,
    MIN_SCHEMA,
    NO_BUCKETS,
    Buckets,
    key_of,
    keys_of,
    upper_bound,
)

SCHEMAS = st.integers(MIN_SCHEMA, MAX_SCHEMA)
MAGNITUDES = st.floats(min_value=0, exclude_min=True)
COUNTS = st.dictionaries(st.integers(-500, 500), st.integers(1, 1000))


def test_the_table_of_bounds_is_bit_for_bit_that_of_the_go_client() -> None:
    doubles = struct.pack("<511d", *itertools.chain(*BOUNDS))
    assert (
        hashlib.sha256(doubles).hexdigest()
        == "ef8c502a6c1058710589604d187fa4789ad2848af70668cf7739ab3797e768ec"
    )


@pytest.mark.parametrize(
    ("value", "schema", "key"),
    [
        (1.0, 3, 0),
        (2.0, 3, 8),
        (3.0, 3, 13),
        (math.nextafter(1.0, 2), 8, 1),
        (math.nextafter(1.0, 0), 8, 0),
        (0.0156251, -1, -2),
        (0.0625, -1, -2),
        (33.33, -1, 3),
        (33.33, -2, 2),
        (sys.float_info.max, 2, 4096),
        (math.inf, 2, 4097),
        (-math.inf, 2, 4097),
        (math.inf, 8, 262145),
        (5e-324, 0, -1074),
        (5e-324, -4, -67),
        (5e-324, 8, -1074 * 256),
    ],
)
def test_known_values_fall_into_known_buckets(value: float, schema: int, key: int) -> None:
    assert key_of(value, schema) == key


# Bounds between subnormal numbers are rounded to them, and may then be the numbers themselves.
@given(st.floats(min_value=2 * sys.float_info.min), SCHEMAS)
@example(math.inf, 8)
@example(math.inf, -4)
@example(sys.float_info.max, 0)
def test_a_bucket_holds_values_above_the_bound_below_it_up_to_its_own(
    magnitude: float, schema: int
) -> None:
    key = key_of(magnitude, schema)
    assert upper_bound(key - 1, schema) < magnitude <= upper_bound(key, schema)


@given(st.lists(MAGNITUDES, min_size=1), SCHEMAS)
def test_many_values_fall_where_each_alone_does(magnitudes: list[float], schema: int) -> None:
    expected = [key_of(magnitude, schema) for magnitude in magnitudes]
    assert keys_of(np.array(magnitudes), schema).tolist() == expected


@pytest.mark.parametrize("schema", range(MIN_SCHEMA, MAX_SCHEMA + 1))
def test_bounds_and_their_neighbours_fall_on_the_right_side_in_every_octave(schema: int) -> None:
    keys = np.unique(np.linspace(key_of(5e-324, schema), key_of(1e308, schema), 1500).astype(int))
    bounds = [upper_bound(key, schema) for key in keys.tolist()]
    bounds = [bound for bound in bounds if 0 < bound < sys.float_info.max]
    around = [math.nextafter(b, to) for b in bounds for to in (0, math.inf)] + bounds
    around = [value for value in around if value > 0]
    assert keys_of(np.array(around), schema).tolist() == [key_of(v, schema) for v in around]


@given(MAGNITUDES, st.integers(MIN_SCHEMA + 1, MAX_SCHEMA))
def test_lowering_the_schema_gives_the_buckets_of_the_lower_schema(
    magnitude: float, schema: int
) -> None:
    lowered = Buckets.of({key_of(magnitude, schema): 1}).lowered(1)
    assert lowered == Buckets.of({key_of(magnitude, schema - 1): 1})


@given(COUNTS, st.integers(0, 6), st.integers(0, 6))
def test_lowering_twice_is_lowering_by_the_sum(
    counts: dict[int, int], first: int, second: int
) -> None:
    buckets = Buckets.of(counts)
    assert buckets.lowered(first).lowered(second) == buckets.lowered(first + second)


@given(COUNTS, COUNTS)
def test_buckets_add_up_key_by_key(one: dict[int, int], other: dict[int, int]) -> None:
    keys = one.keys() | other.keys()
    total = Buckets.of(one) + Buckets.of(other)
    assert total.as_dict() == {key: one.get(key, 0) + other.get(key, 0) for key in sorted(keys)}
    assert len(total) == len(keys)
    assert total.total == sum(one.values()) + sum(other.values())


@given(COUNTS, st.integers(-600, 600))
def test_splitting_loses_nothing(counts: dict[int, int], key: int) -> None:
    covered, rest = Buckets.of(counts).split(key)
    assert covered == sum(count for at, count in counts.items() if at <= key)
    assert rest.as_dict() == {at: counts[at] for at in sorted(counts) if at > key}


def test_equal_buckets_have_equal_hashes_and_are_no_other_thing() -> None:
    assert hash(Buckets.of({1: 2})) == hash(Buckets.of({1: 2}))
    assert Buckets.of({1: 2}) != {1: 2}


def test_buckets_cannot_be_changed_by_those_who_share_them() -> None:
    buckets = Buckets.of({1: 2})
    with pytest.raises(ValueError, match="read-only"):
        buckets.counts[0] = 3
    assert NO_BUCKETS.as_dict() == {}
