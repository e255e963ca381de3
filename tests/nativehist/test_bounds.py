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

from latency_sweep.nativehist.bounds import (
    BOUNDS,
    MAX_SCHEMA,
    MIN_SCHEMA,
    bucket_keys,
    exponential_bounds,
    upper_bounds,
)
from tests.nativehist.reference import key_of, upper_bound

SCHEMAS = st.integers(MIN_SCHEMA, MAX_SCHEMA)
MAGNITUDES = st.floats(min_value=0, exclude_min=True)


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
    assert bucket_keys(np.array([abs(value)]), schema).tolist() == [key]


# Bounds between subnormal numbers are rounded to them, and may then be the numbers themselves.
@given(st.floats(min_value=2 * sys.float_info.min), SCHEMAS)
@example(math.inf, 8)
@example(math.inf, -4)
@example(sys.float_info.max, 0)
def test_a_bucket_holds_values_above_the_bound_below_it_up_to_its_own(
    magnitude: float, schema: int
) -> None:
    keys = bucket_keys(np.array([magnitude]), schema)
    assert upper_bounds(keys - 1, schema)[0] < magnitude <= upper_bounds(keys, schema)[0]


@given(st.lists(MAGNITUDES, min_size=1), SCHEMAS)
def test_many_values_fall_where_each_alone_does(magnitudes: list[float], schema: int) -> None:
    expected = [key_of(magnitude, schema) for magnitude in magnitudes]
    assert bucket_keys(np.array(magnitudes), schema).tolist() == expected


@pytest.mark.parametrize("schema", range(MIN_SCHEMA, MAX_SCHEMA + 1))
def test_bounds_and_their_neighbours_fall_on_the_right_side_in_every_octave(schema: int) -> None:
    keys = np.unique(np.linspace(key_of(5e-324, schema), key_of(1e308, schema), 1500).astype(int))
    bounds = [upper_bound(key, schema) for key in keys.tolist()]
    bounds = [bound for bound in bounds if 0 < bound < sys.float_info.max]
    around = [math.nextafter(b, to) for b in bounds for to in (0, math.inf)] + bounds
    around = [value for value in around if value > 0]
    assert bucket_keys(np.array(around), schema).tolist() == [key_of(v, schema) for v in around]


@pytest.mark.parametrize("schema", range(MIN_SCHEMA, MAX_SCHEMA + 1))
def test_many_bounds_are_those_of_each_alone_to_the_bit(schema: int) -> None:
    ends = key_of(5e-324, schema) - 2, key_of(math.inf, schema) + 2
    keys = np.unique(np.linspace(*ends, 5000).astype(np.int64))
    keys = np.union1d(keys, np.arange(ends[1] - 20, ends[1] + 1))
    bounds = [upper_bound(key, schema) for key in keys.tolist()]
    assert upper_bounds(keys, schema).tolist() == bounds


def test_exponential_bounds_keep_their_ends_and_ratio() -> None:
    bounds = exponential_bounds(1e-6, 10, 50)
    assert (len(bounds), bounds[0], bounds[-1]) == (50, 1e-6, 10)
    ratios = [high / low for low, high in itertools.pairwise(bounds)]
    assert ratios == pytest.approx([1e7 ** (1 / 49)] * 49, rel=1e-5)
    assert all(bound == float(f"{bound:.6g}") for bound in bounds)


@pytest.mark.parametrize(
    ("minimum", "maximum", "count"),
    [(0, 1, 5), (1, 1, 5), (2, 1, 5), (1, math.inf, 5), (1, 2, 1), (1, 1.0001, 500)],
)
def test_bounds_that_cannot_be_are_refused(minimum: float, maximum: float, count: int) -> None:
    with pytest.raises(ValueError, match="bounds"):
        exponential_bounds(minimum, maximum, count)
