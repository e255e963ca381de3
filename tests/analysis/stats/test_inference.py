"""Exact tests and estimates, against scipy where scipy has the same, and by their algebra."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from latency_sweep.analysis.stats import inference

numbers = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x, 6))
differences = st.lists(numbers, min_size=1, max_size=10)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_sign_flip_p_counts_all_sign_patterns() -> None:
    values = [1.5, -0.2, 0.7, 2.0]
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=4)
    ]
    expected = sum(s >= abs(sum(values)) - 1e-12 for s in sums) / 16
    assert inference.sign_flip_p(values) == expected


@pytest.mark.parametrize(("pairs", "p"), [(5, 0.0625), (6, 0.03125), (8, 2**-7), (9, 2**-8)])
def test_all_differences_of_one_sign_give_the_smallest_p(pairs: int, p: float) -> None:
    assert inference.sign_flip_p(np.arange(1, pairs + 1)) == p
    assert inference.smallest_sign_flip_p(pairs) == p


def test_sign_flip_p_agrees_with_scipys_permutation_test() -> None:
    values = np.random.default_rng(3).normal(0.4, 1, 8)
    reference = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=10_000
    )
    assert inference.sign_flip_p(values) == pytest.approx(reference.pvalue)


@pytest.mark.parametrize("pairs", [17, 40, 500])
def test_many_pairs_are_tested_in_sixteen_batches(pairs: int) -> None:
    assert inference.sign_flip_p(np.full(pairs, 1.0)) == 2**-15
    assert inference.smallest_sign_flip_p(pairs) == 2**-15


def test_batches_of_independent_pairs_agree_with_the_t_test() -> None:
    values = np.random.default_rng(4).normal(0.15, 1, 160)
    approximation = stats.ttest_1samp(values, 0).pvalue
    assert inference.sign_flip_p(values) == pytest.approx(approximation, abs=0.03)


def test_batches_keep_the_error_rate_where_neighbours_are_alike() -> None:
    rng = np.random.default_rng(8)
    rejected = naive = 0
    for _ in range(300):
        level, series = rng.normal(), []
        for _ in range(160):
            level = 0.6 * level + 0.8 * rng.normal()
            series.append(level)
        rejected += int(inference.sign_flip_p(series) < 0.05)
        naive += int(stats.ttest_1samp(series, 0).pvalue < 0.05)
    assert naive > 60
    assert rejected <= 0.1 * 300


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0, 0.0]])
def test_no_difference_at_all_gives_p_of_one(values: list[float]) -> None:
    assert inference.sign_flip_p(values) == 1
    assert inference.signed_rank_p(values) == 1


@given(differences, st.floats(1e-6, 1e6))
def test_sign_flip_p_does_not_depend_on_the_unit(values: list[float], unit: float) -> None:
    scaled = inference.sign_flip_p(np.array(values) * unit)
    assert scaled == pytest.approx(inference.sign_flip_p(values))


@given(differences)
def test_sign_flip_p_does_not_depend_on_which_candidate_is_first(values: list[float]) -> None:
    assert inference.sign_flip_p(-np.array(values)) == inference.sign_flip_p(values)


@given(differences)
def test_p_values_are_probabilities(values: list[float]) -> None:
    assert 0 < inference.sign_flip_p(values) <= 1
    assert 0 < inference.signed_rank_p(values) <= 1


def test_huge_differences_do_not_overflow() -> None:
    assert inference.sign_flip_p([1e308, 1e308, 1e308, 1e308]) == 0.125


@pytest.mark.parametrize("seed", range(5))
def test_signed_rank_p_agrees_with_scipy(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.5, 1, 9)
    reference = stats.wilcoxon(values, method="exact").pvalue
    assert inference.signed_rank_p(values) == pytest.approx(reference)


def test_holm_of_a_worked_example() -> None:
    assert inference.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(p_values)
def test_holm_is_monotone_and_never_below_the_raw_p(p: list[float]) -> None:
    adjusted = inference.holm(p)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))
    assert all(a <= 1 for a in adjusted)
    by_raw = [a for _, a in sorted(zip(p, adjusted, strict=True))]
    assert by_raw == sorted(by_raw)


@given(p_values, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order_of_rivals(p: list[float], random: object) -> None:
    order = list(range(len(p)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = inference.holm([p[i] for i in order])
    assert shuffled == [inference.holm(p)[i] for i in order]


def test_mann_whitney_agrees_with_scipys_exact_test() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=6), rng.normal(1, size=7)
    reference = stats.mannwhitneyu(x, y, method="exact").pvalue
    assert inference.mann_whitney_p(x, y) == pytest.approx(reference)


def test_three_against_three_runs_cannot_be_significant() -> None:
    assert inference.mann_whitney_p([1, 2, 3], [4, 5, 6]) == pytest.approx(0.1)
    assert inference.smallest_mann_whitney_p(3, 3) == pytest.approx(0.1)


@pytest.mark.parametrize(("x", "y"), [([], [1.0]), ([1.0], []), ([2.0, 2.0], [2.0, 2.0])])
def test_mann_whitney_without_anything_to_rank_gives_p_of_one(
    x: list[float], y: list[float]
) -> None:
    assert inference.mann_whitney_p(x, y) == 1


def test_mann_whitney_takes_ties() -> None:
    assert 0 < inference.mann_whitney_p([1, 1, 2, 2], [2, 2, 3, 3]) < 1


@given(differences, numbers)
def test_hodges_lehmann_moves_with_the_data(values: list[float], shift: float) -> None:
    moved = inference.hodges_lehmann(np.array(values) + shift)
    assert moved == pytest.approx(inference.hodges_lehmann(values) + shift, abs=1e-6)


@given(differences)
def test_hodges_lehmann_changes_sign_with_the_data(values: list[float]) -> None:
    assert inference.hodges_lehmann(-np.array(values)) == pytest.approx(
        -inference.hodges_lehmann(values), abs=1e-9
    )


def test_hodges_lehmann_is_the_median_of_pairwise_means() -> None:
    assert inference.hodges_lehmann([0.0, 1.0, 5.0]) == 1.75


def test_hodges_lehmann_of_nothing_is_undefined() -> None:
    assert math.isnan(inference.hodges_lehmann([]))


@pytest.mark.parametrize("pairs", [0, 1, 5])
def test_an_interval_needs_six_pairs_at_95_per_cent(pairs: int) -> None:
    assert inference.hodges_lehmann_interval(np.arange(pairs), 0.95) == (None, None)


def test_the_interval_holds_the_shifts_that_the_signed_rank_test_does_not_reject() -> None:
    values = np.random.default_rng(2).normal(0.3, 1, 9)
    low, high = inference.hodges_lehmann_interval(values, 0.95)
    assert low is not None
    assert high is not None
    for inside in (low + 1e-9, high - 1e-9):
        assert inference.signed_rank_p(values - inside) > 0.05
    for outside in (low - 1e-9, high + 1e-9):
        assert inference.signed_rank_p(values - outside) <= 0.05


def test_cliffs_delta_counts_pairs_that_are_slower() -> None:
    assert inference.cliffs_delta([1, 2], [3, 4]) == 1
    assert inference.cliffs_delta([3, 4], [1, 2]) == -1
    assert inference.cliffs_delta([1, 3], [2, 2]) == 0
    assert math.isnan(inference.cliffs_delta([], [1]))


@pytest.mark.parametrize(("rivals", "pairs"), [(1, 6), (2, 7), (5, 8), (12, 9), (23, 10)])
def test_more_rivals_need_more_pairs(rivals: int, pairs: int) -> None:
    assert inference.fewest_pairs(0.05, rivals) == pairs


def test_pairs_for_a_difference_agree_with_the_power_of_the_t_test() -> None:
    pairs = inference.pairs_for_difference(1.0, 1.2, 0.05, 0.8)
    assert pairs is not None
    freedom = pairs - 1
    critical = stats.t.ppf(0.975, freedom)
    power = stats.nct.sf(critical, freedom, math.sqrt(pairs) / 1.2)
    assert power == pytest.approx(0.8, abs=0.04)


def test_no_number_of_pairs_finds_no_difference() -> None:
    assert inference.pairs_for_difference(0.0, 1.0, 0.05, 0.8) is None


def test_a_shift_of_level_is_found_where_it_happens() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 60)
    split, p = inference.pettitt(noise + (np.arange(60) >= 25))
    assert split == 25
    assert p < 0.001


def test_slow_drifting_noise_is_seldom_taken_for_a_shift() -> None:
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(200):
        level, series = rng.normal(), []
        for _ in range(60):
            level = 0.6 * level + 0.8 * rng.normal()
            series.append(level)
        found += inference.pettitt(series)[1] < 0.05
    assert found <= 20


@pytest.mark.parametrize("series", [[], [1.0], [1.0, 2.0], [3.0] * 20])
def test_a_series_without_two_levels_has_no_shift(series: list[float]) -> None:
    assert inference.pettitt(series) == (0, 1.0)
