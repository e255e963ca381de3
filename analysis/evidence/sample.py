"""The sample of a candidate: its usable runs, pooled and laid out for fast resampling."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.evidence.clock_findings import ClockFinding, clock_findings
from latency_sweep.analysis.evidence.records import largest
from latency_sweep.analysis.evidence.timestamps import Readings, TimestampErrors, lateness
from latency_sweep.nativehist.float_histogram import FloatHistogram
from latency_sweep.nativehist.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from latency_sweep.analysis.evidence.clock_findings import ClockFindings
    from latency_sweep.analysis.evidence.records import Candidate, Evidence, RunEvidence

    Floats = NDArray[np.float64]

P99 = 0.99
P999 = 0.999


class CandidateSample:
    """The runs of one candidate that the decision may use, and what follows from them.

    Attributes:
        candidate: which one.
        seen: all its runs, usable or not.
        clocks: what the data say of its clocks, by run label.
        runs: the usable ones that hold observations, by run label.
    """

    def __init__(
        self,
        candidate: Candidate,
        seen: Iterable[RunEvidence],
        clocks: Mapping[str, ClockFinding] | None = None,
    ) -> None:
        """Keep the runs that nothing speaks against."""
        self.candidate = candidate
        self.seen = tuple(sorted(seen, key=lambda run: run.run))
        self.clocks = dict(clocks or {})
        self.runs = {
            run.run: run
            for run in self.seen
            if not self.reasons_against(run) and run.latency.counts.size
        }

    @property
    def name(self) -> str:
        """Readable name of the candidate."""
        return self.candidate.name

    def reasons_against(self, run: RunEvidence) -> tuple[str, ...]:
        """Why one of its runs must not be used; empty if it may."""
        return (*run.exclusion_reasons, *self.clocks.get(run.run, ClockFinding()).reasons)

    @cached_property
    def latency(self) -> FloatHistogram:
        """All usable observations: buckets added, never percentiles averaged."""
        return FloatHistogram.merge(*(run.latency for run in self.runs.values()))

    @cached_property
    def p99(self) -> float:
        """Pooled 99th percentile, seconds; NaN without data."""
        return self.latency.quantile(P99)

    def p99_over(self, labels: tuple[str, ...]) -> float:
        """Pooled 99th percentile of some usable runs, seconds; NaN without data."""
        if labels == tuple(self.runs):
            return self.p99
        return FloatHistogram.merge(*(self.runs[label].latency for label in labels)).quantile(P99)

    @cached_property
    def run_p99(self) -> dict[str, float]:
        """99th percentile of each usable run, seconds."""
        return {label: run.latency.quantile(P99) for label, run in self.runs.items()}

    @cached_property
    def windows(self) -> dict[str, tuple[FloatHistogram, ...]]:
        """Windows of each usable run that hold observations; the run itself if none is known."""
        return {
            label: tuple(w for w in run.windows if w.counts.size) or (run.latency,)
            for label, run in self.runs.items()
        }

    @cached_property
    def filled(self) -> dict[str, NDArray[np.bool_]]:
        """Which windows of each usable run, in order of time, `windows` holds."""
        found = {}
        for label, run in self.runs.items():
            filled = np.array([bool(w.counts.size) for w in run.windows], dtype=np.bool_)
            found[label] = filled if filled.any() else np.ones(1, dtype=np.bool_)
        return found

    @cached_property
    def window_rows(self) -> dict[str, slice]:
        """Where each run's windows are in `window_grid`."""
        rows, start = {}, 0
        for label, windows in self.windows.items():
            rows[label] = slice(start, start + len(windows))
            start += len(windows)
        return rows

    @cached_property
    def window_grid(self) -> Grid:
        """All windows of all usable runs on one set of buckets, a row each."""
        return Grid.of([window for windows in self.windows.values() for window in windows])

    @cached_property
    def window_p99(self) -> dict[str, Floats]:
        """99th percentile of each window of each usable run, seconds; NaN where one is empty."""
        p99 = self.window_grid.row_quantiles(P99)
        series = {}
        for label, run in self.runs.items():
            series[label] = np.full(len(run.windows), np.nan)
            if run.windows:
                series[label][self.filled[label]] = p99[self.window_rows[label]]
        return series

    @cached_property
    def clock_bound(self) -> float | None:
        """Largest clock error bound over the usable runs, seconds; None if any is unknown."""
        return largest(run.clock_error_bound_sec for run in self.runs.values())

    @property
    def clock_refuted_sec(self) -> float | None:
        """The least error of a clock in a run in which the data prove it wrong; None if in none."""
        errors = [found.error_sec for found in self.clocks.values() if found.error_sec is not None]
        return max(errors, default=None)

    @property
    def clock_doubts(self) -> tuple[str, ...]:
        """What is open about the clocks in the usable runs, by run."""
        return tuple(
            f"{doubts[0]} (run {run})"
            for run, found in sorted(self.clocks.items())
            if run in self.runs and (doubts := found.doubts)
        )

    @cached_property
    def timestamp_kinds(self) -> tuple[str, ...]:
        """Where the receive timestamps of its runs came from, usable or not."""
        kinds = (kind for run in self.seen for one in run.instances for kind in one.timestamp_kinds)
        return tuple(sorted(set(kinds)))

    @cached_property
    def run_lateness(self) -> dict[str, float | None]:
        """How much of each usable run's p99 late timestamps can explain, seconds."""
        return {label: lateness(run.readings, P99) for label, run in self.runs.items()}

    @cached_property
    def largest_lateness(self) -> float | None:
        """The largest of them; None if any is unknown."""
        return largest(self.run_lateness.values())

    def lateness(self, q: float) -> float | None:
        """How much of a pooled quantile late timestamps can explain, seconds; None if unknown."""
        known = (part for run in self.runs.values() for part in run.readings)
        errors = TimestampErrors.merge(part.errors for part in known)
        return lateness([Readings(self.latency, errors)], q)


def samples_of(
    evidence: Evidence, clocks: ClockFindings | None = None
) -> dict[Candidate, CandidateSample]:
    """A sample for every candidate seen, in the order of the candidates.

    Args:
        evidence: what was observed.
        clocks: what it says of the clocks; found out if None.
    """
    clocks = clocks or clock_findings(evidence)
    runs: dict[Candidate, list[RunEvidence]] = {c: [] for c in evidence.candidates()}
    for run in evidence.runs:
        runs[run.candidate].append(run)
    return {
        candidate: CandidateSample(candidate, seen, clocks.of(candidate))
        for candidate, seen in runs.items()
    }
