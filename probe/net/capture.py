"""Timestamps of every TCP segment of one connection, from a packet capture of its headers.

A packet socket for all protocols sees a segment before TCP does (packet(7), net/core/dev.c), so
whatever TCP hands to the program has been captured already. Segments that the network card or GRO
merged on their way are one to both.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from typing import Final

from latency_sweep.probe.net.packet_ring import SNAPSHOT_SIZE, PacketRing
from latency_sweep.probe.net.receiving import TimestampsError
from latency_sweep.probe.net.segments import SegmentTimestamps
from latency_sweep.probe.net.tcp_header import parse

_ETH_P_ALL: Final = 0x0003
_ETH_P_IP: Final = 0x0800
_ETH_P_IPV6: Final = 0x86DD
# linux/if_packet.h
_PACKET_OUTGOING: Final = 4
_SOL_PACKET: Final = 263
_PACKET_IGNORE_OUTGOING: Final = 23
_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
_MAX_SKIPPED: Final = 1024  # reads, after which the ring is emptied of what they left in it
_INSTRUCTION: Final = struct.Struct("HBBI")

# Opcodes of the classic packet filter (linux/bpf_common.h).
_LOAD_WORD: Final = 0x20
_LOAD_HALF: Final = 0x28
_LOAD_BYTE: Final = 0x30
_LOAD_HALF_AT_X: Final = 0x48
_LOAD_X_HEADER: Final = 0xB1  # X = 4 * (byte & 0xf): the length of an IPv4 header
_JUMP_EQUAL: Final = 0x15
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
# Places of what the kernel knows of a packet (SKF_AD_OFF and after, linux/filter.h).
_PROTOCOL: Final = 0xFFFFF000
_PACKET_TYPE: Final = 0xFFFFF004


class PacketCapture:
    """Captures the segments that a server sends to one socket of ours.

    Opened before the connection, so that the first segment, which says where the sequence numbers
    begin, is captured too.

    Args:
        address: the server's IP address.
        server_port: its port.
        own_port: ours.

    Raises:
        TimestampsError: not allowed here.
    """

    def __init__(self, address: str, server_port: int, own_port: int) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL)
            )
        except PermissionError:
            raise TimestampsError(
                "--timestamps capture needs CAP_NET_RAW; run as root, give the capability to the "
                "service, or use --timestamps socket."
            ) from None
        except OSError as error:
            raise TimestampsError(
                f"--timestamps capture: no packet socket: {error.strerror}."
            ) from error
        self._timestamps: SegmentTimestamps | None = None
        self._offset = 0
        self._skipped = 0
        try:
            _attach_filter(self._socket, _filter(address, server_port, own_port))
            # What is sent is not even offered to the filter.
            self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            # Setting it up drops what came before the filter was in place.
            self._ring = PacketRing(self._socket)
        except OSError as error:
            self._socket.close()
            raise TimestampsError(
                f"--timestamps capture: the packet socket cannot be used: {error.strerror}; use "
                "--timestamps socket."
            ) from error

    def close(self) -> None:
        """End the capture."""
        self._ring.close()
        self._socket.close()

    def proves_itself(self) -> bool:
        """Whether it has seen the server's first packet, without which none has a place."""
        if self._timestamps is None:
            self._collect()
        return self._timestamps is not None

    def skip(self, size: int) -> None:
        """Pass over bytes read from the stream whose timestamps nobody asks for.

        Args:
            size: how many; one segment or more.
        """
        self._offset += size
        timestamps = self._timestamps
        if timestamps is None or timestamps.end >= self._offset:
            return  # its packet has been taken out already
        self._skipped += 1
        if self._skipped < _MAX_SKIPPED:
            self._ring.skip()
        else:  # some had more segments than one: do not let the ring fill up with the others
            timestamps.skip(self._offset)
            self._collect(everything=True)

    def read(self, size: int) -> list[tuple[int, int]] | None:
        """The timestamps of the bytes read next from the stream.

        Args:
            size: how many.

        Returns:
            Pieces of them in order, each by its end (from 0 to `size`) and timestamp in Unix
            nanoseconds; None if a segment was not captured.
        """
        start = self._offset
        if self._skipped and self._timestamps is not None:
            self._timestamps.skip(start)
        self._offset += size
        self._collect()
        if self._timestamps is None:
            return None
        pieces = self._timestamps.read(start, self._offset)
        return None if pieces is None else [(end - start, timestamp) for end, timestamp in pieces]

    def _collect(self, *, everything: bool = False) -> None:
        """Take what was captured, up to the bytes that have been read unless all is wanted.

        TCP hands bytes over after their segment was captured, so theirs are in the ring.
        """
        self._skipped = 0
        while everything or self._timestamps is None or self._timestamps.end < self._offset:
            captured = self._ring.next()
            if captured is None:
                return
            packet, timestamp_ns = captured
            segment = parse(packet)
            if segment is None:
                continue
            if segment.syn:
                self._timestamps = self._timestamps or SegmentTimestamps(segment.sequence + 1)
            elif self._timestamps is not None:
                self._timestamps.add(segment.sequence, segment.size, timestamp_ns)


