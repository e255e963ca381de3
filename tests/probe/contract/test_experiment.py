"""The experiment file is validated on load, and faults are named by their key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from probe.contract import experiment
from probe.contract.experiment import ExperimentError

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = experiment.default_path().read_text(encoding="utf-8")


def parse_with(old: str, new: str) -> experiment.Experiment:
    assert SHIPPED.count(old) >= 1
    return experiment.parse(SHIPPED.replace(old, new, 1), source="x.yaml")


def test_the_shipped_experiment_is_valid() -> None:
    shipped = experiment.load()
    assert shipped.timing.measurement_sec == 3600
    assert shipped.decision.constraints.p99_sec == 0.05


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("p99_sec: 0.050", "p99_sec: fast", "x.yaml: decision.constraints.p99_sec: .*'fast'"),
        ("p99_sec: 0.050", "p99_sec: -1", "x.yaml: decision.constraints.p99_sec: .*-1"),
        ("p99_sec: 0.050", "p99_sec: .inf", "x.yaml: decision.constraints.p99_sec: .*inf"),
        ("phase: 1}", "phase: one}", "x.yaml: regions.eu-west-1.phase: .*'one'"),
        ("warmup_sec: 300", "warmup_sec: 0.5", "x.yaml: timing.warmup_sec: .*0.5"),
        ("warmup_sec: 300", "warmup_sec: yes", "x.yaml: timing.warmup_sec: .*True"),
        ("confidence: 0.95", "confidance: 0.95", "x.yaml: decision.confidance: unknown key"),
        ("min_runs: 3", "", "x.yaml: decision.min_runs: field required"),
        ("p99: 0.7", "p99: 0.8", "x.yaml: decision.weights: p99 .* must be 1, not 1.1"),
        ("BTCUSDT,", "btcusdt,", "x.yaml: market_data.symbols.0: .*'btcusdt'"),
        ('"06:00"', '"6"', "x.yaml: time_strata.low.from: .*'6'"),
        ("wss://stream", "ftp://stream", "x.yaml: market_data.endpoint: "),
        ("version: 1", "version: 2", "x.yaml: version: input should be 1, got 2"),
        ("schema: 8", "schema: 9", "x.yaml: histogram.schema: .*got 9"),
    ],
)
def test_a_bad_value_is_named_by_its_key(old: str, new: str, expected: str) -> None:
    with pytest.raises(ExperimentError, match=expected):
        parse_with(old, new)


@pytest.mark.parametrize("text", ["a: [", "\t- x", "a: b: c", "{", "&a [*a]", "!!python/none x"])
def test_malformed_yaml_is_one_sentence_with_the_file(text: str) -> None:
    with pytest.raises(ExperimentError, match=r"^x\.yaml"):
        experiment.parse(text, source="x.yaml")


@pytest.mark.parametrize("text", ["", "3", "- a", "null"])
def test_anything_but_a_mapping_is_refused(text: str) -> None:
    with pytest.raises(ExperimentError, match="expected a mapping"):
        experiment.parse(text, source="x.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"gone\.yaml: cannot be read: No such file"):
        experiment.load(tmp_path / "gone.yaml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ExperimentError, match=r"binary\.yaml: is not UTF-8"):
        experiment.load(path)


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("05:59:59", None),
        ("06:00:00", "low"),
        ("07:59:59", "low"),
        ("08:00:00", None),
        ("00:00:00", "peak"),
        ("15:00:00", "high"),
    ],
)
def test_stratum_of_a_moment(clock: str, expected: str | None) -> None:
    moment = datetime.fromisoformat(f"2026-01-02T{clock}").replace(tzinfo=UTC)
    assert experiment.load().stratum_of(moment) == expected


def test_a_stratum_may_pass_midnight() -> None:
    night = parse_with('peak: {from: "00:00", to: "02:00"}', 'peak: {from: "23:00", to: "01:00"}')
    for hour, expected in ((22, None), (23, "peak"), (0, "peak"), (1, None)):
        assert night.stratum_of(datetime(2026, 1, 2, hour, 30, tzinfo=UTC)) == expected
