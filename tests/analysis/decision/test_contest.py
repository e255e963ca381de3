"""The contest over blocks: dropping, winning, and what later blocks may change."""

from __future__ import annotations

import numpy as np
import pytest

from latency_sweep.analysis.decision.contest import ContestRule, hold, holds_in_general

RULE = ContestRule(cap=44, margin=0.02)


def blocks(*levels: float, number: int = 44, sd: float = 0.0345, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array(levels)[:, np.newaxis] + sd * rng.standard_normal((len(levels), number))


def test_a_place_twice_as_far_is_dropped_after_few_blocks() -> None:
    found = hold(blocks(0.0, 0.7, 1.1), RULE)
    assert found.winner == 0
    # The last rival stays until it is beaten by the exact test.
    assert found.survivors == (0, 1)
    (dropped,) = found.eliminations
    assert (dropped.candidate, dropped.leader) == (2, 0)
    assert dropped.block <= 4
    assert found.blocks == 9
    # Those that were dropped are not measured any more.
    assert found.candidate_blocks == 2 * 9 + dropped.block


def test_a_close_rival_has_to_be_beaten_by_the_exact_test() -> None:
    found = hold(blocks(0.05, 0.0, 0.05), RULE)
    assert found.winner == 1
    assert found.blocks >= 9


def test_a_small_difference_is_never_enough_to_drop_a_candidate() -> None:
    found = hold(blocks(0.0, 0.015, 0.015, sd=0.001), RULE)
    assert not found.eliminations
    assert found.winner == 0


def test_two_alike_both_survive() -> None:
    found = hold(blocks(0.0, 0.0, 0.5, seed=3), RULE)
    assert found.winner is None
    assert found.survivors == (0, 1)
    assert found.blocks == 44


@pytest.mark.parametrize("seed", range(5))
def test_grown_data_repeat_the_decision(seed: int) -> None:
    series = blocks(0.0, 0.04, 0.04, 0.5, seed=seed)
    whole = hold(series, RULE)
    assert whole.winner is not None
    assert hold(series[:, : whole.blocks], RULE) == whole
    before = hold(series[:, : whole.blocks - 1], RULE)
    assert before.winner is None
    assert before.eliminations == whole.eliminations[: len(before.eliminations)]


def test_what_clocks_explain_wins_nothing() -> None:
    series = blocks(0.0, 0.05, sd=0.01)
    assert hold(series, RULE).winner == 0
    assert hold(series, RULE, np.full((2, 2), 0.05)).winner is None


def test_blocks_that_are_missing_are_left_out_of_their_pairs() -> None:
    series = blocks(0.0, 0.08, 0.08)
    series[1, ::4] = np.nan
    series[0, 1] = np.nan
    found = hold(series, RULE)
    assert found.winner == 0
    series[1] = np.nan
    assert hold(series, RULE).winner is None


def test_one_candidate_beats_nobody() -> None:
    assert hold(blocks(0.0), RULE).winner is None


def test_days_that_agree_prove_a_lead_in_general_and_one_day_does_not() -> None:
    series = blocks(0.0, 0.1, number=48)
    days = np.arange(48) // 6
    assert holds_in_general(series, days, 0, RULE, most_days=8)
    assert not holds_in_general(series[:, :18], days[:18], 0, RULE, most_days=8)
    level = np.repeat(0.2 * np.array([1, 1, -0.5, 1, 1, -0.5, 1, -0.5]), 6)
    series[1] = series[0] + level
    assert not holds_in_general(series, days, 0, RULE, most_days=8)


def test_looks_come_ever_more_rarely() -> None:
    looks = RULE.elimination_looks
    assert looks[0] == 3
    assert looks[-1] <= RULE.cap
    assert list(np.diff(looks)) == sorted(np.diff(looks))
