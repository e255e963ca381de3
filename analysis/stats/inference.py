"""Exact tests and estimates for paired and unpaired runs.

Everything here works on a handful of numbers, one per run; nothing assumes a distribution. The
paired tests assume that, if two candidates were equal, the difference seen in a run could as well
have had the other sign.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

# So many signs are enumerated: 2^15 patterns, up to a common sign.
MAX_BATCHES: Final = 16
# Statistics that differ by rounding only count as equal.
_ROUNDING: Final = 1e-12
_MAX_EXACT_U: Final = 200


def sign_flip_p(differences: ArrayLike, covariance: ArrayLike | None = None) -> float:
    """Two-sided p of the exact sign-flip test: could the mean difference be a matter of signs?

    Counts the sign patterns whose mean is at least as far from zero as the observed one
    (Fisher 1935). More than `MAX_BATCHES` differences are put together in as many batches of
    neighbours, whose signs are flipped as one. That keeps the enumeration complete, and is valid
    even if neighbouring runs are alike (Schmeiser 1982 on batch means).

    Flipping signs supposes that differences are not alike for a reason that they share. Where they
    are, their sum varies by twice the sum of their covariances more than the sum of squares that
    the signs give it, and the patterns are scaled up by as much. That is exact only without
    covariance, and approximate with it.

    Args:
        differences: one finite number per pair, in the order of time.
        covariance: what each two of them share, shape (n, n), not negative; its diagonal is not
            read. None if nothing.

    Returns:
        p in (0, 1]; 1 without differences.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not values.size:
        return 1.0
    largest = float(np.abs(values).max())
    if largest == 0:
        return 1.0
    values = values / largest  # so that the sums can neither overflow nor vanish
    batch = np.arange(values.size)
    if values.size > MAX_BATCHES:
        batches = np.array_split(values, MAX_BATCHES)
        batch = np.repeat(np.arange(MAX_BATCHES), [part.size for part in batches])
        values = np.array([part.sum() for part in batches])
    least = abs(float(values.sum())) - _ROUNDING * float(np.abs(values).sum())
    if covariance is not None and np.any(values):
        # What a batch's own members share is in its square.
        between = batch[:, np.newaxis] != batch
        with np.errstate(over="ignore"):  # beyond all numbers nothing is certain any more
            shared = float((np.asarray(covariance)[between] / largest / largest).sum())
        least /= math.sqrt(1 + shared / float(values @ values))
    sums = _sign_patterns(values.size) @ values
    return float(np.count_nonzero(np.abs(sums) >= least) / sums.size)


def signed_rank_p(differences: ArrayLike) -> float:
    """Two-sided p of the exact signed-rank test (Wilcoxon 1945); zero differences are dropped.

    Ties share their average rank, and the distribution is that of the ranks as they are, so p is
    exact with ties too. See `sign_flip_p` for what happens to many differences.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]
    if not values.size:
        return 1.0
    return sign_flip_p(np.sign(values) * stats.rankdata(np.abs(values)))


def smallest_sign_flip_p(pairs: int) -> float:
    """The smallest two-sided p that a sign-flip or signed-rank test of so many pairs can give."""
    return float(2.0 ** (1 - min(pairs, MAX_BATCHES))) if pairs >= 1 else 1.0


def fewest_pairs(alpha: float, rivals: int = 1) -> int:
    """Pairs from which on all of so many rivals can be significant at `alpha` after Holm."""
    pairs = 1
    while rivals * smallest_sign_flip_p(pairs) >= alpha and pairs < MAX_BATCHES:
        pairs += 1
    return pairs


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment: adjusted p-values in the order given, at most 1."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    running = 0.0
    for step, index in enumerate(order):
        running = max(running, (len(p_values) - step) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted


def mann_whitney_p(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided p of the Mann-Whitney U test (1947): exact without ties and up to 200 a side.

    Returns:
        p in (0, 1]; 1 if a side is empty.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not x.size or not y.size:
        return 1.0
    both = np.concatenate([x, y])
    if np.all(both == both[0]):
        return 1.0
    tied = np.unique(both).size < both.size
    exact = not tied and max(x.size, y.size) <= _MAX_EXACT_U
    result = stats.mannwhitneyu(x, y, method="exact" if exact else "asymptotic")
    return float(min(1.0, result.pvalue))


def smallest_mann_whitney_p(first: int, second: int) -> float:
    """The smallest two-sided p that Mann-Whitney can give for samples of these sizes."""
    return min(1.0, 2 / math.comb(first + second, first))


def hodges_lehmann(differences: ArrayLike) -> float:
    """The Hodges-Lehmann (1963) estimate: median of all pairwise means; NaN without data."""
    walsh = _walsh(np.asarray(differences, dtype=np.float64))
    return float(np.median(walsh)) if walsh.size else math.nan


def hodges_lehmann_interval(
    differences: ArrayLike, confidence: float
) -> tuple[float | None, float | None]:
    """Exact interval of the Hodges-Lehmann shift, by inverting the signed-rank test.

    Returns:
        Its ends; both None with too few pairs for the confidence (fewer than 6 at 95 %).
    """
    values = np.asarray(differences, dtype=np.float64)
    walsh = np.sort(_walsh(values))
    depth = _signed_rank_depth(values.size, (1 - confidence) / 2)
    if depth == 0:
        return None, None
    return float(walsh[depth - 1]), float(walsh[-depth])


def cliffs_delta(first: ArrayLike, second: ArrayLike) -> float:
    """Cliff's (1993) delta, -1 to 1: 1 if every value of `second` exceeds every one of `first`.

    NaN if either is empty.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not x.size or not y.size:
        return math.nan
    return float(np.sign(y[np.newaxis, :] - x[:, np.newaxis]).mean())


