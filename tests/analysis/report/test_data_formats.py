"""The reports that programs read, and the Markdown one."""

from __future__ import annotations

import io
import json
import re
from csv import DictReader
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest

import latency_sweep.analysis.report
from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.report import csv, schema
from latency_sweep.analysis.report.rendering import FORMATS, render
from latency_sweep.runtime.printable import printable
from tests.analysis.report.sweeps import (
    HOSTILE,
    SWEEPS,
    evidence_of,
    experiment,
    sweep,
    verdict_of,
)
from tests.repository import ROOT

FOLDER = Path(latency_sweep.analysis.report.__file__).parent


@pytest.fixture(params=list(SWEEPS))
def any_sweep(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@cache
def rendered(name: str, output: str) -> str:
    return render(verdict_of(name), evidence_of(name), output)


def refuse(constant: str) -> None:
    raise ValueError(constant)


def parsed(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(rendered(name, "json"), parse_constant=refuse)
    return document


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    found = json.loads((FOLDER / "verdict.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def test_json_follows_its_schema(
    any_sweep: str, validator: jsonschema.Draft202012Validator
) -> None:
    assert [error.message for error in validator.iter_errors(parsed(any_sweep))] == []


def test_the_schema_refuses_what_it_does_not_know(
    validator: jsonschema.Draft202012Validator,
) -> None:
    assert not validator.is_valid({**parsed("winner"), "surprise": 1})
    assert not validator.is_valid({**parsed("winner"), "kind": "maybe"})
    assert not validator.is_valid({**parsed("winner"), "schema_version": 0})


@pytest.mark.parametrize("name", list(schema.RECORDS))
def test_the_schema_checked_in_is_that_of_the_code(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == schema.text_of(schema.RECORDS[name])


def test_durations_are_described_in_the_schema() -> None:
    rows = schema.schema_of(schema.RECORDS["verdict.schema.json"])["$defs"]["CandidateRow"]
    assert rows["properties"]["score"]["description"].startswith("the score")


def test_json_has_the_verdict_and_its_version() -> None:
    document = parsed("winner")
    assert document["schema_version"] == 1
    assert document["kind"] == "winner"
    assert document["ranking"][0]["name"] == document["winner"]


def test_json_keeps_names_as_they_are() -> None:
    names = {row["candidate"]["values"][0] for row in parsed("hostile")["ranking"]}
    assert HOSTILE in names


def test_json_has_null_for_what_is_not_known() -> None:
    assert parsed("no_runs")["ranking"][0]["p99_sec"] is None


@pytest.mark.parametrize("output", ["json", "csv", "markdown"])
def test_the_same_input_gives_the_same_text(output: str) -> None:
    again = render(verdict_of("winner"), evidence_of("winner"), output)
    assert rendered("winner", output) == again


def test_csv_has_one_row_per_candidate_under_fixed_columns(any_sweep: str) -> None:
    table = pd.read_csv(io.StringIO(rendered(any_sweep, "csv")))
    assert tuple(table.columns) == csv.COLUMNS
    assert len(table) == len(verdict_of(any_sweep).ranking)


def test_csv_numbers_are_the_exact_ones() -> None:
    table = DictReader(io.StringIO(rendered("many", "csv")))
    expected = [row.p99_sec for row in verdict_of("many").ranking]
    assert [float(row["p99_sec"]) for row in table] == expected


def test_csv_keeps_names_with_commas_quotes_and_line_feeds_as_visible_text() -> None:
    table = pd.read_csv(io.StringIO(rendered("hostile", "csv")), keep_default_na=False)
    expected = [printable(row.name) for row in verdict_of("hostile").ranking]
    assert table["candidate"].tolist() == expected


def test_csv_cells_cannot_start_a_formula() -> None:
    names = (
        "=1+1",
        "+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        "\uff1d1",
        "=cmd|'C'!A0",
    )
    evidence = sweep({name: 0.004 + 0.001 * i for i, name in enumerate(names)}, runs=3, samples=600)
    text = render(decide(evidence, experiment(), seed=1), evidence, "csv")
    rows = list(DictReader(io.StringIO(text)))
    assert len(rows) == len(names)
    for row in rows:
        assert row["candidate"][0] == "'"
        assert float(row["p99_sec"]) > 0


def test_csv_numbers_below_zero_stay_numbers() -> None:
    table = pd.read_csv(io.StringIO(rendered("many", "csv")))
    assert table["shift_to_leader_sec"].dtype == float


@pytest.mark.parametrize("output", FORMATS)
def test_no_report_has_an_escape_sequence_or_a_direction_mark(output: str) -> None:
    text = rendered("hostile", output)
    assert not set(text) & set("\x1b\x07\x9b\u202e\u2066\u200f")


def test_csv_columns_are_all_documented() -> None:
    document = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    for column in csv.COLUMNS:
        assert f"`{column}`" in document


def test_csv_is_empty_where_a_number_is_not_known() -> None:
    table = pd.read_csv(io.StringIO(rendered("no_runs", "csv")))
    assert table["p99_sec"].isna().all()


def test_markdown_tables_have_equal_columns(any_sweep: str) -> None:
    for block in rendered(any_sweep, "markdown").split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("|"):
            bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
            assert len(bars) == 1, block
            assert re.fullmatch(r"\|( (:---|---:) \|)+", lines[1])


def test_markdown_starts_with_the_verdict() -> None:
    assert rendered("winner", "markdown").startswith("# WINNER: november\n\n**")


def test_markdown_escapes_names() -> None:
    text = rendered("hostile", "markdown")
    assert "<script>" not in text.replace("\\<", "")
    assert "\n\x1b" not in text
    assert re.sub(r"\\([^\w\s])", r"\1", text).count(printable(HOSTILE)) > 3


def test_every_format_is_rendered_for_every_sweep(any_sweep: str) -> None:
    for output in FORMATS:
        assert rendered(any_sweep, output).endswith("\n")


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(ValueError, match="There is no report format 'pdf'; choose one of text"):
        rendered("winner", "pdf")
