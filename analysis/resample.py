"""The bootstrap: whole runs are drawn, and stationary blocks of windows within each run.

Runs are the unit of evidence, so they are what is drawn with replacement; windows within a run
hang together, so they are drawn in blocks of random length (Politis & Romano 1994). Places that
are compared get the same draws, which keeps what they share, such as a busy minute at the
exchange, in the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from analysis.histogram import Grid, quantile_of_counts
from analysis.pool import P99, P999

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.model import Candidate
    from analysis.pool import Pool

    Floats = NDArray[np.float64]

# Places in time within a run that draws are made of, whatever its number of windows.
_SLOTS = 60


@dataclass(slots=True)
class Bootstrap:
    """Resampled p99 and moments of candidates, with draws that they share.

    Attributes:
        resamples: number of resamples.
        seed: of all draws; the same evidence and seed give the same numbers.
        cap_percentile: outliers above this percentile of a candidate's pool are capped in the
            moments.
    """

    resamples: int
    seed: int
    cap_percentile: float
    _weights: dict[tuple[int, int], Floats] = field(default_factory=dict)
    _quantiles: dict[tuple[Candidate, tuple[str, ...]], Floats] = field(default_factory=dict)
    _sums: dict[tuple[Candidate, tuple[str, ...]], Floats] = field(default_factory=dict)

    def p99(self, pool: Pool, labels: tuple[str, ...]) -> Floats:
        """Resampled pooled p99 over the runs named, seconds, shape (resamples,)."""
        return self._both(pool, labels)[:, 0]

    def p999(self, pool: Pool, labels: tuple[str, ...]) -> Floats:
        """Resampled pooled p99.9, from the same draws."""
        return self._both(pool, labels)[:, 1]

    def _both(self, pool: Pool, labels: tuple[str, ...]) -> Floats:
        key = (pool.candidate, labels)
        if key not in self._quantiles:
            grid = _above(_rows(pool, labels))
            self._quantiles[key] = grid.quantiles(self._draws(pool, labels), [P99, P999])
        return self._quantiles[key]

    def moments(self, pool: Pool, labels: tuple[str, ...]) -> tuple[Floats, Floats]:
        """Resampled mean and standard deviation, seconds, outliers capped, shape (resamples,).

        The cap is that of the candidate's whole pool, not drawn anew with each resample.
        """
        key = (pool.candidate, labels)
        if key not in self._sums:
            grid = _rows(pool, labels)
            lower = np.where(np.isinf(grid.lower), grid.upper, grid.lower)
            upper = np.where(np.isinf(grid.upper), grid.lower, grid.upper)
            cap = pool.latency.quantile(self.cap_percentile / 100)
            middle = np.minimum(lower / 2 + upper / 2, cap)
            powers = np.stack([np.ones_like(middle), middle, middle**2], axis=1)
            self._sums[key] = self._draws(pool, labels) @ (grid.counts @ powers)
        count, first, second = self._sums[key].T
        mean = first / count
        return mean, np.sqrt(np.maximum(second / count - mean**2, 0.0))

    def _draws(self, pool: Pool, labels: tuple[str, ...]) -> Floats:
        """How often each window is drawn, shape (resamples, windows of these runs).

        A slot stands for the window that covers that part of its run, so that candidates with
        windows of different length still share the draws.
        """
        slots = self._slot_weights(len(labels))
        columns = []
        for index, label in enumerate(labels):
            size = len(pool.windows[label])
            run = slots[:, index * _SLOTS : (index + 1) * _SLOTS]
            if size == _SLOTS:
                columns.append(run)
                continue
            ends = np.arange(_SLOTS + 1)[:, np.newaxis] * size / _SLOTS
            covered = np.clip(ends - np.arange(size), 0.0, 1.0)
            columns.append(run @ np.diff(covered, axis=0))
        return np.concatenate(columns, axis=1)

    def _slot_weights(self, runs: int) -> Floats:
        """How often each slot of each run is drawn, shape (resamples, runs * slots)."""
        key = (runs, _SLOTS)
        if key not in self._weights:
            rng = np.random.default_rng([self.seed, runs])
            self._weights[key] = _stationary_weights(rng, self.resamples, runs, _SLOTS)
        return self._weights[key]


def percentile_interval(
    draws: Floats, runs: int, confidence: float, *, stretch: float = 1.0
) -> tuple[float, float]:
    """The central part of resampled values, widened for how few runs they come from.

    Plain percentiles of so few runs are too narrow, by the factor between n and n - 1 in the
    variance and by the one between the normal distribution and Student's t; the percentiles are
    taken further out to make up for both (Hesterberg 2015, expanded percentile interval).

    Args:
        draws: resampled values; NaN is left out.
        runs: number of runs they were drawn from; the values of a single run, which has no
            spread between runs, are taken as they are.
        confidence: 0 to 1.
        stretch: how many times longer than for independent runs it must be, about the median.
    """
    tail = (1 - confidence) / 2
    if runs > 1:
        reach = math.sqrt(runs / (runs - 1)) * float(stats.t.isf(tail, runs - 1))
        tail = float(stats.norm.sf(reach))
    low, middle, high = (float(q) for q in np.nanquantile(draws, [tail, 0.5, 1 - tail]))
    return middle - stretch * (middle - low), middle + stretch * (high - middle)


def _stationary_weights(rng: np.random.Generator, resamples: int, runs: int, slots: int) -> Floats:
    """Draw runs with replacement, and circular blocks of geometric length in each run drawn.

    The mean block length is the cube root of twice the square of the series' length over three,
    the order that Politis & Romano find best for a mean, for moderate dependence.
    """
    shape = (resamples, runs, slots)
    mean_block = max(1.0, (1.5 * slots**2) ** (1 / 3))
    fresh = rng.random(shape) < 1 / mean_block
    fresh[..., 0] = True
    start = rng.integers(0, slots, shape)
    time = np.arange(slots)
    block = np.maximum.accumulate(np.where(fresh, time, 0), axis=-1)
    slot = (np.take_along_axis(start, block, axis=-1) + time - block) % slots
    run = rng.integers(0, runs, (resamples, runs, 1))
    row = np.arange(resamples)[:, np.newaxis, np.newaxis]
    flat = (row * runs + run) * slots + slot
    counts = np.bincount(flat.ravel(), minlength=resamples * runs * slots)
    return counts.reshape(resamples, runs * slots).astype(np.float64)


def _rows(pool: Pool, labels: tuple[str, ...]) -> Grid:
    """The windows of the runs named, in that order, on the pool's buckets."""
    grid = pool.window_grid
    if labels == tuple(pool.runs):
        return grid
    rows = np.concatenate([np.arange(len(grid.counts))[pool.window_rows[x]] for x in labels])
    return Grid(grid.lower, grid.upper, grid.counts[rows])


def _above(grid: Grid) -> Grid:
    """The grid with all buckets put together that no resample's p99 or p99.9 can fall into.

    The p99 of a mixture is never below the smallest p99 among its parts.
    """
    least = float(quantile_of_counts(grid.counts, grid.lower, grid.upper, P99).min())
    cut = int(np.searchsorted(grid.upper, least, side="left"))
    if cut < 2:  # noqa: PLR2004 - nothing to put together
        return grid
    return Grid(
        np.concatenate([grid.lower[:1], grid.lower[cut:]]),
        np.concatenate([grid.upper[cut - 1 : cut], grid.upper[cut:]]),
        np.concatenate(
            [grid.counts[:, :cut].sum(axis=1, keepdims=True), grid.counts[:, cut:]], axis=1
        ),
    )
