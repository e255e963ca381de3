"""Where a captured packet has its place in the stream."""

from __future__ import annotations

import struct

import pytest

from latency_sweep.probe.net.tcp_header import Segment, parse


def tcp(sequence: int = 77, *, options: bytes = b"", syn: bool = False) -> bytes:
    offset = (20 + len(options)) // 4 << 4
    return struct.pack(">HHIIBBHHH", 443, 5000, sequence, 0, offset, 2 * syn, 0, 0, 0) + options


def ipv4(payload: bytes, *, options: bytes = b"", total: int | None = None) -> bytes:
    size = 20 + len(options) + len(payload) if total is None else total
    first = 0x40 | (20 + len(options)) // 4
    addresses = bytes(8)
    return struct.pack(">BBHHHBBH", first, 0, size, 0, 0, 64, 6, 0) + addresses + options + payload


def ipv6(payload: bytes) -> bytes:
    return struct.pack(">IHBB", 6 << 28, len(payload), 6, 64) + bytes(32) + payload


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(tcp() + b"data"),
        ipv4(tcp(options=bytes(12)) + b"data", options=bytes(8)),
        ipv6(tcp(options=bytes(4)) + b"data"),
        ipv4(tcp() + b"data") + b"padding",
    ],
)
def test_sequence_number_and_size_are_found_behind_all_options(packet: bytes) -> None:
    assert parse(packet) == Segment(77, 4, syn=False)


def test_the_size_is_that_of_the_packet_and_not_of_what_was_captured_of_it() -> None:
    assert parse(ipv4(tcp(), total=1500)) == Segment(77, 1460, syn=False)


def test_a_syn_is_recognised() -> None:
    assert parse(ipv4(tcp(syn=True))) == Segment(77, 0, syn=True)


def test_a_packet_that_does_not_say_its_size_has_none() -> None:
    packet = parse(ipv4(tcp(), total=0))
    assert packet is not None
    assert packet.size < 0


@pytest.mark.parametrize("size", [0, 19, 20, 39])
def test_incomplete_headers_are_no_segment(size: int) -> None:
    assert parse(ipv4(tcp())[:size]) is None
