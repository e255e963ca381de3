"""The timeline: which run and phase a moment belongs to.

Runs follow one another without a pause, aligned to the Unix epoch, so that every probe and the
collector derive the same schedule from the durations alone and need no remote control.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from latency_sweep.contract.metrics import Phase

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Timing

NS_PER_SEC = 1_000_000_000


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
class Timeline:
    """The endless sequence of runs that a `Timing` defines.

    Attributes:
        warmup_ns: length of each run's warm-up, nanoseconds.
        measurement_ns: length of its measurement.
        cooldown_ns: length of its cool-down.
    """

    warmup_ns: int
    measurement_ns: int
    cooldown_ns: int

    @classmethod
    def of(cls, timing: Timing) -> Timeline:
        """The timeline of an experiment's `timing` section."""
        return cls(
            timing.warmup_sec * NS_PER_SEC,
            timing.measurement_sec * NS_PER_SEC,
            timing.cooldown_sec * NS_PER_SEC,
        )

    @property
    def cycle_ns(self) -> int:
        """Length of a run with its warm-up and cool-down, nanoseconds."""
        return self.warmup_ns + self.measurement_ns + self.cooldown_ns

    def run_at(self, unix_ns: int) -> Run:
        """The run whose warm-up, measurement or cool-down contains a moment."""
        start = unix_ns - unix_ns % self.cycle_ns
        measure = start + self.warmup_ns
        end_of_measure = measure + self.measurement_ns
        return Run(start, measure, end_of_measure, start + self.cycle_ns)

    def run_after(self, run: Run) -> Run:
        """The run that follows another."""
        return self.run_at(run.end_ns)
