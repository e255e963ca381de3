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
    compare_places,
    compare_sweeps,
)
from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.decision.verdict import Status, VerdictKind
from latency_sweep.analysis.evidence import archive
from latency_sweep.analysis.evidence.archive import Archive
from latency_sweep.analysis.report.before_after import FORMATS, render_change
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
    from latency_sweep.analysis.decision.before_after import PlaceChange, SweepComparison
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
def changed() -> SweepComparison:
    """Tokyo becomes a third slower, Singapore halves, Frankfurt stays and loses messages."""
    medians = {TOKYO: 0.0055, SINGAPORE: 0.006, FRANKFURT: 0.03, TOKYO_ARM: 0.005}
    changes: dict[str, dict[str, Any]] = {FRANKFURT: {"lost": 50}}
    after = later(sweep(medians, seed=2, changes=changes))
    return compare_sweeps(before(), archived(after))


@cache
def places() -> SweepComparison:
    return compare_places(before(), SINGAPORE, TOKYO)


def place_of(comparison: SweepComparison, name: str) -> PlaceChange:
    return next(place for place in comparison.places if place.after == name)


def p99_of(place: PlaceChange) -> Any:
    return next(quantile for quantile in place.quantiles if quantile.name == "p99")


def test_a_place_that_became_slower_is_found() -> None:
    tokyo = place_of(changed(), TOKYO)
    assert tokyo.movement is Movement.SLOWER
    assert tokyo.shift_ratio == pytest.approx(0.375, abs=0.08)
    assert tokyo.p_holm < 0.05


def test_a_place_that_became_faster_is_found() -> None:
    assert place_of(changed(), SINGAPORE).movement is Movement.FASTER


def test_the_interval_holds_the_true_shift_of_every_quantile() -> None:
    tokyo = place_of(changed(), TOKYO)
    for quantile, true_before in zip(tokyo.quantiles, (0.004, 0.00716, 0.00866), strict=True):
        interval = quantile.interval
        assert interval is not None
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= 0.375 * true_before <= interval.high


def test_runs_of_different_times_are_not_paired() -> None:
    assert not any(place.paired for place in changed().places)
    assert any("measured at different times" in warning for warning in changed().warnings)


def test_runs_with_the_same_labels_are_paired() -> None:
    (place,) = places().places
    assert place.paired
    assert place.runs_before == place.runs_after == 9


def test_two_places_of_a_sweep_differ_by_as_much_as_its_verdict_says() -> None:
    verdict = decide(before().evidence, before().experiment)
    told = next(c for c in verdict.comparisons if (c.leader, c.rival) == (TOKYO, SINGAPORE))
    (place,) = compare_places(before(), TOKYO, SINGAPORE).places
    assert (place.shift_sec, place.shift_ratio) == (told.shift_sec, told.shift_ratio)


def test_a_few_labels_in_common_are_no_pairing() -> None:
    evidence = before().evidence
    moved = later(sweep({TOKYO: 0.004}))
    shared = [run for run in evidence.runs if run.candidate.name == TOKYO][:2]
    mixed = dataclasses.replace(moved, runs=(*shared, *moved.runs))
    (place,) = compare_sweeps(archived(mixed), archived(moved)).places
    assert place.paired  # all nine of the second side are in the first one
    first_two = dataclasses.replace(moved, runs=(*shared, *moved.runs[2:]))
    (place,) = compare_sweeps(before(), archived(first_two)).places
    assert not place.paired


def test_the_same_sweep_twice_has_changed_nothing() -> None:
    same = compare_sweeps(before(), before())
    assert {place.movement for place in same.places} == {Movement.UNCHANGED}
    assert all(quantile.shift_sec == 0 for place in same.places for quantile in place.quantiles)
    assert not same.verdict_changed


def test_too_few_runs_leave_it_open() -> None:
    few = archived(sweep({TOKYO: 0.004}, runs=3)), archived(later(sweep({TOKYO: 0.02}, runs=3)))
    (place,) = compare_sweeps(*few).places
    assert place.movement is Movement.UNDECIDED
    assert place.smallest_p == pytest.approx(0.1)
    assert "too few runs for any change to be significant" in place.sentence


