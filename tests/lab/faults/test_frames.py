"""The laboratory's frames: cut whole out of any stream, and wrong exactly where they should be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from latency_sweep.lab.faults import frames as f

RESPONSE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
MESSAGES = [b"", b"x" * 125, b"y" * 126, b"z" * 70_000, b'{"a":1}']


def a_client() -> ClientProtocol:
    return ClientProtocol(parse_uri("ws://here.test"), state=State.OPEN, max_size=2**20)


@given(sizes=st.lists(st.integers(1, 80_000), max_size=40), mask=st.booleans())
def test_frames_are_cut_whole_however_the_stream_is_split(sizes: list[int], *, mask: bool) -> None:
    frames = [Frame(Opcode.TEXT, message).serialize(mask=mask) for message in MESSAGES]
    stream = RESPONSE + b"".join(frames)
    cutter, response, found = f.FrameCutter(), b"", []
    position = 0
    for size in [*sizes, len(stream)]:
        part, more = cutter.feed(stream[position : position + size])
        response += part
        found += more
        position += size
    assert response == RESPONSE
    assert found == frames


@pytest.mark.parametrize("message", MESSAGES)
def test_the_payload_of_a_frame_is_found(message: bytes) -> None:
    assert f.payload(f.text(message)) == message


@pytest.mark.parametrize(
    ("flood", "opcodes"),
    [
        (f.ping_flood(3), [Opcode.PING] * 3),
        (f.continuation_flood(3), [Opcode.TEXT, *[Opcode.CONT] * 3]),
    ],
)
def test_a_flood_breaks_no_rule_of_the_protocol(flood: bytes, opcodes: list[Opcode]) -> None:
    client = a_client()
    client.receive_data(flood)
    received = [event for event in client.events_received() if isinstance(event, Frame)]
    assert [frame.opcode for frame in received] == opcodes
    assert not any(frame.data for frame in received)
    assert client.state is State.OPEN


def test_fragments_with_pings_between_make_the_same_message() -> None:
    client = a_client()
    client.receive_data(f.in_fragments(f.text(b"0123456789"), 4))
    received = [event for event in client.events_received() if isinstance(event, Frame)]
    data = [frame for frame in received if frame.opcode is not Opcode.PING]
    assert b"".join(frame.data for frame in data) == b"0123456789"
    assert [frame.fin for frame in data] == [False, False, False, True]
    assert len(received) - len(data) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        f.masked(f.text(b"masked")),
        f.oversize(1 << 40),
        f.close(999),
        f.close(1005),
        b"\x83\x00",
    ],
)
def test_what_should_be_a_violation_is_one(wrong: bytes) -> None:
    client = a_client()
    client.receive_data(wrong)
    assert client.parser_exc is not None


def test_a_masked_frame_is_wrong_in_nothing_else() -> None:
    client = a_client()
    client.receive_data(f.masked(f.text(b"0123456789")))
    assert isinstance(client.parser_exc, ProtocolError)
    assert "mask" in str(client.parser_exc)


def test_bad_utf8_is_in_the_text_and_not_in_the_frame() -> None:
    frame = f.with_bad_utf8(f.text(b'{"a":"b"}'))
    assert len(frame) == len(f.text(b'{"a":"b"}'))
    with pytest.raises(UnicodeDecodeError):
        f.payload(frame).decode()


@pytest.mark.parametrize(("code", "received"), [(1000, 1000), (4999, 4999), (None, 1005)])
def test_a_close_frame_carries_its_code_or_none(code: int | None, received: int) -> None:
    client = a_client()
    client.receive_data(f.close(code))
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == received


def test_pings_are_told_from_messages() -> None:
    ping = Frame(Opcode.PING, b"").serialize(mask=False)
    assert f.is_ping(ping)
    assert not f.is_data(ping)
    assert f.is_data(f.text(b"message"))
