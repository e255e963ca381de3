"""What a summary says in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.contract.metrics import Phase
from latency_sweep.probe.summary import wording
from latency_sweep.probe.summary.records import ClockSummary, ProbeSummary
from tests.probe.summary.summaries import SILENT, UNTIMED, latency, stream, summary


def warnings(of: ProbeSummary, *, ended: bool = True) -> str:
    return " ".join(wording.warnings(of, ended=ended))


def test_a_healthy_probe_has_no_warning() -> None:
    assert warnings(summary()) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0.000"),
        (0.0000123, "0.012"),
        (0.01234, "12.34"),
        (0.1234, "123.4"),
        (1.5, "1500"),
        (-0.0012, "-1.200"),
    ],
)
def test_milliseconds(seconds: float | None, text: str) -> None:
    assert wording.milliseconds(seconds) == text


@given(st.floats(0, 1))
def test_a_share_that_is_not_all_or_nothing_does_not_look_like_it(ratio: float) -> None:
    text = wording.share(ratio)
    assert (text == "0%") == (ratio == 0)
    assert (text == "100%") == (ratio == 1)
    assert abs(float(text.strip("<>%")) / 100 - ratio) < 0.001


def test_an_unsynchronized_clock_is_said_in_a_sentence_and_its_bound_is_not_shown() -> None:
    clock = ClockSummary("kernel", synchronized=False, error_bound_sec=16.0)
    found = summary(clock=clock)
    assert "The local clock is not synchronized" in warnings(found)
    assert dict(wording.facts(found))["clock"] == "not synchronized, error unknown (kernel)"


def test_a_clock_that_may_be_off_by_more_than_a_tenth_of_the_median_is_a_warning() -> None:
    for bound_sec, warned in ((0.0009, False), (0.0011, True)):
        clock = ClockSummary("chrony", synchronized=True, error_bound_sec=bound_sec)
        assert ("more than a tenth" in warnings(summary(clock=clock))) == warned


def test_no_connection_is_said_with_its_reason() -> None:
    reason = "tcp: [Errno 111] Connect call failed ('192.0.2.1', 443)"
    found = summary(SILENT, connected=False, was_connected=False, last_error=reason)
    assert warnings(found) == (
        "The probe cannot reach wss://stream.example:9443: tcp: Connect call failed "
        "('192.0.2.1', 443)."
    )
    assert wording.state(found) == "connecting"
    lost = summary(connected=False, last_error=None)
    assert warnings(lost) == "The probe lost the connection to wss://stream.example:9443."
    assert wording.state(lost) == "not connected"


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"negative": 3}, "3 messages have a negative latency"),
        ({"reconnects": 2}, "The connection was lost 2 times"),
        ({"clock_steps": 1}, "The local clock was set meanwhile"),
    ],
)
def test_what_makes_the_numbers_doubtful_is_a_warning(
    changed: dict[str, int], warning: str
) -> None:
    assert warning in warnings(summary(**changed))


def test_a_silent_stream_is_named() -> None:
    assert warnings(summary(stream(), SILENT)) == "No message yet of ETHUSDT trade."
    assert warnings(summary(SILENT, measured_sec=0.0)) == ""


def test_a_p999_of_few_messages_is_a_warning_once_there_will_be_no_more() -> None:
    few = summary(stream(messages=999))
    assert "Fewer than 1,000 messages of BTCUSDT trade" in warnings(few)
    assert warnings(few, ended=False) == ""


def test_the_kind_and_the_error_of_the_timestamps_are_those_of_all_messages() -> None:
    exact = stream(latency=latency(exact_ratio=1.0, late_p99_sec=0.0, late_maximum_sec=0.0))
    assert dict(wording.facts(summary(exact)))["timestamps"] == (
        "kernel, of each segment (capture): 100% exact"
    )
    assert dict(wording.facts(summary(exact, stream(), timestamps="socket")))["timestamps"] == (
        "kernel, one per read (socket): 95.0% exact, late by at most 0.200 ms (p99), 0.400 ms (max)"
    )


def test_a_stream_without_event_time_has_a_rate_and_no_latency() -> None:
    texts = {column.heading: column.of(UNTIMED) for column in wording.COLUMNS}
    assert {texts.pop("rate"), texts.pop("own")} == {"40/s", "0.250"}
    assert set(texts.values()) == {wording.UNKNOWN}
    facts = dict(wording.facts(summary(stream(), UNTIMED)))
    assert facts["no latency"] == "bookTicker: messages without event time"


def test_what_is_going_on_is_said_with_the_time_left() -> None:
    assert wording.state(summary()) == "measuring, 10 s left"
    assert wording.state(summary(phase=Phase.WAIT)) == "waiting for the next run, 10 s left"
    assert wording.measured(summary()) == "2,000 messages in 50 s of 1 min 00 s"
    assert wording.measured(summary(measured_sec=60.0)) == "2,000 messages in 1 min 00 s"
