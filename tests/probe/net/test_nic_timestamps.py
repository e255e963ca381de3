"""The network card's timestamps: decoded, carried over to the system's time, or refused."""

from __future__ import annotations

import socket
import struct

import pytest

from latency_sweep.probe.net import nic_timestamps
from latency_sweep.probe.net.nic_timestamps import (
    Abilities,
    NicClock,
    best_offset_ns,
    decode,
    decode_samples,
)
from latency_sweep.probe.net.receiving import Receiving, Timestamps, TimestampsError
from latency_sweep.probe.net.timestamped_socket import receive
from latency_sweep.probe.net.timestamps_check import check

SEC = 1_000_000_000
ALL = Abilities(timestamping=1 << 2 | 1 << 6, phc_index=0, receive_filters=1 << 1)


def message(seconds: int, nanoseconds: int) -> bytes:
    """A SO_TIMESTAMPING control message: software, unused, raw hardware."""
    return struct.pack("@qqqqqq", 5, 6, 0, 0, seconds, nanoseconds)


def test_the_raw_timestamp_is_the_third() -> None:
    assert decode(message(7, 8)) == 7 * SEC + 8


@pytest.mark.parametrize("data", [message(0, 0), b"", bytes(16)])
def test_a_packet_without_a_raw_timestamp_has_none(data: bytes) -> None:
    assert decode(data) is None


def test_the_narrowest_window_gives_the_offset() -> None:
    wide, narrow = (0, 1000, 90_000), (100_000, 51_000, 100_020)
    assert best_offset_ns([wide, narrow]) == 100_010 - 51_000


def test_a_window_that_is_too_wide_gives_none() -> None:
    assert best_offset_ns([(0, 50, 100_001)]) is None
    assert best_offset_ns([(10, 50, 0)]) is None  # the system's clock was set back meanwhile


def test_a_clock_in_another_scale_is_carried_over() -> None:
    """TAI is 37 s ahead of UTC; only the measured offset counts."""
    clock = NicClock(lambda: [(1000 * SEC, 1037 * SEC + 5, 1000 * SEC + 10)], lambda: 0)
    assert clock.to_system_ns(2037 * SEC) == 2000 * SEC


def test_the_offset_is_measured_again_and_again() -> None:
    now = [0]
    samples = [[(100, 0, 100)], [(500, 0, 500)]]
    clock = NicClock(lambda: samples.pop(0), lambda: now[0])
    assert clock.to_system_ns(7) == 107
    now[0] = SEC
    assert clock.to_system_ns(7) == 507


def test_no_timestamp_rather_than_one_by_an_old_offset() -> None:
    now = [0]
    samples = [[(100, 0, 100)], [(0, 0, SEC)]]
    clock = NicClock(lambda: samples.pop(0), lambda: now[0])
    now[0] = SEC
    assert clock.to_system_ns(7) is None


def test_clocks_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(TimestampsError, match="takes too long to read"):
        NicClock(lambda: [(0, 0, SEC)])


def test_samples_are_read_from_the_kernels_answer() -> None:
    times = [(1, 2), (3, 4), (5, 6)]
    body = b"".join(struct.pack("=qII", seconds, ns, 0) for seconds, ns in times)
    answer = struct.pack("=IiII", 1, 0, 0, 0) + body + bytes(16 * 72)
    assert decode_samples(answer) == [(SEC + 2, 3 * SEC + 4, 5 * SEC + 6)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"timestamping": 1 << 4}, "does not timestamp received packets"),
        ({"receive_filters": 1}, "cannot timestamp all"),
        ({"phc_index": -1}, "no clock that can be read"),
    ],
)
def test_what_a_card_lacks_is_named(changes: dict[str, int], why: str) -> None:
    missing = ALL._replace(**changes).missing()
    assert missing is not None
    assert why in missing


def test_a_card_with_everything_lacks_nothing() -> None:
    assert ALL.missing() is None


def test_loopback_is_refused_with_what_to_do() -> None:
    with pytest.raises(TimestampsError, match=r"--timestamps nic: lo.*--timestamps socket"):
        check(Receiving(Timestamps.NIC), "127.0.0.1")


def test_the_interface_of_an_address_is_found() -> None:
    assert nic_timestamps.interface_of("127.0.0.1") == "lo"
    with pytest.raises(TimestampsError, match=r"192\.0\.2\.1"):
        nic_timestamps.interface_of("192.0.2.1")


class Card:
    """Gives every packet one timestamp, or none."""

    def __init__(self, timestamp_ns: int | None) -> None:
        self._timestamp_ns = timestamp_ns

    def timestamp_ns(self, data: bytes) -> int | None:
        return self._timestamp_ns


class Read:
    """A socket whose read carries both kinds of timestamps."""

    def recvmsg_into(self, buffers: list[bytearray], size: int) -> object:
        kernel = struct.pack("@qq", 3, 4)
        ancillary = [(socket.SOL_SOCKET, 35, kernel), (socket.SOL_SOCKET, 37, message(7, 8))]
        return 1, ancillary, 0, None


@pytest.mark.parametrize(("card", "timestamp_ns"), [(99, 99), (None, 3 * SEC + 4)])
def test_the_kernels_timestamp_stands_in_for_the_cards(card: int | None, timestamp_ns: int) -> None:
    found = receive(Read(), bytearray(1), Card(card))  # type: ignore[arg-type]
    assert found[:2] == (1, timestamp_ns)