def pairs_for_difference(effect: float, sd: float, alpha: float, power: float) -> int | None:
    """Pairs that a two-sided paired test needs to find an effect (Guenther 1981).

    Args:
        effect: true mean difference.
        sd: standard deviation of the paired differences.
        alpha: level of the test.
        power: probability of finding it.

    Returns:
        Number of pairs, or None if the effect is zero.
    """
    if effect == 0:
        return None
    z_alpha, z_power = float(stats.norm.ppf(1 - alpha / 2)), float(stats.norm.ppf(power))
    return math.ceil(((z_alpha + z_power) * sd / abs(effect)) ** 2 + z_alpha**2 / 2)


def pettitt(values: ArrayLike) -> tuple[int, float]:
    """Pettitt's (1979) test for one change of level in a series.

    Neighbouring windows are alike, which alone makes the statistic large. Its variance is
    therefore inflated by (1 + r) / (1 - r), r being the lag-1 autocorrelation of the ranks around
    the two levels found (Bayley & Hammersley 1946), limited to 0 to 0.95. Around fitted levels r
    comes out too small, by about (1 + 3 r) / n for each of them (Kendall 1954), which is put back.

    Args:
        values: the series, in time order.

    Returns:
        Index of the first value of the new level, and approximate two-sided p.
    """
    series = np.asarray(values, dtype=np.float64)
    size = series.size
    if size < 3 or np.all(series == series[0]):  # noqa: PLR2004 - no two levels to tell apart
        return 0, 1.0
    ranks = stats.rankdata(series)
    drift = np.cumsum(2 * ranks - (size + 1))[:-1]
    split = int(np.argmax(np.abs(drift))) + 1
    residual = ranks.copy()
    residual[:split] -= ranks[:split].mean()
    residual[split:] -= ranks[split:].mean()
    energy = float(residual @ residual)
    lag_one = float(residual[:-1] @ residual[1:]) / energy if energy else 0.0
    if lag_one > 0:
        lag_one += 2 * (1 + 3 * lag_one) / size
    correlation = min(max(lag_one, 0.0), 0.95)
    inflation = (1 + correlation) / (1 - correlation)
    statistic = float(np.abs(drift).max())
    p_value = 2 * math.exp(-6 * statistic**2 / ((size**3 + size**2) * inflation))
    return split, min(1.0, p_value)


def _walsh(values: Floats) -> Floats:
    rows, columns = np.triu_indices(values.size)
    # Halves first: the sum of two huge numbers may be out of range.
    return np.asarray(values[rows] / 2 + values[columns] / 2)


@cache
def _sign_patterns(size: int) -> Floats:
    """All sign patterns of a length, up to a common sign: shape (2^(size - 1), size)."""
    bits = np.arange(2 ** (size - 1))[:, np.newaxis] >> np.arange(size)
    signs = 1.0 - 2.0 * (bits & 1)
    signs.setflags(write=False)
    return np.asarray(signs)


@cache
def _signed_rank_depth(size: int, tail: float) -> int:
    """How many Walsh averages to leave out at either end for a tail probability."""
    if not size:
        return 0
    ways = np.zeros(size * (size + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, size + 1):
        ways[rank:] = (ways[rank:] + ways[:-rank]) / 2
        ways[:rank] /= 2
    return int(np.searchsorted(np.cumsum(ways), tail * (1 + _ROUNDING), side="right"))
