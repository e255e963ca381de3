"""The sample of a candidate: its usable runs, pooled and laid out for fast resampling."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.evidence.records import largest
from latency_sweep.nativehist.float_histogram import FloatHistogram
from latency_sweep.nativehist.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from latency_sweep.analysis.evidence.records import Candidate, Evidence, RunEvidence

    Floats = NDArray[np.float64]

P99 = 0.99
P999 = 0.999


class CandidateSample:
    """The runs of one candidate that the decision may use, and what follows from them.

    Attributes:
        candidate: which one.
        seen: all its runs, usable or not.
        runs: the usable ones that hold observations, by run label.
    """

    def __init__(self, candidate: Candidate, seen: Iterable[RunEvidence]) -> None:
        """Keep the runs without exclusion_reasons."""
        self.candidate = candidate
        self.seen = tuple(sorted(seen, key=lambda run: run.run))
        self.runs = {
            run.run: run
            for run in self.seen
            if not run.exclusion_reasons and run.latency.counts.size
        }

    @property
    def name(self) -> str:
        """Readable name of the candidate."""
        return self.candidate.name

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


def samples_of(evidence: Evidence) -> dict[Candidate, CandidateSample]:
    """A sample for every candidate seen, in the order of the candidates."""
    runs: dict[Candidate, list[RunEvidence]] = {c: [] for c in evidence.candidates()}
    for run in evidence.runs:
        runs[run.candidate].append(run)
    return {candidate: CandidateSample(candidate, seen) for candidate, seen in runs.items()}
