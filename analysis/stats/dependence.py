"""Dependence between runs that follow one another closely.

A route that drifts over an hour makes neighbouring hours alike, and the effective number of nine
hours in a row is then smaller than nine. How much two candidates drift apart is estimated inside
the runs, by comparing windows that are close in time with windows that are far apart; how much of
that lasts into another run follows from the time between their starts.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.optimize import nnls

from latency_sweep.contract.timeline import parse_run_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Two lags are the fewest that tell drift from noise; lags are looked at up to half a run.
_FEWEST_WINDOWS: Final = 4
# A level is assumed to decay as exp(-time / memory), with a memory of so many runs' lengths. The
# simulations of benchmarks/calibration.py confirm this for memories of up to nearly a run.
_MEMORY: Final = 0.75
# What the means over two runs of such a level share of its variance, one following the other.
_NEXT_RUN: Final = (_MEMORY * (1 - math.exp(-1 / _MEMORY))) ** 2


@dataclass(frozen=True, slots=True)
class Dependence:
    """What the paired differences of two candidates share from run to run.

    Attributes:
        covariance: of each two differences as far as drift explains it, shape (n, n); the diagonal
            is zero, and so is everything where it is not known.
    """

    covariance: Floats

    @classmethod
    def none(cls, pairs: int) -> Dependence:
        """Independent runs."""
        return cls(np.zeros((pairs, pairs)))

    def stretch(self, differences: Floats) -> float:
        """How much longer than for independent runs an interval of the mean must be, at least 1.

        With c the mean covariance, the variance of a mean of n is (s² + n c) / n where it is
        s² / n for independent ones: s² around the sample's own mean misses c as well.
        """
        n = differences.size
        if n < 2:  # noqa: PLR2004 - no spread to stretch
            return 1.0
        variance = float(differences.var(ddof=1))
        common = float(self.covariance.sum()) / (n * (n - 1))
        if not common:
            return 1.0
        # Beyond that nothing would be left of n runs but one.
        return math.sqrt(min(1 + n * common / variance, n)) if variance else math.sqrt(n)


def dependence(
    labels: Sequence[str],
    differences: Floats,
    windows: Sequence[Floats],
    run_sec: float,
) -> Dependence:
    """How much runs share because the candidates drifted apart slowly.

    The semivariogram of the windows' differences (Matheron 1963, in the form of Cressie & Hawkins
    1980 that single disturbed windows do not spoil) rises from the noise of a window by as much as
    the level drifts. The rise is read as that of a level that is forgotten over three quarters of
    a run: so little data cannot show how fast a level decays, but it can show how far it drifts.
    What drifts faster is overrated, which errs to the safe side; what drifts far more slowly than
    a run lasts cannot be seen inside runs.

    Args:
        labels: `run` labels, one for each pair; unless all are times nothing is known.
        differences: what the test sees of each pair.
        windows: the same of each window of each pair; NaN where there is none.
        run_sec: how long a run is measured.
    """
    starts = _starts(labels)
    drift = _drift(windows)
    if starts is None or not drift:
        return Dependence.none(len(labels))
    apart = np.abs(starts[:, np.newaxis] - starts) / run_sec
    shared = drift * _NEXT_RUN * np.exp((1 - np.maximum(apart, 1.0)) / _MEMORY)
    # Nothing shares more than there is.
    shared = np.minimum(shared, float(np.mean(differences**2)))
    np.fill_diagonal(shared, 0.0)
    return Dependence(shared)


def _starts(labels: Sequence[str]) -> Floats | None:
    try:
        return np.array([parse_run_label(label).timestamp() for label in labels])
    except ValueError:
        return None


def _drift(windows: Sequence[Floats]) -> float:
    """Variance of the level that drifts; zero where nothing is seen of it."""
    sizes = Counter(series.size for series in windows)
    size = max(sizes, key=lambda s: (sizes[s], s), default=0)
    if size < _FEWEST_WINDOWS:
        return 0.0
    series = np.stack([values for values in windows if values.size == size])
    lags = np.arange(1, size // 2 + 1)
    seen = np.array([_semivariance(series[:, lag:] - series[:, :-lag]) for lag in lags])
    known = np.isfinite(seen)
    if np.count_nonzero(known) < 2 or not np.any(seen[known]):  # noqa: PLR2004 - a rise has two ends
        return 0.0
    # Neighbouring lags say nearly the same; they count as if spaced evenly in their logarithm.
    weight = np.sqrt(1 / lags[known])
    rise = 1 - np.exp(-lags[known] / (_MEMORY * size))
    design = np.stack([np.ones_like(rise), rise], axis=1) * weight[:, np.newaxis]
    scale = float(seen[known].max())
    (_, level), _ = nnls(design, weight * seen[known] / scale)
    return float(level) * scale


def _semivariance(steps: Floats) -> float:
    """Half the mean square of steps, by Cressie & Hawkins (1980); NaN without any."""
    known = steps[np.isfinite(steps)]
    if not known.size:
        return math.nan
    return float(np.sqrt(np.abs(known)).mean() ** 4 / (0.457 + 0.494 / known.size) / 2)
