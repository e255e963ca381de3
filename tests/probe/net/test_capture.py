"""A packet capture gives each segment its own timestamp, also where the queue joined them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import sys
import termios
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from latency_sweep.lab.local.tls import make_certificates
from latency_sweep.probe.net import packet_ring, timestamped_socket
from latency_sweep.probe.net.capture import PacketCapture
from latency_sweep.probe.net.receiving import Receiving, Timestamps, TimestampsError
from latency_sweep.probe.net.timestamps_check import why_no_capture
from latency_sweep.probe.net.transport import open_transport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


needs_privilege = pytest.mark.skipif(why_no_capture() is not None, reason="needs CAP_NET_RAW")


@pytest.fixture(scope="module", autouse=True)
def timestamping() -> Iterator[None]:
    with timestamped_socket.keep_timestamping_on():
        yield


class Pieces:
    """Collects what a transport delivers."""

    def __init__(self) -> None:
        self.pieces: list[tuple[bytes, int, int]] = []
        self.errors_ns: list[int] = []
        self.ended = asyncio.Event()

    def bytes_received(self, data: bytes, timestamp_ns: int, read_ns: int, error_ns: int) -> None:
        self.pieces.append((data, timestamp_ns, read_ns))
        self.errors_ns.append(error_ns)

    def stream_ended(self, error: Exception | None) -> None:
        self.ended.set()

    def failed(self, error: Exception) -> None:
        raise error


async def receive(address: str, receiving: Receiving, writes: list[bytes]) -> Pieces:
    """What comes of a few writes that all wait in the queue before the first read."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    pieces = Pieces()
    with socket.create_server((address, 0), family=family) as server:
        transport = await open_transport(
            address,
            server.getsockname()[1],
            address=None,
            tls=None,
            timeout_sec=10,
            on_step=lambda *_: None,
            receiving=receiving,
        )
        try:
            peer, _ = server.accept()
            with peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for write in writes:
                    peer.sendall(write)
                    await asyncio.sleep(0.002)
            async with asyncio.timeout(20):
                while waiting_bytes(transport._sock) < sum(map(len, writes)):
                    await asyncio.sleep(0.001)
                transport.start(pieces)
                await pieces.ended.wait()
        finally:
            transport.close()
    return pieces


