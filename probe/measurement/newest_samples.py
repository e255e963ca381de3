"""The newest messages, in the order of their arrival, for whoever wants to look at some."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from latency_sweep.probe.feeds.base import Burst, Event, EventRun

SAMPLES_KEPT: Final = 1000

# Number of the read, position in it, what was received and its receive timestamp, Unix ns.
_Sample = tuple[int, int, "Event", int]


class NewestSamples:
    """The newest messages with their receive timestamps.

    Bursts are kept as they come, and put into order when somebody asks: that costs the hot path
    nothing for each message.

    Attributes:
        append: notes one message: number of the read, position in it, event, timestamp.
    """

    __slots__ = ("_bursts", "_in_bursts", "_reads", "_single", "append")

    def __init__(self) -> None:
        self._reads = 0
        self._single: deque[_Sample] = deque(maxlen=SAMPLES_KEPT)
        self._bursts: deque[tuple[int, Burst, Mapping[bytes, EventRun], int, int]] = deque()
        self._in_bursts = 0
        self.append: Final = self._single.append

    def begin_read(self) -> int:
        """The number of a read: that of the one before, plus one."""
        self._reads += 1
        return self._reads

    def add_burst(
        self, read: int, burst: Burst, runs: Mapping[bytes, EventRun], count: int, timestamp_ns: int
    ) -> None:
        """Note those messages of a burst that are in `runs`.

        Args:
            read: number of the read.
            burst: says in which order the messages came.
            runs: some of the burst's.
            count: messages in them.
            timestamp_ns: their receive timestamp, Unix nanoseconds.
        """
        self._bursts.append((read, burst, runs, count, timestamp_ns))
        self._in_bursts += count
        while self._in_bursts - self._bursts[0][3] >= SAMPLES_KEPT:
            self._in_bursts -= self._bursts.popleft()[3]

    def newest(self) -> Sequence[tuple[Event, int]]:
        """The newest messages with their receive timestamps, Unix nanoseconds; the oldest first."""
        samples = [*self._single, *self._of_bursts()]
        samples.sort(key=lambda sample: sample[:2])
        return [(event, timestamp_ns) for _, _, event, timestamp_ns in samples[-SAMPLES_KEPT:]]

    def _of_bursts(self) -> Iterable[_Sample]:
        for read, burst, runs, _, timestamp_ns in self._bursts:
            seen: Counter[bytes] = Counter()
            for position, group in enumerate(burst.groups):
                run = runs.get(group)
                if run is not None:
                    yield read, position, run.at(seen[group]), timestamp_ns
                    seen[group] += 1
