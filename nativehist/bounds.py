"""Bucket bounds of native histograms: which value falls into which bucket.

With schema `s`, bucket `k` holds the magnitudes in `(b**(k - 1), b**k]` where `b = 2**(2**-s)`;
negative values are mirrored. The rule, the table of bounds and the treatment of infinities are
those of client_golang (`prometheus/histogram.go`), so that every double falls into the same bucket
here, in the Go client and in the server.
"""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Keys = NDArray[np.int64]

KeyOrKeys = TypeVar("KeyOrKeys", int, "Keys")

MIN_SCHEMA: Final = -4
MAX_SCHEMA: Final = 8

# Half-width of the zero bucket: client_golang's default, a bucket bound in every schema.
DEFAULT_ZERO_THRESHOLD: Final = 2.0**-128


def _bounds_table() -> list[Floats]:
    """Upper bounds in [0.5, 1) for every schema from 0, as client_golang and the server have them.

    They are not the correctly rounded powers of two: that table was made by repeated
    multiplication, which this loop repeats bit by bit.
    """
    table = [[0.5]]
    for schema in range(1, MAX_SCHEMA + 1):
        factor = math.nextafter(math.sqrt(2), 0) if schema == 1 else 2.0 ** (2.0**-schema)
        table.append([bound for lower in table[-1] for bound in (lower, lower * factor)])
    arrays = [np.array(bounds) for bounds in table]
    for bounds in arrays:
        bounds.setflags(write=False)
    return arrays


BOUNDS: Final = _bounds_table()


def bucket_keys(magnitudes: Floats, schema: int) -> Keys:
    """Keys of the buckets that magnitudes fall into.

    Infinity has the key after that of the largest finite double.

    Args:
        magnitudes: absolute values greater than zero, any shape.
        schema: -4 (a factor of 65536 from bound to bound) to 8 (a factor of 1.0027).
    """
    fraction, exponents = np.frexp(np.minimum(magnitudes, sys.float_info.max))
    exponent = exponents.astype(np.int64)
    if schema > 0:
        bounds = BOUNDS[schema]
        key = bounds.searchsorted(fraction) + (exponent - 1) * len(bounds)
    else:
        # A power of two is the inclusive upper bound of the bucket below it.
        power = exponent - (fraction == 0.5)  # noqa: PLR2004 - frexp of a power of two
        key = reduce_resolution(power, -schema)
    return key + np.isinf(magnitudes)


def reduce_resolution(keys: KeyOrKeys, steps: int) -> KeyOrKeys:
    """Keys of the same values in the schema lower by `steps`: `2**steps` buckets become one."""
    return (keys + (1 << steps) - 1) >> steps


def upper_bounds(keys: Keys, schema: int) -> Floats:
    """Inclusive upper bounds of buckets by key; that of the bucket of infinity is infinity.

    The lower bound of bucket `k` is the upper bound of bucket `k - 1`.
    """
    if schema < 0:
        fraction, exponent = np.full(keys.shape, 0.5), (keys << -schema) + 1
    else:
        fraction, exponent = BOUNDS[schema][keys & ((1 << schema) - 1)], (keys >> schema) + 1
    with np.errstate(over="ignore"):
        bounds = np.ldexp(fraction, exponent)
    # 2**1024, the end of the last finite bucket, is no double: the largest one is used for it.
    last = (fraction == 0.5) & (exponent == sys.float_info.max_exp + 1)  # noqa: PLR2004
    return np.where(last, sys.float_info.max, bounds)


def exponential_bounds(minimum: float, maximum: float, count: int) -> tuple[float, ...]:
    """`count` classic bucket bounds, evenly spaced on a log scale, both ends exact.

    client_golang's `ExponentialBucketsRange`. The bounds between the ends are rounded to six
    significant digits, to be readable as `le` labels.

    Raises:
        ValueError: the ends are not positive, finite and ascending, or there are fewer than two
            bounds, or so many that rounding makes them equal.
    """
    if not 0 < minimum < maximum < math.inf or count < 2:  # noqa: PLR2004 - the two ends
        raise ValueError(
            f"bounds must be 0 < minimum < maximum and at least 2, "
            f"not {count} from {minimum:g} to {maximum:g}"
        )
    inner = np.geomspace(minimum, maximum, count)[1:-1].tolist()
    bounds = (minimum, *(float(f"{bound:.6g}") for bound in inner), maximum)
    if any(low >= high for low, high in pairwise(bounds)):
        raise ValueError(f"{count} bounds from {minimum:g} to {maximum:g} are too close together")
    return bounds
