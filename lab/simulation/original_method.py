"""The method that this project started from, kept to compare the present one with.

A histogram with bounds in steps of 1-2-5, whose percentiles are upper bounds of buckets, is read
every minute while it accumulates. The readings of one sweep are then treated as independent
samples: medians for the score, a one-sided Mann-Whitney U between the two best sites.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import stats

from latency_sweep.analysis.decision.score import normalised_p99, normalised_spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BOUNDS_SEC: Final = np.array([m * 10.0**e for e in range(-6, 2) for m in (1, 2, 5)])[:22]
_SIGNIFICANT: Final = 0.05
_WEIGHTS: Final = (0.7, 0.3)


def winners(latencies: Floats) -> tuple[int | None, int | None]:
    """The sites that would be declared winners by a significant test, or None for no winner.

    Args:
        latencies: seconds, shape (sites, runs, windows, messages).

    Returns:
        With percentiles read from the buckets, and with exact percentiles in their stead.
    """
    exact = np.stack([_readings(site) for site in latencies])
    bucketed = _BOUNDS_SEC[np.searchsorted(_BOUNDS_SEC, exact)]
    cv = np.stack([_cv(site) for site in latencies])
    return _winner(bucketed, cv), _winner(exact, cv)


def _winner(p99: Floats, cv: Floats) -> int | None:
    score = _WEIGHTS[0] * normalised_p99(np.median(p99, axis=1)) + _WEIGHTS[1] * normalised_spread(
        np.median(cv, axis=1)
    )
    best, second = (int(site) for site in np.argsort(score, kind="stable")[:2])
    if np.unique(p99[[best, second]]).size == 1:
        return None
    test = stats.mannwhitneyu(p99[best], p99[second], alternative="less")
    return best if test.pvalue < _SIGNIFICANT else None


def _readings(site: Floats) -> Floats:
    """The exact p99 of all messages so far after each window of each run, (runs * windows,)."""
    readings = []
    for run in site:
        # No reading looks further down than the largest hundredth of the whole run.
        kept = run.size // 100 + 1
        top, seen = run[:0].ravel(), 0
        for window in run:
            top = np.sort(np.concatenate([top, window]))[-kept:]
            seen += window.size
            readings.append(top[math.ceil(0.99 * seen) - 1 - seen])
    return np.array(readings)


def _cv(site: Floats) -> Floats:
    """The cv read after each window of each run, shape (runs * windows,)."""
    messages = site.shape[-1]
    count = messages * np.arange(1, site.shape[1] + 1)
    mean = np.cumsum(site.sum(axis=-1), axis=-1) / count
    square = np.cumsum((site**2).sum(axis=-1), axis=-1) / count
    return np.asarray(np.sqrt(np.maximum(square - mean**2, 0.0)) / mean).ravel()