def waiting_bytes(sock: socket.socket) -> int:
    answer = fcntl.ioctl(sock, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


@needs_privilege
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_segments_that_waited_together_keep_their_own_timestamps(address: str) -> None:
    writes = [b"a" * 10, b"b" * 2000, b"c"]
    pieces = await receive(address, Receiving(Timestamps.CAPTURE), writes)
    found = pieces.pieces
    assert not any(pieces.errors_ns)
    assert [data for data, *_ in found] == writes
    timestamps = [timestamp_ns for _, timestamp_ns, _ in found]
    assert all(earlier < later for earlier, later in pairwise(timestamps))
    assert all(timestamp_ns <= read_ns for _, timestamp_ns, read_ns in found)


@needs_privilege
async def test_each_record_gets_the_timestamp_of_its_segment_after_a_handshake(
    tmp_path: Path,
) -> None:
    """What the handshake took of the stream is counted."""
    sent_ns, pieces = await receive_records(tmp_path, Receiving(Timestamps.CAPTURE))
    timestamps = [timestamp_ns for _, timestamp_ns, _ in pieces.pieces]
    assert len(timestamps) == 3
    assert all(earlier < later for earlier, later in pairwise(timestamps))
    assert all(sent <= timestamp_ns for sent, timestamp_ns in zip(sent_ns, timestamps, strict=True))
    assert not any(pieces.errors_ns)


async def test_of_the_records_in_a_read_the_last_is_exact_and_the_others_within_a_bound(
    tmp_path: Path,
) -> None:
    sent_ns, pieces = await receive_records(tmp_path, Receiving(Timestamps.SOCKET))
    assert [data for data, *_ in pieces.pieces][-1].endswith(b"c")
    assert pieces.errors_ns[0] >= pieces.pieces[0][1] - sent_ns[0] > 10_000_000
    *_, (_, timestamp_ns, _) = pieces.pieces
    assert timestamp_ns > sent_ns[-1]


async def test_a_read_that_filled_the_buffer_has_no_exact_timestamp() -> None:
    """The newest segment need not be in it whole, and later ones may have joined it."""
    found = await receive("127.0.0.1", Receiving(), [b"x" * 50_000, b"y" * 50_000])
    errors = [
        error_ns
        for (data, *_), error_ns in zip(found.pieces, found.errors_ns, strict=True)
        for _ in data
    ]
    assert all(errors[:-1])
    assert errors[-1] == 0


async def test_a_socket_that_nothing_comes_to_is_found_empty_again_and_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = await open_transport(
            "127.0.0.1",
            server.getsockname()[1],
            address=None,
            tls=None,
            timeout_sec=10,
            on_step=lambda *_: None,
        )
        try:
            transport.start(Pieces())
            for _ in range(3):
                now_ns = time.time_ns()
                async with asyncio.timeout(20):
                    while transport._error.since_ns < now_ns:
                        await asyncio.sleep(0.001)
        finally:
            transport.close()


@needs_privilege
async def test_a_connection_whose_capture_sees_nothing_uses_the_socket(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(PacketCapture, "proves_itself", lambda _: False)
    receiving = Receiving(Timestamps.CAPTURE)
    found = await receive("127.0.0.1", receiving, [b"a", b"b"])
    assert [data for data, *_ in found.pieces] == [b"a", b"b"]
    assert found.errors_ns[0] > 2_000_000
    assert receiving.missed.reads == 1
    assert "packets not captured" in caplog.text


async def receive_records(folder: Path, receiving: Receiving) -> tuple[list[int], Pieces]:
    """When three records of a letter were sent over TLS, and what comes of reading them late."""
    certificates = make_certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    sent_ns: list[int] = []
    all_sent = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for letter in (b"a", b"b", b"c"):
            await asyncio.sleep(0.005)
            sent_ns.append(time.time_ns())
            writer.write(letter)
        all_sent.set()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    pieces = Pieces()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        transport = await open_transport(
            "127.0.0.1",
            server.sockets[0].getsockname()[1],
            address=None,
            tls=ssl.create_default_context(cafile=certificates.ca),
            timeout_sec=10,
            on_step=lambda *_: None,
            receiving=receiving,
        )
        try:
            async with asyncio.timeout(20):
                await all_sent.wait()
                transport.start(pieces)
                await pieces.ended.wait()
        finally:
            transport.close()
    assert b"".join(data for data, *_ in pieces.pieces) == b"abc"
    return sent_ns, pieces


async def test_without_capture_they_share_the_newest_which_is_late_within_a_bound() -> None:
    found = await receive("127.0.0.1", Receiving(), [b"a", b"b", b"c"])
    assert [data for data, *_ in found.pieces] == [b"ab", b"c"]
    (_, timestamp_ns, _), (_, last_ns, _) = found.pieces
    assert timestamp_ns == last_ns
    assert found.errors_ns[0] > 4_000_000  # a was sent 4 ms before c
    assert found.errors_ns[1] == 0


@needs_privilege
async def test_what_the_full_ring_dropped_has_the_sockets_timestamp_within_its_bound(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(packet_ring, "FRAMES", 256)
    receiving = Receiving(Timestamps.CAPTURE)
    found = await receive("127.0.0.1", receiving, [b"x"] * 300)
    assert b"".join(data for data, *_ in found.pieces) == b"x" * 300
    assert receiving.missed.reads == 1
    assert "packets not captured" in caplog.text
    assert found.errors_ns[0] > 2_000_000 * 298
    assert found.errors_ns[-1] == 0  # the last byte of a read has its own timestamp


@needs_privilege
async def test_a_capture_goes_on_after_a_gap_and_counts_it() -> None:
    with captured_pair() as (capture, peer, client):
        peer.sendall(b"a" * 10)
        client.recv(10)
        assert capture.read(10) is not None
        peer.sendall(b"b" * 10)
        client.recv(10)
        capture._ring.skip()  # as if it had been lost
        assert capture.read(10) is None
        peer.sendall(b"c" * 10)
        client.recv(10)
        assert capture.read(10) is not None


@needs_privilege
async def test_bytes_that_nobody_asks_for_take_no_place_in_the_ring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packet_ring, "FRAMES", 256)
    with captured_pair() as (capture, peer, client):
        for size in [*range(1, 300), 9000]:  # the last of several segments where they are small
            peer.sendall(b"a" * size)
            client.recv(size, socket.MSG_WAITALL)
            capture.skip(size)
        before_ns = time.time_ns()
        peer.sendall(b"b" * 10)
        client.recv(10)
        pieces = capture.read(10)
        assert pieces is not None
        ((end, timestamp_ns),) = pieces
        assert end == 10
        assert before_ns <= timestamp_ns <= time.time_ns()


@needs_privilege
async def test_skipping_the_rest_of_a_segment_keeps_the_next_one() -> None:
    """A read may end within a segment, when it fills the buffer."""
    with captured_pair() as (capture, peer, client):
        peer.sendall(b"a" * 100)
        client.recv(60)
        assert capture.read(60) is not None
        client.recv(40)
        peer.sendall(b"b" * 10)
        capture.skip(40)
        client.recv(10)
        assert capture.read(10) is not None


@contextlib.contextmanager
def captured_pair() -> Iterator[tuple[PacketCapture, socket.socket, socket.socket]]:
    """A capture of what the first of two connected sockets sends to the second."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        capture = PacketCapture("127.0.0.1", port, client.getsockname()[1])
        try:
            client.connect(("127.0.0.1", port))
            with server.accept()[0] as peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                assert capture.proves_itself()
                yield capture, peer, client
        finally:
            capture.close()


@needs_privilege
async def test_a_segment_is_captured_after_it_was_sent_and_before_tcp_has_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.bind(("", 0))
        port = server.getsockname()[1]
        timestamped_socket.enable_receive_timestamps(client)
        capture = PacketCapture("127.0.0.1", port, client.getsockname()[1])
        try:
            client.connect(("127.0.0.1", port))
            peer, _ = server.accept()
            with peer:
                sent_ns = time.time_ns()
                peer.sendall(b"x" * 100)
                size, timestamp_ns, _ = timestamped_socket.receive(client, bytearray(200))
            assert timestamp_ns is not None
            pieces = capture.read(size)
            assert pieces is not None
            ((end, captured_ns),) = pieces
            assert end == size == 100
            assert sent_ns <= captured_ns <= timestamp_ns
            assert capture.read(1) is None  # nothing more was captured
        finally:
            capture.close()


@needs_privilege
async def test_other_connections_are_not_captured() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as other:
        port = server.getsockname()[1]
        capture = PacketCapture("127.0.0.1", port, 1)
        try:
            other.connect(("127.0.0.1", port))
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"x" * 100)
                other.recv(100)
            assert capture.read(100) is None
        finally:
            capture.close()


def test_without_the_privilege_the_sentence_says_what_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(
        TimestampsError, match=r"--timestamps capture needs CAP_NET_RAW.*--timestamps socket"
    ):
        PacketCapture("127.0.0.1", 1, 1)


async def test_busy_polling_delivers_everything_and_stops() -> None:
    try:
        with socket.socket() as sock:
            timestamped_socket.enable_busy_polling(sock, 1)
    except PermissionError:
        pytest.skip("needs CAP_NET_ADMIN")
    found = (await receive("127.0.0.1", Receiving(busy_poll_us=500), [b"a", b"b"])).pieces
    assert b"".join(data for data, *_ in found) == b"ab"
