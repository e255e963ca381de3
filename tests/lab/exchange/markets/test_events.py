"""Messages: times in either unit, wrapping, frames."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_sweep.lab.exchange.markets.events import JsonEvent, TimeUnit, stream_kind, text_frame


def event(offset_ns: int = 0) -> JsonEvent:
    return JsonEvent(
        "btcusdt@trade",
        event_ns=1_000_002_000,
        text=(b'{"E":', b',"T":', b"}"),
        times_ns=(1_000_002_000, 999_999_000),
        offset_ns=offset_ns,
    )


def test_times_are_cut_to_the_unit() -> None:
    assert event().payload(TimeUnit.MICROSECOND) == b'{"E":1000002,"T":999999}'
    assert event().payload(TimeUnit.MILLISECOND) == b'{"E":1000,"T":999}'


def test_the_clock_s_error_moves_every_time() -> None:
    assert event(-2_000).payload(TimeUnit.MICROSECOND) == b'{"E":1000000,"T":999997}'


def test_a_combined_frame_names_the_stream() -> None:
    frame = event().frame(TimeUnit.MILLISECOND, combined=True)
    assert frame[2:] == b'{"stream":"btcusdt@trade","data":{"E":1000,"T":999}}'


def test_a_raw_frame_is_the_bare_payload() -> None:
    frame = event().frame(TimeUnit.MILLISECOND, combined=False)
    assert frame[2:] == b'{"E":1000,"T":999}'


def test_a_frame_is_built_once() -> None:
    message = event()
    first = message.frame(TimeUnit.MILLISECOND, combined=False)
    assert message.frame(TimeUnit.MILLISECOND, combined=False) is first


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        ("btcusdt@trade", "trade"),
        ("btcusdt@depth@100ms", "depth"),
        ("btcusdt@markPrice@1s", "markPrice"),
        ("!serverShutdown", "!serverShutdown"),
    ],
)
def test_the_kind_of_a_stream_is_its_middle_part(stream: str, kind: str) -> None:
    assert stream_kind(stream) == kind


@given(st.integers(0, 70_000))
@settings(deadline=None)
def test_a_frame_s_header_states_its_length(size: int) -> None:
    frame = text_frame(bytes(size))
    header = 2 if size < 126 else 4 if size < 65_536 else 10
    assert len(frame) == header + size
    assert frame[0] == 0x81
