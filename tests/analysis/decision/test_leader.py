"""Which candidate is tested."""

from __future__ import annotations

import numpy as np

from latency_sweep.analysis.decision.leader import ScoreDraws, choose_leader, score_draws
from latency_sweep.analysis.decision.score import Score
from latency_sweep.analysis.evidence.sample import CandidateSample
from latency_sweep.analysis.stats.resample import Bootstrap
from tests.analysis.candidates import candidate_of, restless, rules, runs_of, steady

RULE = rules().decision
A, B = candidate_of("c6i.large"), candidate_of("c6in.large")
FAST, SLOW = (
    CandidateSample(A, runs_of(A, steady(0.010))),
    CandidateSample(B, runs_of(B, restless(0.012))),
)
NO_DRAWS = ScoreDraws({}, 9, 0.95)


def test_the_lowest_score_is_chosen() -> None:
    found = {A: Score(0.0, 0.3), B: Score(0.1, 0.1)}
    assert choose_leader([FAST, SLOW], found, NO_DRAWS) is SLOW


def test_among_scores_that_chance_may_have_ordered_the_lowest_p99_is_chosen() -> None:
    found = {A: Score(0.0, 0.30), B: Score(0.0, 0.29)}
    noise = np.random.default_rng(1).normal(0, 0.1, (2, 500))
    draws = ScoreDraws({A: 0.30 + noise[0], B: 0.29 + noise[1]}, 9, 0.95)
    assert choose_leader([FAST, SLOW], found, draws) is FAST


def test_a_score_that_is_surely_lower_is_chosen_whatever_its_p99() -> None:
    found = {A: Score(0.0, 0.30), B: Score(0.0, 0.10)}
    noise = np.random.default_rng(1).normal(0, 0.001, (2, 500))
    draws = ScoreDraws({A: 0.30 + noise[0], B: 0.10 + noise[1]}, 9, 0.95)
    assert choose_leader([FAST, SLOW], found, draws) is SLOW


def test_an_interval_that_just_reaches_zero_leaves_the_scores_untold() -> None:
    found = {A: Score(0.0, 0.30), B: Score(0.0, 0.29)}
    draws = ScoreDraws({A: np.full(500, 0.3), B: np.full(500, 0.3)}, 9, 0.95)
    interval = draws.interval(A, B)
    assert interval is not None
    assert interval.low == 0
    assert choose_leader([FAST, SLOW], found, draws) is FAST


def test_equal_scores_go_to_the_lower_p99() -> None:
    equal = {A: Score(0.1, 0.1), B: Score(0.1, 0.1)}
    assert choose_leader([SLOW, FAST], equal, NO_DRAWS) is FAST


def test_a_candidate_without_a_score_is_chosen_only_where_none_has_one() -> None:
    assert choose_leader([FAST, SLOW], {B: Score(0.1, 0.1)}, NO_DRAWS) is SLOW
    assert choose_leader([SLOW, FAST], {}, NO_DRAWS) is FAST


def test_nobody_is_chosen_where_nobody_passes() -> None:
    assert choose_leader([], {}, NO_DRAWS) is None


def test_score_draws_scatter_around_the_score() -> None:
    draws = score_draws([FAST, SLOW], RULE, Bootstrap(400, 0, 99.99))
    interval = draws.interval(B, A)
    assert interval is not None
    assert interval.low is not None
    assert interval.high is not None
    # p99 decides between two: 0.7 lies between them, give or take stability.
    assert 0.6 < interval.low < interval.high < 0.8


def test_candidates_with_too_few_runs_in_common_have_no_draws() -> None:
    early, late = (
        CandidateSample(A, runs_of(A, steady(0.01, 5))),
        CandidateSample(B, runs_of(B, steady(0.01, 9))[3:]),
    )
    draws = score_draws([early, late], RULE, Bootstrap(200, 0, 99.99))
    assert draws.interval(A, B) is None
