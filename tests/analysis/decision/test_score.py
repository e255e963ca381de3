"""The score against hand-computed cases of its formula."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.analysis.decision.score import Measure, best, scores, sensitivity
from latency_sweep.contract.experiment import Weights
from tests.analysis.candidates import candidate_of

A, B, C = candidate_of("c6i.large"), candidate_of("c6in.large"), candidate_of("r6i.large")
WEIGHTS = Weights(p99=0.7, stability=0.3)
positive = st.floats(1e-6, 1e3)
measures = st.builds(Measure, p99=st.floats(-1, 10), cv=positive, sd=positive)


def totals(*rows: tuple[float, float]) -> list[float]:
    names = (A, B, C)[: len(rows)]
    found = scores({n: Measure(p, c, 0.0) for n, (p, c) in zip(names, rows, strict=True)}, WEIGHTS)
    return [found[name].total for name in names]


def test_three_candidates_by_hand() -> None:
    # (10-10)/(30-10)=0, (20-10)/20=0.5, 1; cv / 0.4 = 0.5, 1, 0.25.
    assert totals((0.010, 0.2), (0.020, 0.4), (0.030, 0.1)) == pytest.approx(
        [0.7 * 0 + 0.3 * 0.5, 0.7 * 0.5 + 0.3 * 1, 0.7 * 1 + 0.3 * 0.25]
    )


def test_equal_p99_leaves_stability_to_decide() -> None:
    assert totals((0.010, 0.1), (0.010, 0.2)) == pytest.approx([0.15, 0.3])


def test_equal_candidates_have_equal_scores() -> None:
    assert totals((0.010, 0.2), (0.010, 0.2)) == pytest.approx([0.3, 0.3])


def test_no_spread_anywhere_leaves_p99_to_decide() -> None:
    assert totals((0.010, 0.0), (0.020, 0.0)) == pytest.approx([0.0, 0.7])


def test_one_candidate_scores_its_stability_only() -> None:
    assert totals((0.010, 0.2)) == pytest.approx([0.3])


def test_one_candidate_without_spread_scores_zero() -> None:
    assert totals((0.010, 0.0)) == [0.0]


def test_two_candidates_level_on_p99_share_that_term_exactly() -> None:
    # (10-10)/(20-10)=0 twice, 1; cv / 0.5 = 0.4, 1, 0.
    assert totals((0.010, 0.2), (0.010, 0.5), (0.020, 0.0)) == pytest.approx([0.12, 0.3, 0.7])


def test_one_candidate_without_spread_among_others_has_no_stability_term() -> None:
    assert totals((0.010, 0.0), (0.020, 0.4)) == pytest.approx([0.0, 1.0])


def test_the_parts_are_weighted_and_add_up() -> None:
    found = scores({A: Measure(0.010, 0.2, 0.0), B: Measure(0.014, 0.1, 0.0)}, WEIGHTS)
    assert (found[A].p99_part, found[A].stability_part) == pytest.approx((0.0, 0.3))
    assert (found[B].p99_part, found[B].stability_part) == pytest.approx((0.7, 0.15))
    assert found[B].total == pytest.approx(0.85)


def test_all_latencies_and_spreads_at_zero_are_a_tie_at_zero() -> None:
    assert totals((0.0, 0.0), (0.0, 0.0)) == [0.0, 0.0]


def test_a_huge_spread_does_not_overflow() -> None:
    assert totals((0.010, 1e308), (0.020, 0.5e308)) == pytest.approx([0.3, 0.7 + 0.15])


@pytest.mark.parametrize("huge", [1e300, 1.7e308])
def test_huge_values_do_not_overflow(huge: float) -> None:
    assert totals((0.0, 0.1), (huge, 0.1)) == pytest.approx([0.3, 1.0])


def test_zero_latency_is_a_value_like_any_other() -> None:
    assert totals((0.0, 0.1), (0.010, 0.1)) == pytest.approx([0.3, 1.0])


def test_a_candidate_without_a_number_has_no_score_and_does_not_spoil_the_others() -> None:
    found = scores(
        {
            A: Measure(0.010, 0.2, 0.1),
            B: Measure(math.nan, 0.2, 0.1),
            C: Measure(0.020, math.nan, 0.1),
        },
        WEIGHTS,
    )
    assert set(found) == {A}


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_not_finite_leave_all_without_a_score(number: float) -> None:
    assert scores({A: Measure(number, 0.2, 0.1), B: Measure(0.01, number, 0.1)}, WEIGHTS) == {}


def test_nothing_to_score() -> None:
    assert scores({}, WEIGHTS) == {}


@given(st.lists(measures, min_size=1, max_size=3))
def test_scores_lie_between_zero_and_one(rows: list[Measure]) -> None:
    found = scores(dict(zip((A, B, C), rows, strict=False)), WEIGHTS)
    assert all(-1e-12 <= score.total <= 1 + 1e-12 for score in found.values())


@given(st.lists(measures, min_size=2, max_size=3), st.floats(1e-3, 1e3))
def test_scores_do_not_depend_on_the_unit_of_latency(rows: list[Measure], unit: float) -> None:
    names = (A, B, C)[: len(rows)]
    before = scores(dict(zip(names, rows, strict=True)), WEIGHTS)
    scaled = [Measure(m.p99 * unit, m.cv, m.sd * unit) for m in rows]
    after = scores(dict(zip(names, scaled, strict=True)), WEIGHTS)
    if max(m.p99 for m in rows) - min(m.p99 for m in rows) > 1e-6:
        for name in names:
            assert after[name].total == pytest.approx(before[name].total, abs=1e-6)


def test_equal_scores_are_ordered_by_name() -> None:
    assert best({B: 0.3, A: 0.3}, frozenset({A, B})) == A


def test_only_eligible_candidates_can_be_best() -> None:
    assert best({A: 0.1, B: 0.3}, frozenset({B})) == B
    assert best({A: 0.1}, frozenset()) is None


def test_sensitivity_says_when_a_disqualified_candidate_would_flip_the_ranking() -> None:
    # A is faster, B more stable. Next to the 5 s of C their p99s look equal.
    table = sensitivity(
        {
            A: Measure(0.010, 0.4, 0.004),
            B: Measure(0.012, 0.2, 0.002),
            C: Measure(5.0, 0.1, 0.5),
        },
        frozenset({A, B}),
        WEIGHTS,
    )
    rows = {row.name: row for row in table}
    assert rows["as configured"].best == A.name
    over_all = rows["normalised over all candidates, passing or not"]
    assert over_all.best == B.name
    assert over_all.changed


def test_sensitivity_moves_the_weights_by_a_tenth() -> None:
    table = sensitivity({A: Measure(0.01, 0.1, 0.1)}, frozenset({A}), WEIGHTS)
    assert [(r.weight_p99, r.weight_stability) for r in table[:3]] == [
        (0.7, 0.3),
        (0.8, 0.2),
        (0.6, 0.4),
    ]


def test_sensitivity_keeps_weights_between_zero_and_one() -> None:
    weights = Weights(p99=1.0, stability=0.0)
    table = sensitivity({A: Measure(0.01, 0.1, 0.1)}, frozenset({A}), weights)
    assert table[1].weight_p99 == 1.0


def test_spread_in_ms_can_name_another_candidate_than_its_ratio_to_the_mean() -> None:
    # B is far and its cv small, but it swings more in milliseconds.
    table = sensitivity(
        {
            A: Measure(0.0300, 0.5, 0.002),
            B: Measure(0.0301, 0.1, 0.010),
            C: Measure(0.04, 0.5, 0.1),
        },
        frozenset({A, B, C}),
        WEIGHTS,
    )
    rows = {row.name: row.best for row in table}
    assert rows["as configured"] == B.name
    assert rows["spread in ms instead of its ratio to the mean"] == A.name


def test_nobody_leads_where_nobody_passes() -> None:
    table = sensitivity({A: Measure(0.01, 0.1, 0.1)}, frozenset(), WEIGHTS)
    assert {row.best for row in table} == {None}
    assert not any(row.changed for row in table)
