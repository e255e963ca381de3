"""A native histogram that costs little to observe and nothing to capture.

`NativeHistogram.observe` only appends to an array, which is folded into the histogram's state batch
by batch. The state is immutable, so a scrape takes a reference and a copy of the few pending
values, and whatever is slow happens later, in any thread.
"""

from __future__ import annotations

import time
from array import array
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from latency_sweep.nativehist.fold import fold
from latency_sweep.nativehist.settings import HistogramSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.nativehist.snapshot import HistogramSnapshot

# Larger batches cost less per value and stall the caller for longer: about 0.1 ms at this size.
_BATCH: Final = 2048


class CapturedHistogram(NamedTuple):
    """A histogram as it was at one moment; cheap to take, resolved later in any thread.

    Attributes:
        state: the state, without observations still pending.
        pending: these observations.
        settings: those of the histogram.
        now: Unix time of the capture, seconds.
    """

    state: HistogramSnapshot
    pending: array[float]
    settings: HistogramSettings
    now: float

    def resolve(self) -> HistogramSnapshot:
        """The snapshot: a pure function, and the slow part."""
        return fold(self.state, np.frombuffer(self.pending), self.settings, self.now)


class NativeHistogram:
    """A histogram with exponential buckets, and classic ones beside them if bounds are given.

    Any thread may observe while any other captures: nothing is lost or counted twice.

    Attributes:
        append: observes one value and does nothing else, for callers that observe much and call
            `maybe_fold` now and then. Raises TypeError if the value is no number.
        extend: the same for values in their order.
        extend_bytes: the same for bytes that are doubles as this machine has them.
    """

    __slots__ = (
        "_clock",
        "_lock",
        "_pending",
        "_settings",
        "_state",
        "append",
        "extend",
        "extend_bytes",
    )

    def __init__(
        self,
        settings: HistogramSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start without observations; `clock` gives Unix time in seconds."""
        self._settings = settings or HistogramSettings()
        self._clock = clock
        self._state = self._settings.empty(clock())
        self._pending = array("d")
        self.append: Final = self._pending.append
        self.extend: Final = self._pending.extend
        self.extend_bytes: Final = self._pending.frombytes
        self._lock = Lock()

    def observe(self, value: float) -> None:
        """Count one value, of any sign, infinite or NaN (in count and sum only).

        Raises:
            TypeError: the value is no number.
        """
        self.append(value)
        self.maybe_fold()

    def maybe_fold(self) -> bool:
        """Fold what is pending if it has become much; returns whether it did, and took time."""
        # A fold under way elsewhere is not waited for: the next call will see to the rest.
        if len(self._pending) < _BATCH or not self._lock.acquire(blocking=False):
            return False
        try:
            self._fold_pending()
        finally:
            self._lock.release()
        return True

    def capture(self) -> CapturedHistogram:
        """This moment's state, to be resolved later: about a microsecond whatever the size."""
        with self._lock:
            if self._settings.min_reset_sec:
                # A reset has to happen here and not in the capture alone.
                self._fold_pending()
            return CapturedHistogram(self._state, self._pending[:], self._settings, self._clock())

    def snapshot(self) -> HistogramSnapshot:
        """Everything observed so far."""
        with self._lock:
            self._fold_pending()
            return self._state

    def _fold_pending(self) -> None:
        """Fold what is pending; the lock is held. Appending goes on: copy and delete are atomic."""
        batch = self._pending[:]
        self._state = fold(self._state, np.frombuffer(batch), self._settings, self._clock())
        del self._pending[: len(batch)]
