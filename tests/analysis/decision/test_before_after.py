"""What changed between two sweeps, or between two places."""

from __future__ import annotations

import dataclasses
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from rich.cells import cell_len

import latency_sweep.analysis.report
from latency_sweep.analysis.cli.main import main
from latency_sweep.analysis.decision.before_after import (
    CompareError,
    Movement,
    compare_candidates,
    compare_sweeps,
)
from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.results import ConstraintStatus
from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.evidence import archive
from latency_sweep.analysis.evidence.archive import Archive
from latency_sweep.analysis.report.before_after import FORMATS, render_change
from latency_sweep.analysis.report.words.before_after import sentence, warnings
from latency_sweep.analysis.report.words.sentences import change
from tests.analysis.report.sweeps import (
    FRANKFURT,
    HOSTILE,
    SINGAPORE,
    TOKYO,
    TOKYO_ARM,
    experiment,
    sweep,
)

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.before_after import BeforeAfter, CandidateChange
    from latency_sweep.analysis.evidence.records import Evidence

SCHEMA = Path(latency_sweep.analysis.report.__file__).with_name("comparison.schema.json")


def archived(evidence: Evidence) -> Archive:
    return Archive(evidence, experiment())


def later(evidence: Evidence) -> Evidence:
    """The same sweep a month later: no run label in common."""
    runs = tuple(
        dataclasses.replace(run, run=run.run.replace("2026-11", "2026-12")) for run in evidence.runs
    )
    return dataclasses.replace(evidence, runs=runs)


@cache
def before() -> Archive:
    return archived(sweep({TOKYO: 0.004, SINGAPORE: 0.012, FRANKFURT: 0.03}))


@cache
def changed() -> BeforeAfter:
    """Tokyo becomes a third slower, Singapore halves, Frankfurt stays and loses messages."""
    medians = {TOKYO: 0.0055, SINGAPORE: 0.006, FRANKFURT: 0.03, TOKYO_ARM: 0.005}
    changes: dict[str, dict[str, Any]] = {FRANKFURT: {"lost": 50}}
    after = later(sweep(medians, seed=2, changes=changes))
    return compare_sweeps(before(), archived(after))


@cache
def candidates() -> BeforeAfter:
    return compare_candidates(before(), SINGAPORE, TOKYO)


def candidate_of(comparison: BeforeAfter, name: str) -> CandidateChange:
    return next(found for found in comparison.candidates if found.after == name)


def p99_of(found: CandidateChange) -> Any:
    return next(quantile for quantile in found.quantiles if quantile.name == "p99")


def test_a_candidate_that_became_slower_is_found() -> None:
    tokyo = candidate_of(changed(), TOKYO)
    assert tokyo.movement is Movement.SLOWER
    assert tokyo.shift_ratio == pytest.approx(0.375, abs=0.08)
    assert tokyo.p_holm < 0.05


def test_a_candidate_that_became_faster_is_found() -> None:
    assert candidate_of(changed(), SINGAPORE).movement is Movement.FASTER


def test_the_interval_holds_the_true_shift_of_every_quantile() -> None:
    tokyo = candidate_of(changed(), TOKYO)
    for quantile, true_before in zip(tokyo.quantiles, (0.004, 0.00716, 0.00866), strict=True):
        interval = quantile.interval
        assert interval is not None
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= 0.375 * true_before <= interval.high


def test_runs_of_different_times_are_not_paired() -> None:
    assert not any(found.paired for found in changed().candidates)
    assert any("measured at different times" in warning for warning in warnings(changed()))


def test_runs_with_the_same_labels_are_paired() -> None:
    (found,) = candidates().candidates
    assert found.paired
    assert found.runs_before == found.runs_after == 9


def test_two_candidates_of_a_sweep_differ_by_as_much_as_its_verdict_says() -> None:
    verdict = decide(before().evidence, before().experiment)
    told = next(c for c in verdict.comparisons if (c.leader, c.rival) == (TOKYO, SINGAPORE))
    (found,) = compare_candidates(before(), TOKYO, SINGAPORE).candidates
    assert (found.shift_sec, found.shift_ratio) == (told.shift_sec, told.shift_ratio)


def test_a_few_labels_in_common_are_no_pairing() -> None:
    evidence = before().evidence
    moved = later(sweep({TOKYO: 0.004}))
    shared = [run for run in evidence.runs if run.candidate.name == TOKYO][:2]
    mixed = dataclasses.replace(moved, runs=(*shared, *moved.runs))
    (found,) = compare_sweeps(archived(mixed), archived(moved)).candidates
    assert found.paired  # all nine of the second side are in the first one
    first_two = dataclasses.replace(moved, runs=(*shared, *moved.runs[2:]))
    (found,) = compare_sweeps(before(), archived(first_two)).candidates
    assert not found.paired


def test_the_same_sweep_twice_has_changed_nothing() -> None:
    same = compare_sweeps(before(), before())
    assert {found.movement for found in same.candidates} == {Movement.UNCHANGED}
    assert all(quantile.shift_sec == 0 for found in same.candidates for quantile in found.quantiles)
    assert not same.verdict_changed


def test_too_few_runs_leave_it_open() -> None:
    few = archived(sweep({TOKYO: 0.004}, runs=3)), archived(later(sweep({TOKYO: 0.02}, runs=3)))
    (found,) = compare_sweeps(*few).candidates
    assert found.movement is Movement.UNDECIDED
    assert found.smallest_p == pytest.approx(0.1)
    assert "too few runs for any change to be significant" in change(found)


