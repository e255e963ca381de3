"""The verdict's records as JSON."""

from __future__ import annotations

import json
import math

from latency_sweep.analysis.decision.results import ConstraintStatus, Interval, Margin
from latency_sweep.analysis.report.json import as_json


def test_records_become_dicts_and_tuples_lists() -> None:
    assert as_json((Interval(1.0, None, 0.95),)) == [{"low": 1.0, "high": None, "confidence": 0.95}]


def test_numbers_that_json_cannot_say_become_null() -> None:
    assert as_json(Margin(math.nan, math.inf, -math.inf, 1.0)) == {
        "total_sec": None,
        "relevant_sec": None,
        "clock_sec": None,
        "bucket_sec": 1.0,
        "timestamp_sec": 0.0,
    }


def test_enumerations_become_their_plain_value() -> None:
    assert json.dumps(as_json({"status": ConstraintStatus.PASS})) == '{"status": "pass"}'


def test_other_values_stay_as_they_are() -> None:
    assert as_json([1, "a", None, True]) == [1, "a", None, True]
