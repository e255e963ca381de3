"""The screen and the JSON."""

from __future__ import annotations

import json

import pytest

from latency_sweep.runtime.check_report import passed, render_json, render_text
from latency_sweep.runtime.check_result import CheckResult, CheckStatus, duration

RESULTS = [
    CheckResult("clock", CheckStatus.PASS, "chrony: bound 20 µs", "bound ≤ 1 ms"),
    CheckResult(
        "CPU load", CheckStatus.WARN, "3.1 a core", "≤ 0.7 a core", "Stop what else runs here."
    ),
    CheckResult(
        "TLS", CheckStatus.FAIL, "certificate: [expired]", "verified", "Check the host's clock."
    ),
    CheckResult("ENI allowances", CheckStatus.SKIP, "eth0 is not an ENA card", "nothing exceeded"),
]


def test_every_result_is_one_line() -> None:
    lines = render_text(RESULTS).splitlines()
    for line, result in zip(lines[1:], RESULTS, strict=False):
        for part in (result.name, result.status, result.found, result.expected):
            assert part in line


def test_a_narrow_screen_keeps_one_line_for_what_is_as_it_should_be() -> None:
    lines = render_text(RESULTS, width=80).splitlines()
    assert lines[1].split() == ["clock", "PASS", "chrony:", "bound", "20", "µs"]
    assert "3.1 a core; expected: ≤ 0.7 a core" in lines[2]
    assert "EXPECTED" not in lines[0]


def test_what_to_do_begins_with_what_is_worst() -> None:
    text = render_text(RESULTS)
    todo = text[text.index("What to do") :]
    assert todo.index("Check the host's clock.") < todo.index("Stop what else runs here.")


def test_the_last_line_counts() -> None:
    assert render_text(RESULTS).splitlines()[-1] == "1 PASS, 1 WARN, 1 FAIL, 1 SKIP"


def test_a_healthy_host_is_told_to_do_nothing() -> None:
    assert "What to do" not in render_text(RESULTS[:1])


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    results = [*RESULTS, CheckResult("DNS", CheckStatus.FAIL, "x" * 200, "y" * 30, "z " * 100)]
    assert max(map(len, render_text(results, width=width).splitlines())) <= width


def test_without_color_there_is_no_escape_sequence() -> None:
    assert "\x1b" not in render_text(RESULTS)


def test_with_color_a_failure_is_red() -> None:
    assert "\x1b[1;31mFAIL" in render_text(RESULTS, color=True)


def test_json_holds_every_field_and_the_worst_status() -> None:
    document = json.loads(render_json(RESULTS))
    assert (document["version"], document["worst"]) == (1, "FAIL")
    assert [CheckResult(**result) for result in document["results"]] == RESULTS


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.0, "2 s"),
        (0.0123, "12.3 ms"),
        (98e-6, "98 µs"),
        (450e-9, "450 ns"),
        (-0.25, "-250 ms"),
        (0.99999, "1 s"),
    ],
)
def test_durations_are_in_the_unit_one_thinks_in(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([CheckStatus.PASS, CheckStatus.WARN, CheckStatus.SKIP], True),
        ([CheckStatus.PASS, CheckStatus.FAIL], False),
        ([], True),
    ],
)
def test_only_a_failure_fails(found: list[CheckStatus], *, expected: bool) -> None:
    assert passed([CheckResult("x", status, "", "") for status in found]) is expected
