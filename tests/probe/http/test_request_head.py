"""A head is measured alike however its bytes come in."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.http.request_head import HeadState, RequestHead

MAX_LINE, MAX_HEAD = 20, 60


def measure(pieces: list[bytes]) -> HeadState:
    head = RequestHead(MAX_LINE, MAX_HEAD)
    for piece in pieces:
        state = head.feed(piece)
        if state is not HeadState.INCOMPLETE:
            return state
    return HeadState.INCOMPLETE


def expected(data: bytes) -> HeadState:
    """The rule, on the whole of what came."""
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[: end + 4]
    line_end = head.find(b"\n")
    if (len(head) if line_end < 0 else line_end) > MAX_LINE + 1:
        return HeadState.LINE_TOO_LONG
    if len(head) > MAX_HEAD:
        return HeadState.TOO_LARGE
    return HeadState.INCOMPLETE if end < 0 else HeadState.COMPLETE


@given(st.text("ab\r\n", max_size=90), st.lists(st.integers(1, 90), max_size=6))
def test_the_same_however_it_is_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    places = [0, *sorted(cut for cut in set(cuts) if cut < len(data)), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places)]
    assert measure(pieces) is expected(data)


@given(st.binary(max_size=90))
def test_the_same_byte_by_byte(data: bytes) -> None:
    assert measure([bytes([byte]) for byte in data]) is expected(data)


def test_keeps_what_followed() -> None:
    head = RequestHead(MAX_LINE, MAX_HEAD)
    assert head.feed(b"GET / HTTP/1.1\r\n\r\nG") is HeadState.COMPLETE
    assert head.rest == b"G"
    head = RequestHead(MAX_LINE, MAX_HEAD)
    assert head.feed(b"GET / HTTP/1.1\r\n\r\n") is HeadState.COMPLETE
    assert head.rest == b""