def test_p_is_adjusted_for_the_number_of_candidates() -> None:
    assert all(found.p_holm >= found.p_value for found in changed().candidates)
    assert max(found.p_holm / found.p_value for found in changed().candidates) > 1


def test_a_constraint_that_changed_is_told() -> None:
    (loss,) = (c for c in candidate_of(changed(), FRANKFURT).constraints if c.name == "loss")
    assert (loss.before, loss.after, loss.changed) == (
        ConstraintStatus.PASS,
        ConstraintStatus.FAIL,
        True,
    )


def test_candidates_of_one_side_only_are_listed() -> None:
    assert changed().only_after == (TOKYO_ARM,)
    assert changed().only_before == ()


def test_a_change_of_the_winner_is_a_change_of_the_verdict() -> None:
    assert changed().before.winner == TOKYO
    assert changed().after.winner == TOKYO_ARM
    assert changed().verdict_changed
    assert "the verdict changed from winner" in sentence(changed())


def test_two_candidates_of_one_sweep_are_compared_by_name() -> None:
    (found,) = candidates().candidates
    assert (found.before, found.after) == (SINGAPORE, TOKYO)
    assert found.movement is Movement.FASTER
    assert found.cliffs_delta == -1
    assert found.rank_after == 1
    assert sentence(candidates()) == change(found)


def test_a_side_without_a_usable_run_is_undecided() -> None:
    empty = sweep({TOKYO: 0.004}, changes={TOKYO: {"exclusion_reasons": ("no clock",)}})
    (found,) = compare_sweeps(before(), archived(empty)).candidates
    assert found.movement is Movement.UNDECIDED
    assert p99_of(found).after_sec is None
    assert p99_of(found).interval is None
    assert "has no usable run on one of the sides" in change(found)


def test_sides_without_a_common_candidate_are_refused() -> None:
    with pytest.raises(CompareError, match=r"no candidate in common: the first has .* the second"):
        compare_sweeps(before(), archived(sweep({TOKYO_ARM: 0.004})))


def test_an_unknown_candidate_is_refused_with_those_there_are() -> None:
    with pytest.raises(CompareError, match=rf"There is no candidate 'mars'.*{TOKYO}"):
        compare_candidates(before(), TOKYO, "mars")


def test_different_selections_are_warned_of() -> None:
    selection = dataclasses.replace(before().evidence.selection, symbols=(), market="usdm")
    other = archived(dataclasses.replace(before().evidence, selection=selection))
    found = warnings(compare_sweeps(before(), other))
    assert "The two sides differ in market: spot and usdm." in found
    assert "The two sides differ in symbols: BTCUSDT and all." in found


def test_different_rules_are_warned_of() -> None:
    rule = before().experiment.decision.model_copy(update={"confidence": 0.9})
    other = Archive(before().evidence, before().experiment.model_copy(update={"decision": rule}))
    assert any("different rules" in w for w in warnings(compare_sweeps(before(), other)))


def test_the_same_input_gives_the_same_answer() -> None:
    assert compare_candidates(before(), SINGAPORE, TOKYO) == candidates()


@pytest.mark.parametrize("output", FORMATS)
def test_every_candidate_and_the_answer_are_in_every_format(output: str) -> None:
    text = render_change(changed(), output, width=400)
    assert sentence(changed()) in re.sub(r"\\([^\w\s])", r"\1", text)
    assert all(found.after in text for found in changed().candidates)


@pytest.mark.parametrize("width", [30, 80, 120])
def test_text_fits_the_terminal(width: int) -> None:
    text = render_change(changed(), "text", width=width)
    assert max(map(cell_len, text.splitlines())) <= width


def test_text_shows_the_constraints_that_changed() -> None:
    text = render_change(changed(), "text", width=120)
    assert re.search(rf"{FRANKFURT}\s+loss\s+P\s+F", text)


@pytest.mark.parametrize("comparison", [changed, candidates], ids=["sweeps", "candidates"])
def test_json_follows_its_schema(comparison: Any) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    document = json.loads(render_change(comparison(), "json"))
    assert [error.message for error in validator.iter_errors(document)] == []
    assert document["before"]["kind"] == VerdictKind.WINNER


def test_json_has_null_where_a_side_has_nothing() -> None:
    empty = sweep({TOKYO: 0.004}, changes={TOKYO: {"exclusion_reasons": ("no clock",)}})
    text = render_change(compare_sweeps(before(), archived(empty)), "json")
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert validator.is_valid(json.loads(text))


def test_hostile_names_do_not_reach_the_terminal() -> None:
    hostile = archived(sweep({HOSTILE: 0.004}, runs=3, samples=100))
    text = render_change(compare_sweeps(hostile, hostile), "text", width=200)
    assert "\x1b" not in text
    assert "\\x1b" in text


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(ValueError, match="There is no format 'html'; choose one of text, json"):
        render_change(changed(), "html")


def test_the_command_compares_two_archives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "before.parquet", tmp_path / "after.parquet"]
    archive.write(files[0], archived(sweep({TOKYO: 0.004}, samples=500)))
    archive.write(files[1], archived(later(sweep({TOKYO: 0.008}, samples=500))))
    assert main(["compare", *map(str, files), "--output", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["candidates"]
    assert (found["after"], found["movement"]) == (TOKYO, "slower")
