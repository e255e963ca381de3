"""`--fail-if`: what is a condition, and when it is met."""

from __future__ import annotations

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.summary.conditions import ConditionError, parse
from latency_sweep.probe.summary.records import ClockSummary
from tests.probe.summary.summaries import SILENT, UNTIMED, stream, summary


@pytest.mark.parametrize(
    "text",
    [
        "p50>9ms",
        "p99 >= 14000us",
        "p99.95>29µs",
        "max>0.029s",
        "min<11ms",
        "mean>10ms",
        "jitter>1ms",
        "late>0.1ms",
        "own>0.2ms",
        "loss>0",
        "loss>=0.1%",
        "exact<95%",
        "rate<41/s",
        "rate<=40",
        "clock>50us",
    ],
)
def test_a_condition_that_is_met_is_a_failure_that_names_it(text: str) -> None:
    (sentence,) = parse(text).failures(summary())
    assert sentence.startswith(f"{text}: ")


@pytest.mark.parametrize(
    "text", ["p99>15.5ms", "loss>0.2%", "rate<39/s", "clock>=1ms", "exact<89%", "p0<1ms"]
)
def test_a_condition_that_is_not_met_is_none(text: str) -> None:
    assert parse(text).failures(summary()) == []


def test_each_stream_that_meets_it_is_named() -> None:
    slow = stream(symbol="ETHUSDT")
    found = parse("p50>1ms").failures(summary(stream(), slow))
    assert found == [
        "p50>1ms: p50 of BTCUSDT trade is 10.01 ms.",
        "p50>1ms: p50 of ETHUSDT trade is 10.01 ms.",
    ]


def test_what_is_unknown_fails_as_nothing_shows_that_it_is_within_the_limit() -> None:
    assert parse("p99>1s").failures(summary(stream(), SILENT)) == [
        "p99>1s: p99 of ETHUSDT trade is unknown."
    ]
    unsynchronized = ClockSummary("kernel", synchronized=False, error_bound_sec=0.0)
    for clock in (None, unsynchronized):
        assert parse("clock>1s").failures(summary(clock=clock)) == [
            "clock>1s: the clock's error bound is unknown."
        ]


def test_streams_that_cannot_show_it_do_not_count_unless_there_is_no_other() -> None:
    for text in ("p99>1s", "loss>1%"):
        assert parse(text).failures(summary(stream(), UNTIMED)) == []
        assert parse(text).failures(summary(UNTIMED)) == [
            f"{text}: no stream of these can show it."
        ]
    assert parse("rate<41/s").failures(summary(UNTIMED)) != []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("p99", "is not a condition such as p99>20ms"),
        ("p99>", "is not a condition"),
        ("p99>-1ms", "is not a condition"),
        ("p99>1e3ms", "is not a condition"),
        ("p100>1ms", "is not a condition"),
        ("p99=1ms", "is not a condition"),
        ("p99>1min", "is not a condition"),
        ("p99>20", "needs a unit after the number: us, µs, ms, s"),
        ("p99>20%", "needs a unit after the number"),
        ("loss>5ms", "needs a unit after the number: %"),
        ("rate<5ms", "needs a unit after the number: /s"),
        ("p>1ms", "'p' is not measured"),
        ("speed>1ms", "'speed' is not measured; use p50"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse(text)
    assert why in str(caught.value)


@given(
    st.sampled_from(["<", "<=", ">", ">="]),
    st.integers(0, 10**6),
    st.sampled_from([("us", 1e-6), ("ms", 1e-3), ("s", 1.0)]),
)
def test_any_limit_is_compared_in_its_unit(
    comparison: str, number: int, unit: tuple[str, float]
) -> None:
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[comparison]
    found = parse(f"max{comparison}{number}{unit[0]}").failures(summary())
    assert bool(found) == compare(0.030, number * unit[1])
