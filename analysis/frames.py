"""A sweep's archive as pandas data frames, for notebooks. `docs/notebook.md` lists the columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.evidence import archive
from latency_sweep.analysis.evidence.clock_findings import clock_findings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latency_sweep.analysis.decision.verdict import Verdict
    from latency_sweep.analysis.evidence.records import Evidence, RunEvidence
    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.nativehist.float_histogram import FloatHistogram

# Names and types of the columns, in order. A type with a capital letter has missing values.
RUN_COLUMNS: Final = {
    "candidate": "string",
    "region": "string",
    "az_id": "string",
    "instance_type": "string",
    "run": "string",
    "start": "datetime64[ns, UTC]",
    "stratum": "string",
    "used": "bool",
    "exclusion_reasons": "string",
    "samples": "float64",
    "mean_sec": "float64",
    "p50_sec": "float64",
    "p99_sec": "float64",
    "messages": "Int64",
    "lost": "Int64",
    "never_sent": "Int64",
    "reconnects": "Int64",
    "negative": "Int64",
    "hours": "Float64",
    "coverage": "float64",
    "clock_error_bound_sec": "Float64",
    "clock_synchronized": "boolean",
}
HISTOGRAM_COLUMNS: Final = {
    "candidate": "category",
    "run": "category",
    "instance": "category",
    "window": "Int32",
    "lower_sec": "float64",
    "upper_sec": "float64",
    "count": "float64",
}


@dataclass(frozen=True)  # without slots, so that each frame is made once
class SweepFrames:
    """What an archive holds.

    Attributes:
        evidence: the records that the frames are made of.
        experiment: what was measured, and the rule of the decision.
    """

    evidence: Evidence
    experiment: Experiment

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row for each candidate and run, with the columns of `RUN_COLUMNS`."""
        clocks = clock_findings(self.evidence)
        rows = [_run_row(run, clocks.reasons_against(run)) for run in self.evidence.runs]
        columns = {name: [row[name] for row in rows] for name in RUN_COLUMNS if name != "start"}
        frame = pd.DataFrame(columns)
        # A name that is no time, as in files of other programs, has no start.
        start = pd.to_datetime(frame["run"], format="ISO8601", utc=True, errors="coerce")
        frame.insert(list(RUN_COLUMNS).index("start"), "start", start)
        return frame.astype(RUN_COLUMNS)

    @cached_property
    def histograms(self) -> pd.DataFrame:
        """One row for each bucket of each histogram, with the columns of `HISTOGRAM_COLUMNS`."""
        parts = [part for run in self.evidence.runs for part in _parts(run)]
        names = list(HISTOGRAM_COLUMNS)[:4]
        keys = pd.DataFrame([part[:4] for part in parts], columns=names)
        keys = keys.astype({name: HISTOGRAM_COLUMNS[name] for name in names})
        frame = keys.loc[keys.index.repeat([histogram.counts.size for *_, histogram in parts])]
        buckets = {
            "lower_sec": [histogram.lower for *_, histogram in parts],
            "upper_sec": [histogram.upper for *_, histogram in parts],
            "count": [histogram.counts for *_, histogram in parts],
        }
        columns = {name: np.concatenate([np.empty(0), *each]) for name, each in buckets.items()}
        return frame.reset_index(drop=True).assign(**columns)

    @cached_property
    def verdict(self) -> Verdict:
        """What `analyze --from-archive` decides, with the shipped prices.

        Computed when first asked for, which takes seconds.
        """
        return decide(self.evidence, self.experiment)


def load(path: Path) -> SweepFrames:
    """Read an archive that `analyze export` wrote.

    Raises:
        ArchiveError: the file cannot be read, is damaged, is something else, or was written by
            a later version.
    """
    found = archive.read(path)
    return SweepFrames(found.evidence, found.experiment)


def _run_row(run: RunEvidence, reasons: tuple[str, ...]) -> dict[str, Any]:
    p50, p99 = run.latency.quantiles([0.5, 0.99]) if run.latency.count else (np.nan, np.nan)
    return {
        "candidate": run.candidate.name,
        "region": run.candidate.get("region"),
        "az_id": run.candidate.get("az_id"),
        "instance_type": run.candidate.get("instance_type"),
        "run": run.run,
        "stratum": run.stratum,
        "used": not reasons,
        "exclusion_reasons": "; ".join(reasons),
        "samples": run.latency.count,
        "mean_sec": run.latency.sum / run.latency.count if run.latency.count else np.nan,
        "p50_sec": p50,
        "p99_sec": p99,
        "messages": run.messages,
        "lost": run.lost,
        "never_sent": run.never_sent,
        "reconnects": run.reconnects,
        "negative": run.negative,
        "hours": run.hours,
        "coverage": run.coverage,
        "clock_error_bound_sec": run.clock_error_bound_sec,
        "clock_synchronized": run.clock_synchronized,
    }


def _parts(run: RunEvidence) -> Iterator[tuple[str, str, str | None, int | None, FloatHistogram]]:
    """Candidate, run, instance or None for all, window or None for the whole run, histogram."""
    name = run.candidate.name
    yield name, run.run, None, None, run.latency
    for window, histogram in enumerate(run.windows):
        yield name, run.run, None, window, histogram
    for each in run.instances:
        yield name, run.run, each.instance, None, each.latency
