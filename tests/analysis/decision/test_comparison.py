"""The leader against its rivals."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from latency_sweep.analysis.decision.comparison import Method, compare, relate
from latency_sweep.analysis.decision.difference import (
    DifferenceTest,
    PairedSample,
    margin_between,
)
from latency_sweep.analysis.decision.leader import ScoreDraws
from latency_sweep.analysis.decision.results import Relation
from latency_sweep.analysis.evidence.sample import CandidateSample
from latency_sweep.analysis.report.words.sentences import comparison, mann_whitney_note
from latency_sweep.analysis.stats.resample import Bootstrap
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import (
    candidate_of,
    latencies,
    restless,
    rules,
    run_of,
    runs_of,
    steady,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.analysis.decision.results import Comparison
    from latency_sweep.contract.experiment import Decision

RULE = rules().decision
RUN_SEC = 3600.0
A, B, C = candidate_of("c6i.large"), candidate_of("c6in.large"), candidate_of("r6i.large")


def sample(candidate: Any, p99s: Sequence[float], **fields: Any) -> CandidateSample:
    return CandidateSample(candidate, runs_of(candidate, p99s, **fields))


def method(rule: Decision = RULE) -> Method:
    return Method(rule, Bootstrap(400, 0, 99.99), RUN_SEC)


def against(
    leader: CandidateSample, *rivals: CandidateSample, rule: Decision = RULE
) -> tuple[Comparison, ...]:
    return compare(leader, rivals, method(rule), {}, ScoreDraws({}, 0, rule.confidence))


def test_a_rival_that_is_slower_in_every_run_is_beaten() -> None:
    (found,) = against(sample(A, steady(0.010)), sample(B, restless(0.0105)))
    assert found.relation is Relation.BETTER
    assert found.p_holm == found.p_sign_flip == found.smallest_p == 2**-8
    assert found.shift_sec == pytest.approx(0.0005, rel=0.1)
    assert found.shift_ratio == pytest.approx(0.05, rel=0.1)
    assert found.pooled_difference_sec == pytest.approx(0.0005, rel=0.2)
    assert found.cliffs_delta == 1
    assert found.runs_needed is None
    assert comparison(found).startswith(
        "ap-northeast-1/c6i.large is faster than ap-northeast-1/c6in"
    )


def test_the_other_way_round_the_rival_is_faster() -> None:
    (found,) = against(sample(B, restless(0.0105)), sample(A, steady(0.010)))
    assert found.relation is Relation.WORSE
    assert found.shift_sec is not None
    assert found.shift_sec < 0


def test_intervals_enclose_their_estimates() -> None:
    (found,) = against(sample(A, steady(0.010)), sample(B, restless(0.0105)))
    for value, interval in (
        (found.shift_sec, found.shift_interval),
        (found.pooled_difference_sec, found.pooled_interval),
    ):
        assert value is not None
        assert interval is not None
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= value <= interval.high


def test_equal_candidates_are_equivalent() -> None:
    (found,) = against(sample(A, steady(0.010)), sample(B, restless(0.010)))
    assert found.relation is Relation.EQUIVALENT
    assert "differ by less than the margin of" in comparison(found)


def test_a_significant_difference_below_the_margin_is_no_difference() -> None:
    (found,) = against(sample(A, steady(0.010)), sample(B, [p * 1.008 for p in steady(0.010)]))
    assert found.p_holm is not None
    assert found.p_holm < 0.05
    assert found.relation is Relation.EQUIVALENT


def test_a_significant_difference_across_the_margin_is_undecided() -> None:
    slower = [p * f for p, f in zip(steady(0.010), [1.002, 1.036, 1.004] * 3, strict=True)]
    (found,) = against(sample(A, steady(0.010)), sample(B, slower))
    assert found.p_holm is not None
    assert found.p_holm < 0.05
    assert found.relation is Relation.UNDECIDED
    assert "not proven to exceed the margin" in comparison(found)


def test_a_shift_whose_sign_the_test_does_not_share_proves_nothing() -> None:
    first, second = sample(A, steady(0.010)), sample(B, restless(0.0105))
    pairs = PairedSample.of(first, second)
    test = DifferenceTest.paired(
        pairs, pairs.dependence(RUN_SEC), None, margin_between(first, second, RULE)
    )
    opposed = dataclasses.replace(test, direction=-test.direction)
    relations = [each.relation(test.p_value, RULE) for each in (test, opposed)]
    assert relations == [Relation.BETTER, Relation.UNDECIDED]


def test_a_pair_by_itself_is_related_as_a_family_of_one() -> None:
    first, second = sample(A, steady(0.010)), sample(B, restless(0.0105))
    assert relate(first, second, method()) is Relation.BETTER
    assert relate(second, first, method()) is Relation.WORSE


def test_fewer_pairs_than_the_rule_asks_for_prove_nothing() -> None:
    rivals = sample(A, steady(0.010)), sample(B, restless(0.0105))
    relations = [
        against(*rivals, rule=rules(decision__min_runs=runs).decision)[0].relation
        for runs in (9, 10)
    ]
    assert relations == [Relation.BETTER, Relation.UNDECIDED]


def test_noise_around_the_margin_is_undecided_and_says_how_many_runs() -> None:
    noisy = [p * f for p, f in zip(steady(0.010), [0.9, 1.1, 1.02] * 3, strict=True)]
    (found,) = against(sample(A, steady(0.010)), sample(B, noisy))
    assert found.relation is Relation.UNDECIDED
    assert "cannot be told apart" in comparison(found)
    assert found.runs_needed is not None
    assert found.runs_needed > 9


def test_four_pairs_can_decide_nothing() -> None:
    (found,) = against(sample(A, steady(0.010, 4)), sample(B, steady(0.050, 4)))
    assert found.relation is Relation.UNDECIDED
    assert found.runs_needed == 6
    assert "share 4 usable runs; proving a difference at 95 %" in comparison(found)
    assert found.shift_interval is not None
    assert found.shift_interval.low is None


def test_three_runs_each_get_the_note_on_mann_whitney() -> None:
    (found,) = against(sample(A, steady(0.010, 3)), sample(B, steady(0.050, 3)))
    assert found.p_mann_whitney == pytest.approx(0.1)
    assert mann_whitney_note(found) == (
        "With 3 against 3 runs Mann-Whitney cannot reach p < 0.05; its smallest possible p is 0.1."
    )


def test_nine_runs_each_need_no_note() -> None:
    (found,) = against(sample(A, steady(0.010)), sample(B, steady(0.011)))
    assert mann_whitney_note(found) == ""


def test_many_rivals_raise_the_bar() -> None:
    rivals = [sample(candidate_of(f"t{i}.large"), restless(0.0105)) for i in range(13)]
    found = against(sample(A, steady(0.010)), *rivals)
    assert {c.relation for c in found} == {Relation.UNDECIDED}
    assert {c.p_holm for c in found} == {13 * 2**-8}
    assert {c.runs_needed for c in found} == {10}
    assert comparison(found[0]).endswith("against 13 rivals takes at least 10.")


def test_only_runs_that_both_have_are_paired() -> None:
    first = sample(A, steady(0.010))
    second = CandidateSample(
        B, [r for r in runs_of(B, steady(0.011)) if not r.run.startswith("2026-01-02")]
    )
    (found,) = against(first, second)
    assert found.pairs == 6


def test_a_excluded_run_is_not_paired() -> None:
    runs = runs_of(B, steady(0.011))
    excluded = run_of(B, 0, latencies(0.5), exclusion_reasons=("clock",))
    assert (
        len(
            PairedSample.of(
                sample(A, steady(0.010)), CandidateSample(B, [excluded, *runs[1:]])
            ).labels
        )
        == 8
    )


def test_candidates_without_a_common_run_cannot_be_compared() -> None:
    early, late = runs_of(A, steady(0.010, 3)), runs_of(B, steady(0.011, 9))[3:]
    (found,) = against(CandidateSample(A, early), CandidateSample(B, late))
    assert found.pairs == 0
    assert found.shift_sec is None
    assert found.pooled_interval is None
    assert found.relation is Relation.UNDECIDED
    assert comparison(found).endswith("have no usable run in common.")


def test_one_common_run_has_a_difference_but_no_interval() -> None:
    (found,) = against(sample(A, [0.010]), sample(B, [0.020]))
    assert found.pooled_difference_sec == pytest.approx(0.010, rel=0.01)
    assert found.pooled_interval is None


def test_negative_p99s_are_compared_in_seconds() -> None:
    def shifted(candidate: Any, p99s: Sequence[float]) -> CandidateSample:
        return CandidateSample(
            candidate,
            [
                run_of(candidate, i, FloatHistogram.from_samples([p - 0.001, p, p]))
                for i, p in enumerate(p99s)
            ],
        )

    (found,) = against(
        shifted(A, [-0.002 * f for f in steady(1)]),
        shifted(B, [-0.001 * f for f in steady(1)]),
    )
    assert not found.log_scale
    assert found.shift_ratio is None
    assert found.shift_sec == pytest.approx(0.001, rel=0.05)
    assert found.p_sign_flip == 2**-8


@pytest.mark.parametrize(
    ("bound", "clock"), [(10e-6, 20e-6), (0.0, 0.0), (300e-6, 600e-6), (None, 0.002)]
)
def test_the_margin_is_no_smaller_than_clocks_and_bucket(bound: float | None, clock: float) -> None:
    first = sample(A, steady(0.010), clock_error_bound_sec=bound)
    second = sample(B, steady(0.020), clock_error_bound_sec=bound)
    margin = margin_between(first, second, RULE)
    assert margin.clock_sec == pytest.approx(clock)
    assert margin.bucket_sec == pytest.approx(0.02 * 0.0027, rel=0.02)
    assert margin.relevant_sec == pytest.approx(0.0002, rel=0.02)
    assert margin.total_sec == max(margin.relevant_sec, margin.clock_sec + margin.bucket_sec)


def test_a_difference_that_the_clocks_could_have_made_does_not_count() -> None:
    bound = 400e-6
    first = sample(A, steady(0.010), clock_error_bound_sec=bound)
    second = sample(B, restless(0.0105), clock_error_bound_sec=bound)
    (found,) = against(first, second)
    assert found.p_holm == 2**-8
    assert found.relation is Relation.EQUIVALENT


def test_more_runs_are_asked_for_than_there_are() -> None:
    runs = [1.0, 1.3, 0.8, 1.1, 0.95, 1.2, 0.7, 1.05, 1.0]
    (found,) = against(sample(A, steady(0.010)), sample(B, [0.0101 * f for f in runs]))
    assert found.relation is Relation.UNDECIDED
    assert found.runs_needed is None or found.runs_needed > found.pairs


def test_a_difference_right_at_the_margin_has_no_number_of_runs() -> None:
    rule = rules(decision__equivalence_ratio=0.05).decision
    noisy = [p * f for p, f in zip(steady(0.010), [1.15, 0.95, 1.05] * 3, strict=True)]
    (found,) = against(sample(A, steady(0.010)), sample(B, noisy), rule=rule)
    assert found.relation is Relation.UNDECIDED
    assert found.runs_needed is None


def drifting(candidate: Any, p99: float, *, hourly: bool) -> CandidateSample:
    """Nine runs whose level drifts, in windows of half a minute; one after another or on days."""
    rng, level, runs = np.random.default_rng(4), 0.0, []
    for index in range(9):
        windows = []
        for _ in range(40):
            level = 0.97 * level + 0.01 * rng.standard_normal()
            scale = 1.0 if candidate == A else math.exp(level)
            windows.append(latencies(p99 * scale, samples=300))
        run = run_of(candidate, index, FloatHistogram.merge(*windows), windows=tuple(windows))
        label = f"2026-01-01T{index:02d}:05:00Z" if hourly else run.run
        runs.append(dataclasses.replace(run, run=label))
    return CandidateSample(candidate, runs)


@pytest.fixture(scope="module", name="close_together")
def _close_together() -> Comparison:
    return against(drifting(A, 0.010, hourly=True), drifting(B, 0.0103, hourly=True))[0]


@pytest.fixture(scope="module", name="spread_out")
def _spread_out() -> Comparison:
    return against(drifting(A, 0.010, hourly=False), drifting(B, 0.0103, hourly=False))[0]


def test_runs_close_together_are_worth_fewer(
    close_together: Comparison, spread_out: Comparison
) -> None:
    assert close_together.close_together
    assert close_together.pairs == 9 > close_together.effective_runs >= 1
    assert not spread_out.close_together
    assert spread_out.effective_runs == pytest.approx(9, rel=0.01)


def test_runs_close_together_are_less_sure_and_ask_for_more(
    close_together: Comparison, spread_out: Comparison
) -> None:
    assert close_together.p_sign_flip is not None
    assert spread_out.p_sign_flip is not None
    assert close_together.p_sign_flip >= spread_out.p_sign_flip
    for mine, other in (
        (close_together.pooled_interval, spread_out.pooled_interval),
        (close_together.shift_interval, spread_out.shift_interval),
    ):
        assert mine is not None
        assert other is not None
        assert (mine.low or 0) < (other.low or 0) < (other.high or 0) < (mine.high or 0)


def test_the_finding_says_what_runs_close_together_are_worth(
    close_together: Comparison, spread_out: Comparison
) -> None:
    number = f"{close_together.effective_runs:.1f}"
    assert f"n = 9, effective number of runs {number})" in comparison(close_together)
    assert "effective" not in comparison(spread_out)
