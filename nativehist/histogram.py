"""A native histogram that costs little to observe and nothing to capture.

`NativeHistogram.observe` only appends to an array, which is folded into the histogram's state batch
by batch. The state is immutable and the array only grows until it is folded, so a scrape takes
references and a length, and whatever is slow happens later, in any thread.
"""

from __future__ import annotations

import time
from array import array
from threading import Lock
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_sweep.nativehist.fold import fold
from latency_sweep.nativehist.settings import HistogramSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.nativehist.snapshot import HistogramSnapshot

# Larger batches cost less per value and stall the caller for longer: about 0.1 ms at this size.
_BATCH: Final = 2048


class _Pending:
    """The values of one batch, while they are appended and after they were folded.

    Attributes:
        folded: all of them, once they are folded; None until then.
    """

    __slots__ = ("folded",)

    def __init__(self) -> None:
        self.folded: array[float] | None = None


class CapturedHistogram:
    """A histogram as it was at one moment; cheap to take, resolved later in any thread."""

    __slots__ = ("_histogram", "_now", "_pending", "_pending_count", "_state")

    def __init__(
        self,
        histogram: NativeHistogram,
        state: HistogramSnapshot,
        pending: _Pending,
        pending_count: int,
        now: float,
    ) -> None:
        self._histogram = histogram
        self._state = state
        self._pending = pending
        self._pending_count = pending_count
        self._now = now

    def resolve(self) -> HistogramSnapshot:
        """The snapshot: always the same, and the slow part."""
        histogram = self._histogram
        # Not while a fold moves the values.
        with histogram._lock:  # noqa: SLF001 - one mechanism in two classes
            folded = self._pending.folded
            values = histogram._pending if folded is None else folded  # noqa: SLF001
            values = values[: self._pending_count]
        return fold(self._state, np.frombuffer(values), histogram.settings, self._now)


class NativeHistogram:
    """A histogram with exponential buckets, and classic ones beside them if bounds are given.

    Any thread may observe while any other captures: nothing is lost or counted twice.

    Attributes:
        append: observes one value and does nothing else, for callers that observe much and call
            `maybe_fold` now and then. Raises TypeError if the value is no number.
        extend: the same for values in their order.
        extend_bytes: the same for bytes that are doubles as this machine has them.
        settings: its resolution and limits.
    """

    __slots__ = (
        "_batch",
        "_clock",
        "_lock",
        "_pending",
        "_state",
        "append",
        "extend",
        "extend_bytes",
        "settings",
    )

    def __init__(
        self,
        settings: HistogramSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start without observations; `clock` gives Unix time in seconds."""
        self.settings: Final = settings or HistogramSettings()
        self._clock = clock
        self._state = self.settings.empty(clock())
        self._pending = array("d")
        self._batch = _Pending()
        self.append: Final = self._pending.append
        self.extend: Final = self._pending.extend
        self.extend_bytes: Final = self._pending.frombytes
        self._lock = Lock()

    @property
    def count(self) -> int:
        """How many values were observed; folds nothing."""
        with self._lock:
            return int(self._state.count) + len(self._pending)

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
            if self.settings.min_reset_sec:
                # A reset has to happen here and not in the capture alone.
                self._fold_pending()
            return CapturedHistogram(
                self, self._state, self._batch, len(self._pending), self._clock()
            )

    def snapshot(self) -> HistogramSnapshot:
        """Everything observed so far."""
        with self._lock:
            self._fold_pending()
            return self._state

    def _fold_pending(self) -> None:
        """Fold what is pending; the lock is held. Appending goes on: copy and delete are atomic."""
        batch = self._pending[:]
        self._state = fold(self._state, np.frombuffer(batch), self.settings, self._clock())
        self._batch.folded = batch  # for the captures that count a part of it
        self._batch = _Pending()
        del self._pending[: len(batch)]
