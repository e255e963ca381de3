"""The populated buckets of one sign, with integer counts, by key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from latency_sweep.nativehist.bounds import bucket_keys, reduce_resolution

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from latency_sweep.nativehist.bounds import Floats, Keys


@dataclass(frozen=True, slots=True, eq=False)
class SparseBuckets:
    """Populated buckets of one sign, immutable.

    Attributes:
        keys: ascending, each once.
        counts: of the same length, all positive.
    """

    keys: Keys
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
    def of_magnitudes(cls, magnitudes: Floats, schema: int) -> SparseBuckets:
        """Buckets of ascending positive magnitudes, infinity included."""
        if not magnitudes.size:
            return NO_BUCKETS
        # Times are of whole microseconds and whole reads, so many are equal: one look-up for all.
        starts = np.concatenate(([0], _changes(magnitudes)))
        keys = bucket_keys(magnitudes[starts], schema)
        first = np.concatenate(([0], _changes(keys)))
        edges = np.append(starts[first], magnitudes.size)
        return cls(keys[first], edges[1:] - edges[:-1])

    def __len__(self) -> int:
        """Number of populated buckets."""
        return self.keys.size

    def __eq__(self, other: object) -> bool:
        """Whether the same buckets hold the same counts."""
        if not isinstance(other, SparseBuckets):
            return NotImplemented
        same_keys = np.array_equal(self.keys, other.keys)
        return same_keys and np.array_equal(self.counts, other.counts)

    def __hash__(self) -> int:
        """A hash that agrees with equality."""
        return hash((self.keys.tobytes(), self.counts.tobytes()))

    def __add__(self, other: SparseBuckets) -> SparseBuckets:
        """Buckets of both, of the same schema, counts added."""
        if not len(self) or not len(other):
            return self if len(self) else other
        at = self.keys.searchsorted(other.keys)
        if at[-1] < len(self) and np.array_equal(self.keys[at], other.keys):
            # The usual case of a long-lived series: nothing new.
            counts = self.counts.copy()
            counts[at] += other.counts
            return SparseBuckets(self.keys, counts)
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

    def reduce_resolution(self, steps: int) -> SparseBuckets:
        """The same observations in the schema lower by `steps`."""
        if steps == 0 or not len(self):
            return self
        return _grouped(reduce_resolution(self.keys, steps), self.counts)


def _changes(values: Keys | Floats) -> NDArray[np.intp]:
    """Where the value of a non-empty array differs from the one before."""
    changed: NDArray[np.bool_] = values[1:] != values[:-1]
    return changed.nonzero()[0] + 1


def _grouped(keys: Keys, counts: NDArray[np.int64]) -> SparseBuckets:
    """Buckets from non-empty ascending keys that may repeat."""
    starts = np.concatenate(([0], _changes(keys)))
    return SparseBuckets(keys[starts], np.add.reduceat(counts, starts))


NO_BUCKETS: Final = SparseBuckets.of({})
