"""Buckets one value at a time, as the Go client finds them, to test vectorised code with."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left

from latency_sweep.nativehist.bounds import BOUNDS

TABLE = [bounds.tolist() for bounds in BOUNDS]


def key_of(value: float, schema: int) -> int:
    """Bucket of one non-zero value that is not NaN, by its magnitude."""
    infinite = math.isinf(value)
    fraction, exponent = math.frexp(sys.float_info.max if infinite else abs(value))
    if schema > 0:
        bounds = TABLE[schema]
        key = bisect_left(bounds, fraction) + (exponent - 1) * len(bounds)
    else:
        # A power of two is the inclusive upper bound of the bucket below it.
        key = exponent - (fraction == 0.5)
        key = (key + (1 << -schema) - 1) >> -schema
    return key + infinite


def upper_bound(key: int, schema: int) -> float:
    """Inclusive upper bound of a bucket; that of the bucket of infinities is infinity."""
    if schema < 0:
        fraction, exponent = 0.5, (key << -schema) + 1
    else:
        fraction = TABLE[schema][key & ((1 << schema) - 1)]
        exponent = (key >> schema) + 1
    if exponent > sys.float_info.max_exp:
        is_last_finite = fraction == 0.5 and exponent == sys.float_info.max_exp + 1
        return sys.float_info.max if is_last_finite else math.inf
    return math.ldexp(fraction, exponent)