def _filter(address: str, server_port: int, own_port: int) -> bytes:
    """A program that accepts the headers of TCP segments of one connection to us."""
    remote = ipaddress.ip_address(address)
    tcp = socket.IPPROTO_TCP
    incoming = [(_LOAD_BYTE, _PACKET_TYPE), (_JUMP_ANY_BIT, _PACKET_OUTGOING)]
    if remote.version == 4:  # noqa: PLR2004 - the version of IP
        tests = [
            incoming,
            [(_LOAD_HALF, _PROTOCOL), (_JUMP_EQUAL, _ETH_P_IP)],
            [(_LOAD_BYTE, 9), (_JUMP_EQUAL, tcp)],
            [(_LOAD_WORD, 12), (_JUMP_EQUAL, int(remote))],
            [(_LOAD_HALF, 6), (_JUMP_ANY_BIT, 0x1FFF)],  # a later fragment has no TCP header
            [(_LOAD_X_HEADER, 0), (_LOAD_HALF_AT_X, 0), (_JUMP_EQUAL, server_port)],
            [(_LOAD_HALF_AT_X, 2), (_JUMP_EQUAL, own_port)],
        ]
    else:
        words = struct.unpack(">4I", remote.packed)
        tests = [
            incoming,
            [(_LOAD_HALF, _PROTOCOL), (_JUMP_EQUAL, _ETH_P_IPV6)],
            [(_LOAD_BYTE, 6), (_JUMP_EQUAL, tcp)],
            *([(_LOAD_WORD, 8 + 4 * n), (_JUMP_EQUAL, word)] for n, word in enumerate(words)),
            [(_LOAD_HALF, 40), (_JUMP_EQUAL, server_port)],
            [(_LOAD_HALF, 42), (_JUMP_EQUAL, own_port)],
        ]
    steps = [step for test in tests for step in test]
    program = []
    for number, (code, operand) in enumerate(steps):
        to_refusal = len(steps) - number
        on_true, on_false = 0, 0
        if code == _JUMP_EQUAL:
            on_false = to_refusal
        elif code == _JUMP_ANY_BIT:
            on_true = to_refusal
        program.append(_INSTRUCTION.pack(code, on_true, on_false, operand))
    program.append(_INSTRUCTION.pack(_RETURN, 0, 0, SNAPSHOT_SIZE))
    program.append(_INSTRUCTION.pack(_RETURN, 0, 0, 0))
    return b"".join(program)


def _attach_filter(sock: socket.socket, program: bytes) -> None:
    held = ctypes.create_string_buffer(program, len(program))
    count = len(program) // _INSTRUCTION.size
    # struct sock_fprog: a count and a pointer
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", count, ctypes.addressof(held))
    )
