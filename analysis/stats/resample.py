"""The bootstrap: whole runs are drawn, and stationary blocks of windows within each run.

Runs are the unit of evidence, so they are what is drawn with replacement; windows within a run
are correlated, so they are drawn in blocks of random length (Politis & Romano 1994). Candidates
that are compared get the same draws, which keeps what they share, such as a busy minute at the
exchange, in the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from latency_sweep.analysis.evidence.sample import P99, P999
from latency_sweep.nativehist.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from latency_sweep.analysis.evidence.records import Candidate
    from latency_sweep.analysis.evidence.sample import CandidateSample

    Floats = NDArray[np.float64]
    Draws = NDArray[np.unsignedinteger]

# Slots of time within a run that draws are made of, whatever its number of windows.
_SLOTS = 60
# Resamples are made a block at a time, so that memory does not grow with their number.
_SLOTS_PER_BLOCK = 2**22
# Draws up to so many bytes are kept for the next candidate; what is not kept is drawn again.
_KEPT_BYTES = 2**27


@dataclass(slots=True)
class Bootstrap:
    """Resampled p99 and moments of candidates, with draws that they share.

    Attributes:
        resamples: number of resamples.
        seed: of all draws; the same evidence and seed give the same numbers.
        cap_percentile: outliers above this percentile of a candidate's sample are capped in the
            moments.
    """

    resamples: int
    seed: int
    cap_percentile: float
    _kept: dict[int, list[Draws]] = field(default_factory=dict)
    _quantiles: dict[tuple[Candidate, tuple[str, ...]], Floats] = field(default_factory=dict)
    _sums: dict[tuple[Candidate, tuple[str, ...]], Floats] = field(default_factory=dict)

    def p99(self, sample: CandidateSample, labels: tuple[str, ...]) -> Floats:
        """Resampled pooled p99 over the runs named, seconds, shape (resamples,)."""
        return self._both(sample, labels)[:, 0]

    def p999(self, sample: CandidateSample, labels: tuple[str, ...]) -> Floats:
        """Resampled pooled p99.9, from the same draws."""
        return self._both(sample, labels)[:, 1]

    def _both(self, sample: CandidateSample, labels: tuple[str, ...]) -> Floats:
        key = (sample.candidate, labels)
        if key not in self._quantiles:
            grid = _above(_rows(sample, labels))
            blocks = [grid.quantiles(draws, [P99, P999]) for draws in self._draws(sample, labels)]
            self._quantiles[key] = np.concatenate(blocks)
        return self._quantiles[key]

    def moments(self, sample: CandidateSample, labels: tuple[str, ...]) -> tuple[Floats, Floats]:
        """Resampled mean and standard deviation, seconds, outliers capped, shape (resamples,).

        The cap is that of the candidate's whole sample, not drawn anew with each resample.
        """
        key = (sample.candidate, labels)
        if key not in self._sums:
            grid = _rows(sample, labels)
            lower = np.where(np.isinf(grid.lower), grid.upper, grid.lower)
            upper = np.where(np.isinf(grid.upper), grid.lower, grid.upper)
            cap = sample.latency.quantile(self.cap_percentile / 100)
            middle = np.minimum(lower / 2 + upper / 2, cap)
            powers = np.stack([np.ones_like(middle), middle, middle**2], axis=1)
            sums = grid.counts @ powers
            self._sums[key] = np.concatenate([d @ sums for d in self._draws(sample, labels)])
        count, first, second = self._sums[key].T
        with np.errstate(invalid="ignore"):  # only empty windows drawn: NaN
            mean = first / count
            return mean, np.sqrt(np.maximum(second / count - mean**2, 0.0))

    def _draws(self, sample: CandidateSample, labels: tuple[str, ...]) -> Iterator[Floats]:
        """How often each window is drawn: blocks of shape (resamples in it, windows of these runs).

        A slot stands for the window that covers that part of its run, so that candidates with
        windows of different length still share the draws. An empty window has its slots too: to
        draw it is to draw nothing.
        """
        shares = [_slots_covered(sample.filled[label]) for label in labels]
        for slots in self._slot_draws(len(labels)):
            runs = np.split(slots.astype(np.float64), len(labels), axis=1)
            yield np.concatenate([r @ share for r, share in zip(runs, shares, strict=True)], axis=1)

    def _slot_draws(self, runs: int) -> Iterable[Draws]:
        """How often each slot of each run is drawn: blocks of shape (resamples, runs * slots)."""
        if runs not in self._kept:
            blocks = _stationary_draws([self.seed, runs], self.resamples, runs, _SLOTS)
            size = self.resamples * runs * _SLOTS * _draws_type(runs, _SLOTS).itemsize
            if size > _KEPT_BYTES:
                return blocks
            while self._kept and size + self._kept_bytes > _KEPT_BYTES:
                del self._kept[next(iter(self._kept))]
            self._kept[runs] = list(blocks)
        return self._kept[runs]

    @property
    def _kept_bytes(self) -> int:
        return sum(block.nbytes for blocks in self._kept.values() for block in blocks)


def percentile_interval(
    draws: Floats, runs: int, confidence: float, *, stretch: float = 1.0
) -> tuple[float, float]:
    """The central part of resampled values, widened for how few runs they come from.

    Plain percentiles of so few runs are too narrow, by the factor between n and n - 1 in the
    variance and by the one between the normal distribution and Student's t; the percentiles are
    taken further out to make up for both (Hesterberg 2015, expanded percentile interval).

    Args:
        draws: resampled values; NaN is ignored.
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


