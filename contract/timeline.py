"""The timeline: which run and phase a moment belongs to.

Runs follow one another without a pause, aligned to the Unix epoch, or they are blocks at random
times of the day. Every probe and the collector derive the same schedule from the experiment alone
and need no remote control.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.metrics import Phase

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Timing

NS_PER_SEC = 1_000_000_000
SEC_PER_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Run:
    """One run: warm-up, measurement, cool-down. All times are Unix nanoseconds.

    Attributes:
        start_ns: start of the warm-up, when the fresh connection is opened.
        measure_start_ns: first event time that counts.
        measure_end_ns: first event time that no longer counts.
        end_ns: end of the cool-down, start of the next run.
    """

    start_ns: int
    measure_start_ns: int
    measure_end_ns: int
    end_ns: int

    @property
    def label(self) -> str:
        """UTC start of the measurement, ISO 8601 with whole seconds, as in the `run` label."""
        start = datetime.fromtimestamp(self.measure_start_ns // NS_PER_SEC, UTC)
        return start.strftime("%Y-%m-%dT%H:%M:%SZ")

    def phase_at(self, unix_ns: int) -> Phase:
        """The phase of a moment inside this run (moments outside are clipped to it)."""
        if unix_ns < self.measure_start_ns:
            return Phase.WARMUP
        if unix_ns < self.measure_end_ns:
            return Phase.MEASURE
        return Phase.COOLDOWN

    def phase_start_ns(self, phase: Phase) -> int:
        """Unix nanoseconds at which a phase of this run starts."""
        match phase:
            case Phase.MEASURE:
                return self.measure_start_ns
            case Phase.COOLDOWN:
                return self.measure_end_ns
            case _:
                return self.start_ns

    def phase_end_ns(self, phase: Phase) -> int:
        """Unix nanoseconds at which a phase of this run, or the wait for it, ends."""
        match phase:
            case Phase.WARMUP:
                return self.measure_start_ns
            case Phase.MEASURE:
                return self.measure_end_ns
            case Phase.COOLDOWN:
                return self.end_ns
            case _:
                return self.start_ns


def parse_run_label(label: str) -> datetime:
    """The UTC start of the measurement that a `run` label names.

    Raises:
        ValueError: the label is not of the form `2026-01-31T06:05:00Z`.
    """
    return datetime.strptime(label, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RandomStarts:
    """Blocks at random times: each UTC day is cut into bands, and each band has one block.

    A block starts at a whole second that is drawn uniformly from those at which it fits into its
    band. The blocks are thus a random sample of all times, which is what the analysis relies on.

    Attributes:
        per_day: bands of a day.
        seed: another one gives other times.
    """

    per_day: int
    seed: int

    def band_at(self, unix_sec: int) -> int:
        """The number of a moment's band, counted from the Unix epoch."""
        day, second = divmod(unix_sec, SEC_PER_DAY)
        # The last band that starts no later: bands are as equal as whole seconds allow.
        return day * self.per_day + ((second + 1) * self.per_day - 1) // SEC_PER_DAY

    def band_start_sec(self, band: int) -> int:
        """Unix seconds at which a band begins."""
        day, number = divmod(band, self.per_day)
        return day * SEC_PER_DAY + SEC_PER_DAY * number // self.per_day

    def start_sec(self, band: int, length_sec: int) -> int:
        """Unix seconds at which the block of a band starts, if it takes so many seconds."""
        begin = self.band_start_sec(band)
        starts = self.band_start_sec(band + 1) - begin - length_sec + 1
        # The same on every machine and in every version, unlike the generators of libraries.
        digest = hashlib.sha256(f"{self.seed}:{band}".encode()).digest()
        return begin + int.from_bytes(digest[:8], "big") % max(starts, 1)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The endless sequence of runs that a `Timing` defines.

    Attributes:
        warmup_ns: length of each run's warm-up, nanoseconds.
        measurement_ns: length of its measurement.
        cooldown_ns: length of its cool-down.
        random_starts: when runs start; None if they follow one another without a pause.
    """

    warmup_ns: int
    measurement_ns: int
    cooldown_ns: int
    random_starts: RandomStarts | None = None

    @classmethod
    def of(cls, timing: Timing) -> Timeline:
        """The timeline of an experiment's `timing` section."""
        blocks = timing.random_blocks
        return cls(
            timing.warmup_sec * NS_PER_SEC,
            timing.measurement_sec * NS_PER_SEC,
            timing.cooldown_sec * NS_PER_SEC,
            random_starts=None if blocks is None else RandomStarts(blocks.per_day, blocks.seed),
        )

    @property
    def cycle_ns(self) -> int:
        """Length of a run with its warm-up and cool-down, nanoseconds."""
        return self.warmup_ns + self.measurement_ns + self.cooldown_ns

    def run_at(self, unix_ns: int) -> Run:
        """The first run that has not ended at a moment.

        Its warm-up, measurement or cool-down contains the moment, or it is still to come: that
        happens between blocks only.
        """
        if self.random_starts is None:
            return self._run_from(unix_ns - unix_ns % self.cycle_ns)
        band = self.random_starts.band_at(unix_ns // NS_PER_SEC)
        run = self._block_of(self.random_starts, band)
        return run if unix_ns < run.end_ns else self._block_of(self.random_starts, band + 1)

    def run_after(self, run: Run) -> Run:
        """The run that follows another."""
        return self.run_at(run.end_ns)

    def run_from(self, unix_ns: int) -> Run:
        """The first run that starts at a moment or later."""
        run = self.run_at(unix_ns)
        return run if run.start_ns >= unix_ns else self.run_after(run)

    def _block_of(self, starts: RandomStarts, band: int) -> Run:
        length_sec = -(-self.cycle_ns // NS_PER_SEC)
        return self._run_from(starts.start_sec(band, length_sec) * NS_PER_SEC)

    def _run_from(self, start_ns: int) -> Run:
        measure = start_ns + self.warmup_ns
        return Run(start_ns, measure, measure + self.measurement_ns, start_ns + self.cycle_ns)
