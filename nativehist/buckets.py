"""Buckets of Prometheus' native histograms: which value falls where.

With schema `s`, bucket `k` holds the magnitudes in `(b**(k - 1), b**k]` where `b = 2**(2**-s)`;
negative values are mirrored. The rule, the table of bounds and the treatment of infinities are
those of client_golang (`prometheus/histogram.go`), so that every double falls into the same bucket
here, in the Go client and in the server.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

MIN_SCHEMA: Final = -4
MAX_SCHEMA: Final = 8


def _bounds_table() -> list[list[float]]:
    """Upper bounds in [0.5, 1) for every schema from 0, as client_golang and the server have them.

    They are not the correctly rounded powers of two: that table was made by repeated
    multiplication, which this loop repeats bit by bit.
    """
    table = [[0.5]]
    for schema in range(1, MAX_SCHEMA + 1):
        factor = math.nextafter(math.sqrt(2), 0) if schema == 1 else 2.0 ** (2.0**-schema)
        table.append([bound for lower in table[-1] for bound in (lower, lower * factor)])
    return table


BOUNDS: Final = _bounds_table()
_BOUNDS_ARRAYS: Final = [np.array(bounds) for bounds in BOUNDS]


def key_of(value: float, schema: int) -> int:
    """Bucket of one non-zero value that is not NaN, by its magnitude; the readable reference."""
    infinite = math.isinf(value)
    fraction, exponent = math.frexp(sys.float_info.max if infinite else abs(value))
    if schema > 0:
        bounds = BOUNDS[schema]
        key = bisect_left(bounds, fraction) + (exponent - 1) * len(bounds)
    else:
        # A power of two is the inclusive upper bound of the bucket below it.
        key = exponent - (fraction == 0.5)  # noqa: PLR2004 - frexp of a power of two
        key = (key + (1 << -schema) - 1) >> -schema
    return key + infinite


def keys_of(magnitudes: NDArray[np.float64], schema: int) -> NDArray[np.int64]:
    """Buckets of many positive magnitudes, infinity included: `key_of`, vectorised."""
    fraction, exponents = np.frexp(np.minimum(magnitudes, sys.float_info.max))
    exponent = exponents.astype(np.int64)
    if schema > 0:
        bounds = _BOUNDS_ARRAYS[schema]
        key = bounds.searchsorted(fraction) + (exponent - 1) * len(bounds)
    else:
        key = (exponent - (fraction == 0.5) + (1 << -schema) - 1) >> -schema  # noqa: PLR2004
    return key + np.isinf(magnitudes)


def upper_bound(key: int, schema: int) -> float:
    """Inclusive upper bound of a bucket; that of the bucket of infinities is infinity."""
    if schema < 0:
        fraction, exponent = 0.5, (key << -schema) + 1
    else:
        fraction = BOUNDS[schema][key & ((1 << schema) - 1)]
        exponent = (key >> schema) + 1
    if exponent > sys.float_info.max_exp:
        # 2**1024, the end of the last finite bucket, is no double: the largest one stands for it.
        is_last_finite = fraction == 0.5 and exponent == sys.float_info.max_exp + 1  # noqa: PLR2004
        return sys.float_info.max if is_last_finite else math.inf
    return math.ldexp(fraction, exponent)


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """Populated buckets of one sign, immutable.

    Attributes:
        keys: ascending, each once.
        counts: of the same length, all positive.
    """

    keys: NDArray[np.int64]
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Make the arrays read-only: snapshots share them."""
        self.keys.setflags(write=False)
        self.counts.setflags(write=False)

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Self:
        """Buckets from counts by key."""
        items: Iterable[tuple[int, int]] = sorted(counts.items())
        table = np.array([*items], dtype=np.int64).reshape(-1, 2)
        return cls(table[:, 0].copy(), table[:, 1].copy())

    @classmethod
    def of_magnitudes(cls, magnitudes: NDArray[np.float64], schema: int) -> Buckets:
        """Buckets of ascending positive magnitudes, infinity included."""
        if not magnitudes.size:
            return NO_BUCKETS
        keys = keys_of(magnitudes, schema)
        edges = np.concatenate(([0], _changes(keys), [keys.size]))
        return cls(keys[edges[:-1]], edges[1:] - edges[:-1])

    def __len__(self) -> int:
        """Number of populated buckets."""
        return self.keys.size

    def __eq__(self, other: object) -> bool:
        """Whether the same buckets hold the same counts."""
        if not isinstance(other, Buckets):
            return NotImplemented
        same_keys = np.array_equal(self.keys, other.keys)
        return same_keys and np.array_equal(self.counts, other.counts)

    def __hash__(self) -> int:
        """A hash that agrees with equality."""
        return hash((self.keys.tobytes(), self.counts.tobytes()))

    def __add__(self, other: Buckets) -> Buckets:
        """Buckets of both, counts added."""
        if not len(self) or not len(other):
            return self if len(self) else other
        at = self.keys.searchsorted(other.keys)
        if at[-1] < len(self) and np.array_equal(self.keys[at], other.keys):
            # The usual case of a long-lived series: nothing new.
            counts = self.counts.copy()
            counts[at] += other.counts
            return Buckets(self.keys, counts)
        keys = np.concatenate((self.keys, other.keys))
        order = keys.argsort(kind="stable")
        return _grouped(keys[order], np.concatenate((self.counts, other.counts))[order])

    @property
    def total(self) -> int:
        """Observations in all buckets."""
        return int(self.counts.sum())

    def as_dict(self) -> dict[int, int]:
        """Counts by key, ascending."""
        return dict(zip(self.keys.tolist(), self.counts.tolist(), strict=True))

    def lowered(self, steps: int) -> Buckets:
        """The same observations at a schema lower by `steps`: `2**steps` buckets become one."""
        if steps == 0 or not len(self):
            return self
        return _grouped((self.keys + (1 << steps) - 1) >> steps, self.counts)

    def split(self, key: int) -> tuple[int, Buckets]:
        """Observations up to and including bucket `key`, and the buckets above it."""
        at = int(self.keys.searchsorted(key, side="right"))
        if at == 0:
            return 0, self
        return int(self.counts[:at].sum()), Buckets(self.keys[at:], self.counts[at:])


def _changes(keys: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where the value of a non-empty array differs from the one before."""
    changed: NDArray[np.bool_] = keys[1:] != keys[:-1]
    return changed.nonzero()[0] + 1


def _grouped(keys: NDArray[np.int64], counts: NDArray[np.int64]) -> Buckets:
    """Buckets from non-empty ascending keys that may repeat."""
    starts = np.concatenate(([0], _changes(keys)))
    return Buckets(keys[starts], np.add.reduceat(counts, starts))


NO_BUCKETS: Final = Buckets.of({})
