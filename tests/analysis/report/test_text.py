"""The report for a terminal."""

from __future__ import annotations

import re
from functools import cache

import pytest
from rich.cells import cell_len

from latency_sweep.analysis.report.rendering import render
from latency_sweep.analysis.report.terminal import fold, terminal_width, wrap
from latency_sweep.analysis.report.words.conclusion import sentence
from latency_sweep.analysis.report.words.figures import milliseconds
from latency_sweep.analysis.report.words.printable import legible
from latency_sweep.analysis.report.words.sentences import (
    constraint_evidence,
    constraint_missing,
    mann_whitney_note,
)
from latency_sweep.runtime.printable import printable
from tests.analysis.report.sweeps import SINGAPORE, SWEEPS, TOKYO, evidence_of, verdict_of


@cache
def text(name: str, width: int = 80, *, color: bool = False) -> str:
    return render(verdict_of(name), evidence_of(name), "text", width=width, color=color)


@pytest.mark.parametrize("width", [30, 60, 80, 132])
@pytest.mark.parametrize("name", list(SWEEPS))
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    body, _, _ = text(name, width).partition("analyze \\\n")  # the command is for copying
    assert max(map(cell_len, body.splitlines())) <= width


@pytest.mark.parametrize("width", [30, 60, 80, 180])
def test_no_number_is_broken_by_the_width(width: int) -> None:
    numbers = {milliseconds(row.p99_sec) for row in verdict_of("winner").ranking}
    lines = text("winner", width)
    assert all(re.search(rf"(?<![\d.]){re.escape(number)}(?!\.)", lines) for number in numbers)
    assert "108,000" in lines


def test_the_verdict_comes_first() -> None:
    lines = text("winner", 400).splitlines()
    assert lines[0] == "WINNER"
    assert lines[1] == sentence(verdict_of("winner"))


@pytest.mark.parametrize("name", list(SWEEPS))
def test_every_candidate_is_ranked(name: str) -> None:
    for row in verdict_of(name).ranking:
        assert f"{row.rank}. {printable(row.name)}\n" in text(name, 400)


def test_no_colour_means_no_escape_sequence() -> None:
    assert "\x1b" not in text("winner")
    assert "\x1b" not in text("hostile")


def test_colour_is_written_when_asked_for_whatever_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[" in text("winner", color=True)


def test_colour_changes_nothing_but_colour() -> None:
    coloured = re.sub(r"\x1b\[[\d;]*m", "", text("winner", color=True))
    strip = [line.rstrip() for line in coloured.splitlines()]
    assert strip == text("winner").splitlines()


def test_a_name_cannot_send_escape_sequences_to_the_terminal() -> None:
    assert "\\x1b[31m" in text("hostile", 200)
    assert "\x1b[31m" not in text("hostile", 200)


def test_a_pair_that_cannot_be_told_apart_is_marked_as_benchstat_does() -> None:
    assert re.search(r"~ \(p=\d\.\d{3} n=4\)", text("inconclusive", 120))


def test_a_difference_is_given_with_its_p_and_number_of_pairs() -> None:
    assert re.search(r"\+\d+\.\d+ % \(p=0\.\d{3} n=9\)", text("winner", 120))


def test_missing_runs_are_named_in_a_footnote() -> None:
    found = verdict_of("missing")
    assert found.comparisons
    assert f"[1] No usable run of {SINGAPORE}: 2026-11-01T00:00:00Z." in text("missing", 200)


def test_the_note_of_mann_whitney_is_a_footnote() -> None:
    found = verdict_of("three_runs")
    (note,) = {mann_whitney_note(c) for c in found.comparisons}
    assert note
    assert f"[1] {note}" in text("three_runs", 200)


def test_runs_excluded_are_listed_with_their_reasons() -> None:
    out = text("winner", 200).partition("Excluded runs")[2]
    assert f"{TOKYO}, 2026-11-04T00:00:00Z: only 61 %" in out


def test_the_candidates_in_question_show_all_their_evidence() -> None:
    found = verdict_of("winner").ranking[0]
    for result in found.constraints:
        assert constraint_evidence(result) in text("winner", 400)


def test_what_a_candidate_does_not_pass_is_explained() -> None:
    for row in verdict_of("unknown").ranking:
        for result in row.constraints:
            if result.lacking:
                assert constraint_missing(result) in text("unknown", 400)


def test_the_width_of_the_terminal_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert terminal_width() == 72


def test_a_very_wide_terminal_is_not_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "900")
    assert terminal_width() == 180


def test_names_fold_after_slashes() -> None:
    assert fold("ap-northeast-1/apne1-az4/c6in.large", 26) == [
        "ap-northeast-1/apne1-az4/",
        "c6in.large",
    ]


def test_names_without_a_joint_fold_anywhere() -> None:
    assert fold("x" * 7, 3) == ["xxx", "xxx", "x"]


def test_wide_characters_count_as_two_columns() -> None:
    assert fold("東京東京", 4) == ["東京", "東京"]


def test_a_number_stays_with_its_unit() -> None:
    assert wrap("the limit is 12 ms", 15) == ["the limit is", "12 ms"]


def test_hidden_characters_are_shown_as_escapes() -> None:
    assert printable("a\n\x1b\u202eé東") == "a\\n\\x1b\\u202eé東"


def test_a_legible_record_keeps_candidates_and_numbers() -> None:
    found = verdict_of("hostile")
    clean = legible(found)
    assert [row.candidate for row in clean.ranking] == [row.candidate for row in found.ranking]
    assert [row.p99_sec for row in clean.ranking] == [row.p99_sec for row in found.ranking]
    assert sentence(clean) == printable(sentence(found))
