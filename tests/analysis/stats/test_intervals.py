"""Exact bounds: published numbers, scipy, and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from latency_sweep.analysis.stats import intervals
from latency_sweep.nativehist.float_histogram import FloatHistogram


def test_three_hours_without_a_reconnect_prove_less_than_one_an_hour() -> None:
    assert intervals.exposure_needed(0, 1.0, 0.95) == pytest.approx(2.996, abs=1e-3)
    assert intervals.exposure_needed(1, 1.0, 0.95) == pytest.approx(4.744, abs=1e-3)
    assert intervals.poisson_upper(0, 3.0, 0.95) < 1 < intervals.poisson_upper(0, 2.99, 0.95)


@given(st.integers(0, 50), st.floats(0.1, 1000))
def test_poisson_bounds_enclose_the_rate_and_meet_their_definition(
    events: int, hours: float
) -> None:
    low = intervals.poisson_lower(events, hours, 0.95)
    high = intervals.poisson_upper(events, hours, 0.95)
    assert low <= events / hours <= high
    assert stats.poisson.cdf(events, high * hours) == pytest.approx(0.05)
    if events:
        assert stats.poisson.sf(events - 1, low * hours) == pytest.approx(0.05)


def test_a_rate_without_exposure_has_no_bound() -> None:
    assert intervals.poisson_upper(0, 0.0, 0.95) == math.inf
    assert intervals.poisson_lower(3, 0.0, 0.95) == 0


@pytest.mark.parametrize(("hits", "trials"), [(0, 100), (3, 100), (100, 100)])
def test_binomial_bounds_agree_with_scipys_exact_interval(hits: int, trials: int) -> None:
    reference = stats.binomtest(hits, trials).proportion_ci(0.90, method="exact")
    assert intervals.binomial_lower(hits, trials, 0.95) == pytest.approx(reference.low)
    assert intervals.binomial_upper(hits, trials, 0.95) == pytest.approx(reference.high)


def test_a_share_without_trials_can_be_anything() -> None:
    assert intervals.binomial_lower(0, 0, 0.95) == 0
    assert intervals.binomial_upper(0, 0, 0.95) == 1


def test_loss_below_one_in_ten_thousand_needs_29956_messages() -> None:
    needed = intervals.trials_needed(1e-4, 0.95)
    assert needed == 29_956
    assert intervals.binomial_upper(0, needed, 0.95) < 1e-4
    assert intervals.binomial_upper(0, needed - 1, 0.95) > 1e-4


@pytest.mark.parametrize(("q", "samples"), [(0.99, 368), (0.999, 3688)])
def test_quantiles_are_bounded_from_so_many_samples_on(q: float, samples: int) -> None:
    assert intervals.samples_needed(q, 0.95) == samples
    low, high = intervals.quantile_ranks(samples, q, 0.95)
    assert low is not None
    assert high is not None
    assert intervals.quantile_ranks(samples - 1, q, 0.95)[1] is None


@given(st.integers(1, 5000), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_ranks_enclose_the_quantile_with_the_confidence_asked_for(size: int, q: float) -> None:
    low, high = intervals.quantile_ranks(size, q, 0.95)
    if low is not None:
        assert stats.binom.cdf(low - 1, size, q) <= 0.025 + 1e-12
    if high is not None:
        assert stats.binom.sf(high - 1, size, q) <= 0.025 + 1e-12


def test_the_quantile_interval_covers_the_true_quantile() -> None:
    rng = np.random.default_rng(1)
    true = float(stats.lognorm.ppf(0.99, 0.3))
    covered = 0
    for _ in range(300):
        sample = FloatHistogram.from_samples(rng.lognormal(0, 0.3, 1000))
        low, high = intervals.quantile_interval(sample, 0.99, 0.95)
        covered += low is not None and high is not None and low <= true <= high
    assert covered >= 0.93 * 300


def test_no_samples_bound_nothing() -> None:
    assert intervals.quantile_interval(FloatHistogram.empty(), 0.99, 0.95) == (None, None)


def test_runs_that_agree_count_in_full_but_for_their_small_number() -> None:
    share = intervals.effective_share([10] * 9, [1000] * 9, 0.95)
    assert share == pytest.approx((stats.norm.ppf(0.975) / stats.t.ppf(0.975, 8)) ** 2)


def test_hits_that_come_in_one_run_count_as_about_one() -> None:
    hits = [90, 0, 0, 0, 0, 0, 0, 0, 0]
    share = intervals.effective_share(hits, [1000] * 9, 0.95)
    assert 90 * share < 1.5


@pytest.mark.parametrize(
    ("hits", "trials"), [([5], [100]), ([0, 0], [100, 100]), ([7, 7], [7, 7]), ([], [])]
)
def test_without_spread_to_estimate_all_samples_count(hits: list[int], trials: list[int]) -> None:
    assert intervals.effective_share(hits, trials, 0.95) == 1


def test_the_effective_share_is_that_of_a_worked_example() -> None:
    # Share 15/300 = 0.05; hits are -4, 0 and 4 off. Variance of the share between three clusters
    # 3/2 * 32 / 300², binomial 0.05 * 0.95 / 300: design effect 3.36842. Student's t with two
    # degrees of freedom is 4.30265 where z is 1.95996 (Korn & Graubard 1998).
    share = intervals.effective_share([1, 5, 9], [100] * 3, 0.95)
    assert share == pytest.approx((1.95996 / 4.30265) ** 2 / 3.36842, rel=1e-5)
