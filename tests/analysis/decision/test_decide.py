"""The verdict: each way it can end, and what it says then."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.results import ConstraintStatus, Relation
from latency_sweep.analysis.decision.verdict import Verdict, VerdictKind
from latency_sweep.analysis.report.json import as_json
from latency_sweep.analysis.report.words.conclusion import reasons, sentence
from latency_sweep.analysis.report.words.next_steps import next_steps
from latency_sweep.analysis.report.words.warnings import warnings
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import (
    candidate_of,
    evidence,
    latencies,
    restless,
    rules,
    run_of,
    runs_of,
    steady,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from latency_sweep.analysis.evidence.records import RunEvidence

EXPERIMENT = rules()
A, B, C = candidate_of("c6i.large"), candidate_of("c6in.large"), candidate_of("r6i.large")


def verdict_on(*groups: Iterable[RunEvidence], experiment: Any = EXPERIMENT) -> Verdict:
    return decide(evidence(*groups), experiment)


def test_a_candidate_faster_in_every_run_wins() -> None:
    verdict = verdict_on(
        runs_of(A, steady(0.010)), runs_of(B, restless(0.0105)), runs_of(C, restless(0.030))
    )
    assert verdict.kind is VerdictKind.WINNER
    assert verdict.winner == verdict.leader == A.name
    assert verdict.tied == ()
    assert "lower than every rival over 9 paired runs" in sentence(verdict)
    assert f"the closest, {B.name}, is slower by" in sentence(verdict)
    assert [row.name for row in verdict.ranking] == [A.name, B.name, C.name]
    assert [row.rank for row in verdict.ranking] == [1, 2, 3]
    assert [c.rival for c in verdict.comparisons] == [B.name, C.name]
    assert next_steps(verdict)[0].startswith(f"Deploy the consumer to {A.name}")


def test_a_winner_says_over_how_many_runs_it_was_compared_with_every_rival() -> None:
    verdict = verdict_on(
        runs_of(A, steady(0.010)), runs_of(B, restless(0.012)), runs_of(C, restless(0.030, 8))
    )
    assert "lower than every rival over 8 to 9 paired runs; the closest," in sentence(verdict)


def test_equal_candidates_tie_and_the_cheaper_one_is_preferred() -> None:
    verdict = verdict_on(runs_of(B, steady(0.010)), runs_of(A, restless(0.010)))
    assert verdict.kind is VerdictKind.TIE
    assert verdict.winner is None
    assert verdict.tied == (A.name, B.name)
    assert "is preferred" in sentence(verdict)


def test_a_tie_leaves_out_those_that_are_beaten() -> None:
    verdict = verdict_on(
        runs_of(A, steady(0.010)), runs_of(B, restless(0.010)), runs_of(C, steady(0.030))
    )
    assert verdict.kind is VerdictKind.TIE
    assert set(verdict.tied) == {A.name, B.name}


def test_too_few_runs_are_inconclusive_and_say_how_many_more() -> None:
    verdict = verdict_on(runs_of(A, steady(0.010, 5)), runs_of(B, steady(0.030, 5)))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "share 5 usable runs; proving a difference" in sentence(verdict)
    assert "takes at least 6" in sentence(verdict)
    assert any(
        step.startswith("About 1 more run of all candidates") for step in next_steps(verdict)
    )


def test_noise_is_inconclusive_and_says_how_many_more_runs() -> None:
    noisy = [0.0104 * f for f in (0.9, 1.1, 1.02, 0.95, 1.08, 0.97, 1.12, 0.93, 1.05)]
    verdict = verdict_on(runs_of(A, steady(0.010)), runs_of(B, noisy))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "cannot be told apart" in sentence(verdict)
    assert any("more runs of all candidates" in step for step in next_steps(verdict))


def test_all_too_slow_means_none_passes() -> None:
    verdict = verdict_on(runs_of(A, steady(0.080)), runs_of(B, steady(0.200)))
    assert verdict.kind is VerdictKind.NONE_PASSES
    assert verdict.winner is None
    assert verdict.leader is None
    assert sentence(verdict) == (
        "No candidate passes: each of the 2 violates a hard constraint (p99)."
    )
    # The score is then normalised over all.
    assert [row.score is not None for row in verdict.ranking] == [True, True]
    assert len(reasons(verdict)) == 2


def test_unproven_candidates_are_inconclusive_not_failed() -> None:
    verdict = verdict_on(runs_of(A, steady(0.010), hours=0.1), runs_of(B, steady(0.020), hours=0.1))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "no candidate is proven to pass" in sentence(verdict)
    assert f"{A.name}, reconnects: 2.1 h more without another reconnect (3.0 h in total)." in (
        next_steps(verdict)
    )


def test_one_candidate_has_nothing_to_be_compared_with() -> None:
    verdict = verdict_on(runs_of(A, steady(0.010)))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "nothing to compare it with" in sentence(verdict)
    assert verdict.leader == A.name
    assert verdict.comparisons == ()


def test_the_only_candidate_that_passes_wins() -> None:
    verdict = verdict_on(runs_of(A, steady(0.010)), runs_of(B, steady(0.080)))
    assert verdict.kind is VerdictKind.WINNER
    assert verdict.winner == A.name
    assert "the only candidate that passes" in sentence(verdict)
    assert reasons(verdict) == (f"{B.name} is proven to violate a hard constraint.",)


def test_the_only_candidate_that_passes_must_cover_all_strata_too() -> None:
    low = [r for r in runs_of(A, steady(0.010, 18), hours=2.0) if r.stratum == "low"]
    verdict = verdict_on(low, runs_of(B, steady(0.080)))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "time stratum high (14:00 to 16:00 UTC)" in sentence(verdict)


def test_no_evidence_at_all_is_inconclusive() -> None:
    verdict = verdict_on()
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert verdict.ranking == ()
    assert reasons(verdict) == ("No run was observed.",)


def test_excluded_runs_only_are_no_evidence_and_their_reasons_are_told() -> None:
    verdict = verdict_on(
        runs_of(A, steady(0.010), exclusion_reasons=("the clock was not synchronised",))
    )
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "the only candidate has no usable run" in sentence(verdict)
    assert reasons(verdict) == ("Excluded: the clock was not synchronised.",)
    assert verdict.ranking[0].runs_excluded == 9
    assert verdict.ranking[0].status is ConstraintStatus.INSUFFICIENT


def test_a_stratum_without_runs_blocks_a_winner_and_is_named() -> None:
    def without_peak(runs: list[RunEvidence]) -> list[RunEvidence]:
        return [run for run in runs if run.stratum != "peak"]

    verdict = verdict_on(
        without_peak(runs_of(A, steady(0.010, 12))), without_peak(runs_of(B, steady(0.030, 12)))
    )
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "no usable run of all candidates in the time stratum peak" in sentence(verdict)
    assert next_steps(verdict)[0] == (
        "Measure all candidates between 00:00 and 02:00 UTC (time stratum peak)."
    )


def test_an_experiment_without_strata_requires_none() -> None:
    verdict = verdict_on(
        runs_of(A, steady(0.010), stratum=None),
        runs_of(B, restless(0.0105), stratum=None),
        experiment=rules(time_strata={}),
    )
    assert verdict.kind is VerdictKind.WINNER
    assert "time stratum" not in " ".join(reasons(verdict))


def test_another_winner_at_peak_blocks_a_winner() -> None:
    at_peak = [0.0100, 0.0100, 0.0125] * 4
    verdict = verdict_on(runs_of(A, at_peak), runs_of(B, [0.0150, 0.0150, 0.0120] * 4, spread=0.3))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert any("In the time stratum peak" in reason for reason in reasons(verdict))
    assert any("strata that disagree" in step for step in next_steps(verdict))


def test_runs_outside_all_strata_that_disagree_ask_for_no_runs_in_strata() -> None:
    def with_outside(candidate: Any, inside: float, outside: float) -> list[RunEvidence]:
        later = [
            replace(run, stratum=None, run=run.run.replace("2026-01", "2026-02"))
            for run in runs_of(candidate, steady(outside, 2))
        ]
        return [*runs_of(candidate, steady(inside)), *later]

    verdict = verdict_on(with_outside(A, 0.0100, 0.0130), with_outside(B, 0.0120, 0.0100))
    assert [(row.name, row.consistent) for row in verdict.strata] == [
        ("low", True),
        ("high", True),
        ("peak", True),
        ("", False),
    ]
    assert not any("strata that disagree" in step for step in next_steps(verdict))


def test_a_candidate_that_may_yet_pass_and_is_faster_blocks_a_winner() -> None:
    verdict = verdict_on(runs_of(A, steady(0.010)), runs_of(B, steady(0.008), lost=None))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert f"{B.name} may still pass the hard constraints" in sentence(verdict)
    assert any(step.startswith(f"{B.name}, loss:") for step in next_steps(verdict))


def test_a_candidate_that_may_yet_pass_but_is_slower_does_not_block_a_winner() -> None:
    verdict = verdict_on(runs_of(A, steady(0.010)), runs_of(B, steady(0.030), lost=None))
    assert verdict.kind is VerdictKind.WINNER
    assert verdict.comparisons[0].relation is Relation.BETTER


def test_an_equal_candidate_that_may_yet_pass_makes_no_tie() -> None:
    verdict = verdict_on(runs_of(A, steady(0.010)), runs_of(B, restless(0.010), lost=None))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert f"{B.name} is not proven to pass" in sentence(verdict)


def test_a_candidate_without_a_usable_run_is_named_and_not_evaluated() -> None:
    verdict = verdict_on(
        runs_of(A, steady(0.010)),
        runs_of(B, steady(0.030)),
        runs_of(C, steady(0.001), exclusion_reasons=("the probe restarted",)),
    )
    assert verdict.kind is VerdictKind.WINNER
    assert verdict.winner == A.name
    assert f"Not evaluated, because they have no usable run: {C.name}." in warnings(verdict)


def test_a_disqualified_candidate_takes_no_part_in_the_score() -> None:
    alone = verdict_on(runs_of(A, steady(0.010)), runs_of(B, steady(0.012)))
    beside = verdict_on(
        runs_of(A, steady(0.010)), runs_of(B, steady(0.012)), runs_of(C, steady(5.0))
    )
    assert [row.score for row in beside.ranking] == [*(row.score for row in alone.ranking), None]
    assert beside.ranking[-1].status is ConstraintStatus.FAIL


def test_a_more_stable_but_slower_candidate_is_not_declared_the_winner() -> None:
    # C stretches the scale of p99, so stability decides the score between A and B.
    verdict = verdict_on(
        runs_of(A, steady(0.0100), spread=0.05),
        runs_of(B, restless(0.0092), spread=0.30),
        runs_of(C, steady(0.0450), spread=0.30),
    )
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert verdict.leader == A.name
    assert "the weights decide between them, not the evidence" in sentence(verdict)
    assert any(step.startswith("Decide what matters more") for step in next_steps(verdict))


def test_chance_in_the_score_does_not_cost_the_faster_candidate_its_win() -> None:
    # Next to C, the cv of A and B decides their score, and it differs by chance only.
    noisy = [0.15 * f for f in (0.8, 1.25, 0.9, 1.2, 0.85, 1.3, 0.8, 1.25, 0.95)]
    a = [run_of(A, i, latencies(p, spread=noisy[i])) for i, p in enumerate(steady(0.0100))]
    b = [run_of(B, i, latencies(p, spread=noisy[-i])) for i, p in enumerate(steady(0.0106))]
    verdict = verdict_on(a, b, runs_of(C, steady(0.0450)))
    assert verdict.winner == A.name
    scores = {row.name: row.score or 0.0 for row in verdict.ranking}
    if scores[B.name] < scores[A.name]:
        assert any("by no more than chance explains" in w for w in warnings(verdict))
    assert verdict.ranking[0].name == A.name


def test_zero_spread_is_no_obstacle() -> None:
    flat = [FloatHistogram.from_samples([p] * 2000) for p in (0.010, 0.020)]
    verdict = verdict_on(
        [run_of(A, i, flat[0]) for i in range(9)], [run_of(B, i, flat[1]) for i in range(9)]
    )
    assert verdict.kind is VerdictKind.WINNER
    assert verdict.ranking[0].sd_sec == 0
    assert verdict.ranking[0].score == 0


def test_latencies_below_zero_are_told_and_cannot_win() -> None:
    early = FloatHistogram.from_samples([-0.001 - 1e-6 * (i % 500) for i in range(2000)])
    verdict = verdict_on(
        [run_of(A, i, early, negative=2000) for i in range(9)], runs_of(B, steady(0.010))
    )
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    (refuted,) = (row for row in verdict.ranking if row.name == A.name)
    assert refuted.runs_used == 0
    assert "the clock of i-1 is wrong by at least 1.5 ms" in refuted.runs[0].reasons[0]


def test_latencies_below_zero_within_the_clock_s_bound_are_told() -> None:
    early = FloatHistogram.from_samples([-0.0005 + 1e-6 * i for i in range(2000)])
    runs = [run_of(A, i, early, negative=500, clock_error_bound_sec=0.001) for i in range(9)]
    verdict = verdict_on(runs, runs_of(B, steady(0.010)))
    assert any("timestamped later than received" in w for w in warnings(verdict))


def test_a_mean_below_zero_leaves_a_candidate_without_a_score_but_not_without_a_verdict() -> None:
    early = FloatHistogram.from_samples([-5e-4 + 1e-7 * i for i in range(1900)] + [0.001] * 100)
    runs = [run_of(A, i, early, clock_error_bound_sec=0.001) for i in range(9)]
    verdict = verdict_on(runs, runs_of(B, steady(0.080)))
    assert verdict.kind is VerdictKind.WINNER
    assert verdict.ranking[0].score is None
    assert verdict.ranking[0].cv is None


@pytest.mark.parametrize("p99", [1e-9, 3e5])
def test_tiny_and_huge_latencies_are_decided_without_error(p99: float) -> None:
    verdict = verdict_on(runs_of(A, steady(p99)), runs_of(B, steady(p99 * 2)))
    assert verdict.kind in {VerdictKind.INCONCLUSIVE, VerdictKind.TIE, VerdictKind.NONE_PASSES}


def test_every_excluded_run_is_listed_with_its_reason() -> None:
    runs = runs_of(A, steady(0.010))
    excluded = replace(runs[4], exclusion_reasons=("gaps in scraping: 62 % of the run",))
    verdict = verdict_on([*runs[:4], excluded, *runs[5:]], runs_of(B, steady(0.030)))
    row = next(r for r in verdict.ranking if r.name == A.name)
    (left,) = [point for point in row.runs if not point.used]
    assert left.reasons == ("gaps in scraping: 62 % of the run",)
    assert left.p99_sec is not None
    assert (row.runs_used, row.runs_excluded) == (8, 1)
    assert any("1 run excluded" in warning for warning in warnings(verdict))


def test_a_run_without_a_sample_is_listed_as_such() -> None:
    runs = [*runs_of(A, steady(0.010)), run_of(A, 9, FloatHistogram.empty())]
    verdict = verdict_on(runs, runs_of(B, steady(0.030)))
    (left,) = [point for point in verdict.ranking[0].runs if not point.used]
    assert left.reasons == ("no latency sample",)
    assert left.p99_sec is None


def test_the_same_evidence_gives_the_same_verdict() -> None:
    groups = runs_of(A, steady(0.010)), runs_of(B, restless(0.0101))
    assert verdict_on(*groups) == verdict_on(*groups)


@settings(max_examples=6, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([0.0100, 0.0103, 0.0110, 0.0700]))
def test_the_verdict_does_not_depend_on_the_order_of_the_evidence(
    shuffler: random.Random, second: float
) -> None:
    seen = evidence(
        runs_of(A, steady(0.010)), runs_of(B, restless(second)), runs_of(C, restless(0.012))
    )
    shuffled = list(seen.runs)
    shuffler.shuffle(shuffled)
    assert decide(replace(seen, runs=tuple(shuffled)), EXPERIMENT) == decide(seen, EXPERIMENT)


@pytest.mark.parametrize("seconds", [0.0100, 0.0101, 0.0120])
def test_the_verdict_does_not_depend_on_the_names_of_the_candidates(seconds: float) -> None:
    one = verdict_on(runs_of(A, steady(0.010)), runs_of(B, restless(seconds)))
    other = verdict_on(runs_of(B, steady(0.010)), runs_of(A, restless(seconds)))
    assert one.kind is other.kind
    swapped = {A.name: B.name, B.name: A.name, None: None}
    assert other.winner == swapped[one.winner]
    assert {swapped[name] for name in one.tied} == set(other.tied)


def test_the_verdict_is_plain_json_with_undefined_numbers_as_null() -> None:
    verdict = verdict_on(runs_of(A, steady(0.010)), runs_of(B, steady(0.020), lost=None))
    document = json.loads(json.dumps(as_json(verdict), allow_nan=False))
    assert document["kind"] == "winner"
    assert document["ranking"][1]["lost"] is None
    assert document["rule"]["confidence"] == 0.95
    assert document["ranking"][0]["candidate"]["values"] == ["ap-northeast-1", "c6i.large"]


def test_the_rule_it_was_decided_under_is_part_of_the_verdict() -> None:
    rule = decide(evidence(), EXPERIMENT, seed=7).rule
    assert rule.seed == 7
    assert rule.required_strata == ("low", "high", "peak")
    assert rule.prices_date == "2026-11-22"


def test_warnings_of_the_source_come_first() -> None:
    verdict = decide(evidence(warnings=("the server said so",), approximate=True), EXPERIMENT)
    assert warnings(verdict)[0] == "the server said so"
    assert "rebuilt from percentiles" in warnings(verdict)[1]


def test_a_changed_leader_in_the_sensitivity_table_is_warned_of() -> None:
    verdict = verdict_on(
        runs_of(A, steady(0.010), spread=0.25),
        runs_of(B, restless(0.012), spread=0.15),
        runs_of(C, steady(5.0), spread=0.1),
    )
    assert verdict.leader == A.name
    assert any("normalised over all candidates" in warning for warning in warnings(verdict))


def test_a_hundred_hopeless_runs_are_not_advised() -> None:
    experiment = rules(decision__equivalence_ratio=0.05)
    noisy = [p * f for p, f in zip(steady(0.010), [1.15, 0.95, 1.05] * 3, strict=True)]
    verdict = verdict_on(runs_of(A, steady(0.010)), runs_of(B, noisy), experiment=experiment)
    assert any("No practical number of runs" in step for step in next_steps(verdict))