def test_p_is_adjusted_for_the_number_of_places() -> None:
    assert all(place.p_holm >= place.p_value for place in changed().places)
    assert max(place.p_holm / place.p_value for place in changed().places) > 1


def test_a_constraint_that_changed_is_told() -> None:
    (loss,) = (c for c in place_of(changed(), FRANKFURT).constraints if c.name == "loss")
    assert (loss.before, loss.after, loss.changed) == (Status.PASS, Status.FAIL, True)


def test_places_of_one_side_only_are_listed() -> None:
    assert changed().only_after == (TOKYO_ARM,)
    assert changed().only_before == ()


def test_a_change_of_the_winner_is_a_change_of_the_verdict() -> None:
    assert changed().before.winner == TOKYO
    assert changed().after.winner == TOKYO_ARM
    assert changed().verdict_changed
    assert "the verdict changed from winner" in changed().sentence


def test_two_places_of_one_sweep_are_compared_by_name() -> None:
    (place,) = places().places
    assert (place.before, place.after) == (SINGAPORE, TOKYO)
    assert place.movement is Movement.FASTER
    assert place.cliffs_delta == -1
    assert place.rank_after == 1
    assert places().sentence == place.sentence


def test_a_side_without_a_usable_run_is_undecided() -> None:
    empty = sweep({TOKYO: 0.004}, changes={TOKYO: {"exclusion_reasons": ("no clock",)}})
    (place,) = compare_sweeps(before(), archived(empty)).places
    assert place.movement is Movement.UNDECIDED
    assert p99_of(place).after_sec is None
    assert p99_of(place).interval is None
    assert "has no usable run on one of the sides" in place.sentence


def test_sides_without_a_common_place_are_refused() -> None:
    with pytest.raises(CompareError, match=r"no place in common: the first has .* the second"):
        compare_sweeps(before(), archived(sweep({TOKYO_ARM: 0.004})))


def test_an_unknown_place_is_refused_with_those_there_are() -> None:
    with pytest.raises(CompareError, match=rf"There is no place 'mars'.*{TOKYO}"):
        compare_places(before(), TOKYO, "mars")


def test_different_selections_are_warned_of() -> None:
    scope = dataclasses.replace(before().evidence.scope, symbols=(), market="usdm")
    other = archived(dataclasses.replace(before().evidence, scope=scope))
    warnings = compare_sweeps(before(), other).warnings
    assert "The two sides hold different market: spot and usdm." in warnings
    assert "The two sides hold different symbols: BTCUSDT and all." in warnings


def test_different_rules_are_warned_of() -> None:
    rule = before().experiment.decision.model_copy(update={"confidence": 0.9})
    other = Archive(before().evidence, before().experiment.model_copy(update={"decision": rule}))
    assert any("different rules" in w for w in compare_sweeps(before(), other).warnings)


def test_the_same_input_gives_the_same_answer() -> None:
    assert compare_places(before(), SINGAPORE, TOKYO) == places()


@pytest.mark.parametrize("output", FORMATS)
def test_every_place_and_the_answer_are_in_every_format(output: str) -> None:
    text = render_change(changed(), output, width=400)
    assert changed().sentence in re.sub(r"\\([^\w\s])", r"\1", text)
    assert all(place.after in text for place in changed().places)


@pytest.mark.parametrize("width", [30, 80, 120])
def test_text_fits_the_terminal(width: int) -> None:
    text = render_change(changed(), "text", width=width)
    assert max(map(cell_len, text.splitlines())) <= width


def test_text_shows_the_constraints_that_changed() -> None:
    text = render_change(changed(), "text", width=120)
    assert re.search(rf"{FRANKFURT}\s+loss\s+P\s+F", text)


@pytest.mark.parametrize("comparison", [changed, places], ids=["sweeps", "places"])
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
    (place,) = json.loads(capsys.readouterr().out)["places"]
    assert (place["after"], place["movement"]) == (TOKYO, "slower")
