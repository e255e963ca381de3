"""The splitter sees what `websockets`' core sees, however the byte stream is cut."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from latency_sweep.probe.net.framing import FrameSplitter, Kind

# More than all fragments of an example together: the splitter shows the core whole frames, so the
# core notices a sum that is too large at the end of a frame instead of at its beginning.
MAX_BYTES = 1_000_000
Message = tuple[bool, bytes]


@dataclass
class Core:
    """`websockets`' core as the only reader: the reference, and what takes the other frames."""

    messages: list[Message] = field(default_factory=list)
    others: list[Opcode] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    binary: bool = False

    def __post_init__(self) -> None:
        uri = parse_uri("ws://x.test/")
        self.protocol = ClientProtocol(uri, max_size=MAX_BYTES, state=State.OPEN)

    def take(self, kind: Kind, frames: list[bytes]) -> None:
        if self.protocol.close_rcvd is not None or self.protocol.parser_exc is not None:
            return
        if kind is Kind.OTHER:
            self.receive(frames[0])
        else:
            self.messages += [(kind is Kind.BINARY, payload) for payload in frames]

    def receive(self, data: bytes) -> None:
        if data and self.protocol.state is not State.CLOSED:
            self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            self._on_frame(event)

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if frame.opcode is not Opcode.CONT:
                self.parts, self.binary = [], frame.opcode is Opcode.BINARY
            self.parts.append(bytes(frame.data))
            if frame.fin:
                self.messages.append((self.binary, b"".join(self.parts)))
        else:
            self.others.append(frame.opcode)

    @property
    def outcome(self) -> tuple[list[Message], list[Opcode], str | None, State]:
        fault = self.protocol.parser_exc
        name = type(fault).__name__ if fault is not None else None
        return self.messages, self.others, name, self.protocol.state


SIZES = st.one_of(st.integers(0, 200), st.sampled_from([125, 126, 127, 128, 65535, 65536]))
PAYLOADS = st.builds(lambda size, byte: bytes([byte]) * size, SIZES, st.integers(0, 127))
FRAMES = st.one_of(
    st.builds(lambda data: Frame(Opcode.TEXT, data), PAYLOADS),
    st.builds(lambda data: Frame(Opcode.BINARY, data), PAYLOADS),
    st.builds(
        Frame,
        st.sampled_from([Opcode.PING, Opcode.PONG]),
        st.binary(max_size=125),
    ),
    st.builds(lambda data: Frame(Opcode.TEXT, data, fin=False), st.binary(max_size=200)),
    st.builds(
        lambda data, fin: Frame(Opcode.CONT, data, fin=fin), st.binary(max_size=200), st.booleans()
    ),
    st.just(Frame(Opcode.CLOSE, b"\x03\xe8")),
)
STREAMS = st.lists(FRAMES, max_size=8).map(
    lambda frames: b"".join(frame.serialize(mask=False) for frame in frames)
)
GARBAGE = st.one_of(
    st.binary(max_size=60),
    st.just(Frame(Opcode.TEXT, b"masked").serialize(mask=True)),
    st.just(b"\x81\x7f" + (2**40).to_bytes(8, "big")),
    st.just(b"\xc1\x01x"),
)


def cut(stream: bytes, points: list[int]) -> list[bytes]:
    edges = [0, *sorted({p % (len(stream) + 1) for p in points}), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges) if a < b]


def split(pieces: list[bytes]) -> Core:
    core = Core()
    splitter = FrameSplitter(MAX_BYTES)
    for piece in pieces:
        for kind, frames in splitter.split(piece):
            core.take(kind, frames)
    return core


def reference(stream: bytes) -> Core:
    core = Core()
    core.receive(stream)
    return core


@given(STREAMS, GARBAGE, st.lists(st.integers(min_value=0), max_size=20))
def test_any_cut_gives_what_the_core_gives(stream: bytes, tail: bytes, points: list[int]) -> None:
    assert split(cut(stream + tail, points)).outcome == reference(stream + tail).outcome


@given(st.lists(FRAMES, max_size=4))
def test_single_bytes_give_what_the_core_gives(frames: list[Frame]) -> None:
    stream = b"".join(frame.serialize(mask=False) for frame in frames)[:2000]
    pieces = [bytes([byte]) for byte in stream]
    assert split(pieces).outcome == reference(stream).outcome


def test_plain_messages_never_reach_the_core() -> None:
    core = split([Frame(Opcode.TEXT, b"x" * 300).serialize(mask=False) * 3])
    assert core.messages == [(False, b"x" * 300)] * 3
    assert core.protocol.events_received() == []


def test_nothing_is_delivered_after_a_close_frame() -> None:
    close = Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False)
    late = Frame(Opcode.TEXT, b"late").serialize(mask=False)
    assert split([close + late, late]).messages == []


def test_a_frame_over_the_limit_is_refused_before_it_is_complete() -> None:
    header = b"\x81\x7f" + (MAX_BYTES + 1).to_bytes(8, "big")
    assert split([header]).outcome[2] == "PayloadTooBig"
    assert split([b"\x81\x7f" + MAX_BYTES.to_bytes(8, "big")]).outcome[2] is None
