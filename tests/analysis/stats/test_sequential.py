"""The sequential sign-flip test: exact, the same on grown data, and inverted by its interval."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from latency_sweep.analysis.stats.sequential import (
    MAX_DIFFERENCES,
    PATTERNS,
    Spending,
    boundaries,
    fewest_differences,
    first_rejection,
    lower_bound,
)

SIZES = st.floats(min_value=0.01, max_value=10, allow_nan=False)
SIGNED = st.floats(min_value=-10, max_value=10, allow_nan=False).filter(lambda x: abs(x) > 0.01)


@given(st.lists(SIZES, min_size=8, max_size=8), st.sampled_from([0.05, 0.1, 0.3]))
@settings(max_examples=5)
def test_of_all_sign_patterns_at_most_alpha_are_ever_rejected(
    sizes: list[float], alpha: float
) -> None:
    spending = Spending(alpha, cap=8, first=3)
    patterns = list(itertools.product((1.0, -1.0), repeat=8))
    rejected = [
        first_rejection(np.array(sizes) * pattern, spending) is not None for pattern in patterns
    ]
    assert np.mean(rejected) <= alpha
    # With sizes of no special kind all that may be spent is spent, but for a pattern a look.
    if len({round(size, 3) for size in sizes}) == 8:
        assert np.mean(rejected) > alpha - 6 / len(patterns)


def test_what_is_spent_by_a_look_is_no_more_than_its_share() -> None:
    sizes = np.random.default_rng(1).exponential(size=10)
    spending = Spending(0.2, cap=10, first=3)
    looks = [
        first_rejection(sizes * pattern, spending)
        for pattern in itertools.product((1.0, -1.0), repeat=10)
    ]
    for size in range(1, 11):
        by_then = np.mean([look is not None and look <= size for look in looks])
        assert by_then <= 0.2 * size / 10
    assert any(look is not None and look < 6 for look in looks)


@given(st.lists(SIGNED, min_size=6, max_size=60), st.integers(min_value=1, max_value=59))
@settings(max_examples=30)
def test_more_data_never_change_an_earlier_look(values: list[float], early: int) -> None:
    spending = Spending(0.1, cap=30)
    grown = boundaries(values, spending)
    assert np.array_equal(boundaries(values[:early], spending), grown[:early])
    at = first_rejection(values, spending)
    if at is not None and at <= early:
        assert first_rejection(values[:early], spending) == at


@given(st.lists(SIGNED, min_size=6, max_size=40), st.floats(min_value=0.01, max_value=100))
@settings(max_examples=30)
def test_units_do_not_matter(values: list[float], factor: float) -> None:
    spending = Spending(0.1, cap=20)
    scaled = [factor * value for value in values]
    assert first_rejection(values, spending) == first_rejection(scaled, spending)


@given(st.lists(SIGNED, min_size=9, max_size=40))
@settings(max_examples=30)
def test_the_interval_and_the_last_look_agree(values: list[float]) -> None:
    spending = Spending(0.05, cap=40)
    low = lower_bound(values, spending)
    rejected = sum(values) > boundaries(values, spending)[-1]
    if low is None:
        assert not rejected
        return
    assert low < np.mean(values)
    assume(abs(low) > 1e-3 * (max(values) - min(values) + 1e-9))  # found to within that
    assert rejected == (low > 0)


@given(st.lists(SIGNED, min_size=9, max_size=30), st.floats(min_value=-5, max_value=5))
@settings(max_examples=20)
def test_the_interval_moves_with_the_data(values: list[float], shift: float) -> None:
    spending = Spending(0.05, cap=30)
    low = lower_bound(values, spending)
    moved = lower_bound(np.array(values) + shift, spending)
    assert (low is None) == (moved is None)
    if low is not None and moved is not None:
        assert moved - low == pytest.approx(shift, abs=2e-4 * (max(values) - min(values)) + 1e-6)


def test_the_level_holds_beyond_the_patterns_that_can_be_listed() -> None:
    rng = np.random.default_rng(2)
    spending = Spending(0.1, cap=40)
    found = [first_rejection(rng.standard_t(3, 40), spending) is not None for _ in range(400)]
    assert 0.06 < np.mean(found) < 0.14


def test_equal_differences_are_ties_and_are_never_significant_by_rounding() -> None:
    spending = Spending(0.02, cap=44)
    assert first_rejection([0.1] * 8, spending) is None
    # 2^-9 is what nine equal signs are worth; 0.02 * 9 / 44 may be spent by then.
    assert first_rejection([0.1] * 44, spending) == 9
    assert fewest_differences(spending) == 9
    assert first_rejection([0.0] * 44, spending) is None


def test_few_differences_bound_nothing() -> None:
    spending = Spending(0.02, cap=44)
    assert lower_bound([], spending) is None
    assert lower_bound([1.0, 2.0, 3.0], spending) is None
    assert np.isinf(boundaries([1.0, 2.0], spending)).all()


def test_a_long_series_has_signs_of_its_own_throughout() -> None:
    values = np.ones(MAX_DIFFERENCES)
    assert np.isfinite(boundaries(values, Spending(0.02, MAX_DIFFERENCES))).any()
    assert PATTERNS == 2 * MAX_DIFFERENCES