def _slots_covered(filled: NDArray[np.bool_]) -> Floats:
    """How much of each slot of a run each filled window covers, shape (slots, filled windows)."""
    ends = np.arange(_SLOTS + 1)[:, np.newaxis] * filled.size / _SLOTS
    covered = np.clip(ends - np.arange(filled.size), 0.0, 1.0)
    return np.diff(covered, axis=0)[:, filled]


def _draws_type(runs: int, slots: int) -> np.dtype[np.unsignedinteger]:
    """The smallest type that can say how often a slot is drawn."""
    return np.min_scalar_type(runs * slots)


def _stationary_draws(
    seed: Sequence[int], resamples: int, runs: int, slots: int
) -> Iterator[Draws]:
    """Draw runs with replacement, and circular blocks of geometric length in each run drawn.

    The mean block length is the cube root of twice the square of the series' length over three,
    the order that Politis & Romano find best for a mean, for moderate dependence.

    Yields:
        How often each slot is drawn, shape (some of the resamples, runs * slots).
    """
    rng = np.random.default_rng(seed)
    mean_block = max(1.0, (1.5 * slots**2) ** (1 / 3))
    time = np.arange(slots, dtype=np.int32)  # half the memory of the default
    size = max(1, _SLOTS_PER_BLOCK // (runs * slots))
    for first in range(0, resamples, size):
        shape = (min(size, resamples - first), runs, slots)
        fresh = rng.random(shape) < 1 / mean_block
        fresh[..., 0] = True
        start = rng.integers(0, slots, shape).astype(time.dtype)
        block = np.maximum.accumulate(np.where(fresh, time, 0), axis=-1)
        slot = (np.take_along_axis(start, block, axis=-1) + time - block) % slots
        run = rng.integers(0, runs, (shape[0], runs, 1))
        row = np.arange(shape[0])[:, np.newaxis, np.newaxis]
        flat = (row * runs + run) * slots + slot
        counts = np.bincount(flat.ravel(), minlength=flat.size)
        yield counts.reshape(shape[0], runs * slots).astype(_draws_type(runs, slots))


def _rows(sample: CandidateSample, labels: tuple[str, ...]) -> Grid:
    """The windows of the runs named, in that order, on the sample's buckets."""
    grid = sample.window_grid
    if labels == tuple(sample.runs):
        return grid
    rows = np.concatenate([np.arange(len(grid.counts))[sample.window_rows[x]] for x in labels])
    return Grid(grid.lower, grid.upper, grid.counts[rows])


def _above(grid: Grid) -> Grid:
    """The grid with all buckets put together that no resample's p99 or p99.9 can fall into.

    The p99 of a mixture is never below the smallest p99 among its parts.
    """
    least = float(grid.row_quantiles(P99).min())
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
