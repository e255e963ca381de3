"""Level shifts inside runs: a route that changed under way makes a run two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.decision.verdict import ChangePoint
from latency_sweep.analysis.stats.inference import holm, pettitt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latency_sweep.analysis.evidence.sample import CandidateSample
    from latency_sweep.contract.experiment import Decision

# With fewer windows no shift can be distinguished from noise.
_FEWEST_WINDOWS = 12
_MEDIAN = 0.5


def change_points(samples: Iterable[CandidateSample], rule: Decision) -> tuple[ChangePoint, ...]:
    """Runs whose windows' medians shift level once, at the configured confidence over all runs.

    Pettitt's test on the medians of the windows, Holm over all runs looked at; shifts smaller
    than the experiment's `equivalence_ratio` of the level are ignored. They are flagged for the
    reader and change no decision.
    """
    found = []
    for sample in samples:
        if max((len(windows) for windows in sample.windows.values()), default=0) < _FEWEST_WINDOWS:
            continue
        medians = sample.window_grid.row_quantiles(_MEDIAN)
        for label, rows in sample.window_rows.items():
            series = medians[rows]
            if series.size < _FEWEST_WINDOWS:
                continue
            split, p = pettitt(series)
            filled = sample.filled[label]
            window = int(np.flatnonzero(filled)[split])
            before = float(np.median(series[:split])) if split else float(np.median(series))
            after = float(np.median(series[split:]))
            found.append(ChangePoint(sample.name, label, window, filled.size, before, after, p))
    adjusted = holm([point.p_value for point in found])
    return tuple(
        ChangePoint(c.candidate, c.run, c.window, c.windows, c.before_sec, c.after_sec, p)
        for c, p in zip(found, adjusted, strict=True)
        if p < 1 - rule.confidence
        and abs(c.after_sec - c.before_sec) > rule.equivalence_ratio * abs(c.before_sec)
    )
