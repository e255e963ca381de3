"""How options are written and what they mean."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.cli import options

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-31T06:05:00Z", 1769839500.0),
        ("2026-01-31T08:05:00+02:00", 1769839500.0),
        ("2026-01-31 06:05", 1769839500.0),
        ("1769839500.5", 1769839500.5),
    ],
)
def test_times_are_read_as_utc(text: str, seconds: float) -> None:
    assert options.moment(text) == seconds


@pytest.mark.parametrize(("text", "seconds"), [("6h", 21_600), ("1d12h", 129_600), ("1.5m", 90)])
def test_durations_count_back_from_now(text: str, seconds: float) -> None:
    before = time.time()
    assert before - seconds <= options.moment(text) <= time.time() - seconds


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "1h1h", "1d2h3d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no time"):
        options.moment(text)


def test_a_duration_that_repeats_a_unit_is_none() -> None:
    assert options.duration("1h1h") is None


@pytest.mark.parametrize("text", ["9999999w", "9" * 400 + "h"])
def test_durations_beyond_all_dates_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is no time|longer ago"):
        options.moment(text)


def test_candidates_have_the_usual_order_of_labels() -> None:
    assert options.dimensions("instance_type,region") == ("region", "instance_type")


def test_secrets_come_from_files_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv(options.TOKEN_VARIABLE, "from-environment\r\n")
    monkeypatch.setenv(options.PASSWORD_VARIABLE, "word\r")
    parser = options.parser("analyze", "", "")
    options.add_evidence(parser)
    plain = options.access(parser.parse_args(["--username", "me", "--header", "X-A: b"]))
    assert (plain.bearer_token, plain.basic) == ("from-environment", ("me", "word"))
    assert plain.headers == {"X-A": "b"}
    filed = options.access(parser.parse_args(["--bearer-token-file", str(tmp_path / "token")]))
    assert filed.bearer_token == "from-file"
