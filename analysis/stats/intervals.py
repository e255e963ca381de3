"""Exact bounds on rates, shares and quantiles from counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from latency_sweep.nativehist.float_histogram import FloatHistogram


def poisson_upper(events: int, exposure: float, confidence: float) -> float:
    """One-sided exact upper bound on a rate (Garwood 1936); infinite without exposure.

    Args:
        events: events counted.
        exposure: how long, in the unit that the rate is per.
        confidence: 0 to 1.
    """
    if exposure <= 0:
        return math.inf
    return float(stats.chi2.ppf(confidence, 2 * events + 2)) / 2 / exposure


def poisson_lower(events: int, exposure: float, confidence: float) -> float:
    """One-sided exact lower bound on a rate; see `poisson_upper`. 0 without events."""
    if events == 0 or exposure <= 0:
        return 0.0
    return float(stats.chi2.ppf(1 - confidence, 2 * events)) / 2 / exposure


def exposure_needed(events: int, limit: float, confidence: float) -> float:
    """Exposure with so many events at which the upper bound on their rate meets a limit."""
    return float(stats.chi2.ppf(confidence, 2 * events + 2)) / 2 / limit


def binomial_upper(hits: float, trials: float, confidence: float) -> float:
    """One-sided exact upper bound on a share (Clopper & Pearson 1934); 1 without trials.

    Hits and trials may be fractional: effective numbers after a correction for clustering.
    """
    if trials <= 0 or hits >= trials:
        return 1.0
    return float(stats.beta.ppf(confidence, hits + 1, trials - hits))


def binomial_lower(hits: float, trials: float, confidence: float) -> float:
    """One-sided exact lower bound on a share; see `binomial_upper`. 0 without hits."""
    if hits <= 0 or trials <= 0:
        return 0.0
    return float(stats.beta.ppf(1 - confidence, hits, max(trials - hits, 0.0) + 1))


def trials_needed(limit: float, confidence: float) -> int:
    """Trials without a single hit that prove a share to be below a limit."""
    return math.ceil(math.log(1 - confidence) / math.log1p(-limit))


def effective_share(hits: ArrayLike, trials: ArrayLike, confidence: float) -> float:
    """How much of a clustered sample counts as independent, in (0, 1] (Korn & Graubard 1998).

    Samples of one run share its conditions, so a share estimated from R runs is less certain than
    the number of samples suggests. The design effect is the variance of the share between runs
    over the binomial one (a ratio estimate); the effective share is its inverse, and is lowered
    further by (z / t)², because a variance estimated from R runs has only R - 1 degrees of
    freedom. A design effect below 1 is taken as 1.

    Args:
        hits: hits per cluster.
        trials: trials per cluster.
        confidence: of the two-sided interval that it is meant for; for a one-sided bound of the
            same confidence the share comes out a little too small, which errs to the safe side.

    Returns:
        1 with fewer than two clusters or where hits are all or none: nothing to estimate from.
    """
    x, n = np.asarray(hits, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    clusters, total = n.size, float(n.sum())
    if clusters < 2 or total <= 0:  # noqa: PLR2004 - one cluster has no spread
        return 1.0
    share = float(x.sum()) / total
    if not 0 < share < 1:
        return 1.0
    between = float(((x - share * n) ** 2).sum()) * clusters / (clusters - 1) / total**2
    effect = max(1.0, between / (share * (1 - share) / total))
    tail = (1 + confidence) / 2
    freedom = (float(stats.norm.ppf(tail)) / float(stats.t.ppf(tail, clusters - 1))) ** 2
    return freedom / effect


def quantile_interval(
    histogram: FloatHistogram, q: float, confidence: float
) -> tuple[float | None, float | None]:
    """Two-sided interval of a quantile from order statistics, with no assumption on shape.

    The ranks are those between which the quantile of independent observations lies with the
    confidence asked for; the ends are the outer bounds of the buckets that hold the observations
    of these ranks (David & Nagaraja 2003, 7.1).

    Args:
        histogram: the observations.
        q: the quantile, 0 to 1.
        confidence: 0 to 1.

    Returns:
        Its ends; None for an end that the number of observations cannot bound.
    """
    low_rank, high_rank = quantile_ranks(int(histogram.counts.sum()), q, confidence)
    low = None if low_rank is None else histogram.quantile_at_rank(low_rank)[0]
    high = None if high_rank is None else histogram.quantile_at_rank(high_rank)[1]
    return low, high


def quantile_ranks(size: int, q: float, confidence: float) -> tuple[int | None, int | None]:
    """Ranks (from 1) whose observations enclose a quantile; None where there is none."""
    if size < 1:
        return None, None
    tail = (1 - confidence) / 2
    # P(fewer than `low` observations lie below the quantile) <= tail, and likewise above.
    low = int(stats.binom.ppf(tail, size, q))
    while low > 0 and stats.binom.cdf(low - 1, size, q) > tail:
        low -= 1
    high = int(stats.binom.ppf(1 - tail, size, q)) + 1
    return (low if low >= 1 else None), (high if high <= size else None)


def samples_needed(q: float, confidence: float) -> int:
    """Independent samples from which on both ends of a quantile's interval exist."""
    tail = (1 - confidence) / 2
    return math.ceil(math.log(tail) / math.log(max(q, 1 - q)))
