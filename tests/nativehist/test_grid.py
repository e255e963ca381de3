"""Many histograms on common buckets."""

from __future__ import annotations

import numpy as np
import pytest

from latency_sweep.nativehist.float_histogram import FloatHistogram
from latency_sweep.nativehist.grid import Grid

LATENCIES = np.random.default_rng(1).lognormal(-4, 0.5, 50_000)


def test_a_grid_gives_the_quantiles_of_weighted_merges() -> None:
    parts = [FloatHistogram.from_samples(LATENCIES[i::5], schema=8 - i % 2) for i in range(5)]
    weights = np.array([[1, 1, 1, 1, 1], [0, 2, 0, 0, 3], [0, 0, 0, 0, 0]])
    quantiles = Grid.of(parts).quantiles(weights, [0.5, 0.99])
    for row, chosen in zip(quantiles, weights, strict=True):
        drawn = [part for part, n in zip(parts, chosen, strict=True) for _ in range(n)]
        # A merge of fewer parts may keep finer buckets, no more.
        expected = FloatHistogram.merge(*drawn).quantiles([0.5, 0.99])
        assert row == pytest.approx(expected, rel=0.006, nan_ok=True)


def test_a_grid_of_nothing_has_no_quantiles() -> None:
    assert np.isnan(Grid.of([FloatHistogram.empty()]).quantiles([[1]], [0.5])).all()
