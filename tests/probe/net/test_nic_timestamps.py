"""The network card's timestamps: decoded, carried over to the system's time, or refused."""

from __future__ import annotations

import fcntl
import logging
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.net import nic_setup, nic_timestamps
from latency_sweep.probe.net.card_clock import NicClock, best_offset_ns, decode_samples
from latency_sweep.probe.net.nic_timestamps import MANY_MISSES, Abilities, NicTimestamps, decode
from latency_sweep.probe.net.receiving import Receiving, Timestamps, TimestampsError
from latency_sweep.probe.net.timestamped_socket import receive
from latency_sweep.probe.net.timestamps_check import check
from tests.probe.net.ena import Ena

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
        ({"timestamping": 1 << 4 | 1 << 6}, "does not timestamp received packets"),
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


def test_a_card_that_timestamps_only_what_it_receives_will_do() -> None:
    """ENA's driver reports RAW_HARDWARE only of cards that also timestamp what they send."""
    assert ALL._replace(timestamping=1 << 2).missing() is None


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
    """A socket whose read carries the kernel's timestamp and, unless there is none, the card's."""

    def __init__(self, card_message: bytes | None = None) -> None:
        self._card_message = card_message

    def recvmsg_into(self, buffers: list[bytearray], size: int) -> object:
        ancillary = [(socket.SOL_SOCKET, 35, struct.pack("@qq", 3, 4))]
        if self._card_message is not None:
            ancillary.append((socket.SOL_SOCKET, 37, self._card_message))
        return 1, ancillary, 0, None


@pytest.mark.parametrize(("card", "timestamp_ns"), [(99, 99), (None, 3 * SEC + 4)])
def test_the_kernels_timestamp_stands_in_for_the_cards(card: int | None, timestamp_ns: int) -> None:
    found = receive(Read(message(7, 8)), bytearray(1), Card(card))  # type: ignore[arg-type]
    assert found[:2] == (1, timestamp_ns)


@pytest.fixture
def ena(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ena:
    """An ENA card in place of every interface, in a process that has not used it yet."""
    card = Ena()
    monkeypatch.setattr(fcntl, "ioctl", card)
    monkeypatch.setattr(nic_timestamps, "_set_on", {})
    monkeypatch.setattr(nic_timestamps, "_refused", {})
    monkeypatch.setattr(nic_timestamps, "_cards", {})
    monkeypatch.setattr(nic_timestamps, "_DEVICES", tmp_path)
    (tmp_path / "ptp0").touch()
    return card


@contextmanager
def connection() -> Iterator[socket.socket]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sock,
    ):
        yield sock


@contextmanager
def connected() -> Iterator[NicTimestamps]:
    """A new connection by this card."""
    with connection() as sock:
        yield NicTimestamps(sock)


def fallen_back(nic: NicTimestamps) -> bool:
    return nic.fallen_back


def simulate_time(nic: NicTimestamps, ena: Ena) -> list[int]:
    """Let both clocks go by a number that the test moves, in nanoseconds; starts at 0."""
    now = [0]
    clock = nic._card.clock
    clock._clock = ena.now_ns = lambda: now[0]
    clock._tried_ns = 0
    ena.reads.clear()
    return now


def test_ena_is_set_once_and_no_reconnect_takes_its_interface_down(ena: Ena) -> None:
    check(Receiving(Timestamps.NIC), "127.0.0.1")
    for _ in range(3):
        with connected() as nic:
            nic.close()
    assert (ena.rx_filter, ena.downs) == (1, 1)


def test_a_card_that_timestamps_already_is_not_set_and_needs_no_privilege(ena: Ena) -> None:
    ena.rx_filter, ena.privileged = 1, False
    check(Receiving(Timestamps.NIC), "127.0.0.1")
    with connected() as nic:
        assert nic.timestamp_ns(message(1037, 5)) == 1000 * SEC + 5
    assert ena.downs == 0


@pytest.mark.parametrize("tx_type", [0, 1])
def test_what_the_card_does_with_sent_packets_is_kept(ena: Ena, tx_type: int) -> None:
    ena.tx_type = tx_type
    nic_timestamps.switch_on("lo")
    assert (ena.rx_filter, ena.tx_type) == (1, tx_type)


def test_a_driver_that_does_not_tell_its_setting_is_set_once(ena: Ena) -> None:
    ena.has_get = False
    for _ in range(2):
        nic_timestamps.switch_on("lo")
    assert (ena.rx_filter, ena.downs) == (1, 1)


def test_without_privilege_the_error_says_both_ways_out_and_is_not_asked_for_again(
    ena: Ena,
) -> None:
    ena.privileged = False
    with pytest.raises(TimestampsError, match=r"CAP_NET_ADMIN, or .*hwstamp_ctl -i lo -r 1"):
        nic_timestamps.switch_on("lo")
    ena.privileged = True
    with pytest.raises(TimestampsError, match="CAP_NET_ADMIN"):
        nic_timestamps.switch_on("lo")
    assert ena.downs == 0


def test_a_driver_that_takes_another_filter_is_refused(
    ena: Ena, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(name: str, request: int, data: bytes) -> bytes:
        answer = original(name, request, data)
        return struct.pack("=iii", 0, 0, 12) if request == nic_timestamps.SIOCSHWTSTAMP else answer

    original = nic_timestamps._ask
    monkeypatch.setattr(nic_timestamps, "_ask", ask)
    with pytest.raises(TimestampsError, match="only some packets"):
        nic_timestamps.switch_on("lo")
    assert ena.downs == 1


def test_a_clock_that_may_not_be_opened_is_named(ena: Ena, tmp_path: Path) -> None:
    (tmp_path / "ptp0").unlink()
    with connection() as sock, pytest.raises(TimestampsError, match="ptp0: No such file"):
        NicTimestamps(sock)
    assert ena.reads == []


def test_all_connections_together_stay_far_below_the_readings_that_ena_answers(ena: Ena) -> None:
    """Five connections, 1,000 messages a second each, ten seconds; chronyd needs its own share."""
    most = 0
    with connected() as first:
        nics = [first]
        now = simulate_time(first, ena)
        for _ in range(4):
            with connected() as other:
                nics.append(other)
        for _ in range(10_000):
            now[0] += 1_000_000
            for nic in nics:
                nic.timestamp_ns(message(7, 8))
            most = max(most, sum(moment > now[0] - SEC for moment in ena.reads))
    assert 5 <= most <= 15
    assert ena.refused == 0


def test_a_clock_that_refuses_is_not_asked_with_every_message_and_ends_no_connection(
    ena: Ena,
) -> None:
    with connected() as nic:
        now = simulate_time(nic, ena)
        now[0] = SEC
        ena.reads = [SEC - 1] * 125  # chronyd and others have used up what the card answers
        kernels = 3 * SEC + 4
        for _ in range(1000):
            now[0] += 100_000
            found = receive(Read(message(7, 8)), bytearray(1), nic)  # type: ignore[arg-type]
            assert found[1] == kernels
        assert ena.refused == 1
        assert fallen_back(nic)
        now[0] += SEC
        assert nic.timestamp_ns(message(37, 9)) == 9
        assert not fallen_back(nic)


def test_a_card_that_gives_nothing_is_replaced_by_the_kernel_and_that_is_said_once(
    ena: Ena, caplog: pytest.LogCaptureFixture
) -> None:
    with connected() as nic, caplog.at_level(logging.INFO, logger="latency_sweep"):
        for _ in range(3 * MANY_MISSES):
            found = receive(Read(), bytearray(1), nic)  # type: ignore[arg-type]
            assert found[1] == 3 * SEC + 4
        assert fallen_back(nic)
        nic.timestamp_ns(message(7, 8))
        assert not fallen_back(nic)
    said = [record.getMessage() for record in caplog.records if "card" in record.getMessage()]
    assert [text for text in said if "gives no timestamps" in text] == [
        "the card gives no timestamps; the kernel's are used instead, as with --timestamps socket"
    ]
    assert said[-1] == "the card's timestamps are used again"
    assert ena.rx_filter == 1


def test_a_few_reads_before_the_first_timestamp_are_no_failure(
    ena: Ena, caplog: pytest.LogCaptureFixture
) -> None:
    """The handshake was received before the socket asked."""
    with connected() as nic:
        for _ in range(MANY_MISSES - 1):
            nic.missed()
        nic.timestamp_ns(message(7, 8))
        assert not fallen_back(nic)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert ena.downs == 1


@given(
    true_offset_ns=st.integers(-(10**18), 10**18),
    windows=st.lists(st.tuples(st.integers(1, 200_000), st.floats(0, 1)), min_size=1, max_size=5),
)
def test_a_conversion_is_within_its_bound_wherever_in_the_window_the_card_was_read(
    true_offset_ns: int, windows: list[tuple[int, float]]
) -> None:
    samples = [
        (1000 * SEC, 1000 * SEC + int(width * at) - true_offset_ns, 1000 * SEC + width)
        for width, at in windows
    ]
    if min(width for width, _ in windows) > 100_000:
        assert best_offset_ns(samples) is None
        return
    clock = NicClock(lambda: samples, lambda: 0)
    converted = clock.to_system_ns(7 - true_offset_ns)
    assert converted is not None
    assert abs(converted - 7) <= clock.error_ns


def test_the_setup_at_boot_sets_the_card_of_the_route_and_waits_for_the_route(
    ena: Ena, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    routes: Iterator[str | Exception] = iter(
        ["lo", OSError("no route"), TimestampsError("no address yet"), "lo"]
    )

    def outwards() -> str:
        found = next(routes)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(nic_setup, "interface_outwards", outwards)
    monkeypatch.setattr(nic_setup, "_PAUSE_SEC", 0.0)
    assert nic_setup.main() == 0
    assert (ena.rx_filter, ena.downs) == (1, 1)
    assert capsys.readouterr().out == "nic_setup: lo timestamps all it receives\n"
    assert list(routes) == []


def test_a_setup_that_fails_says_why_in_one_sentence(
    ena: Ena, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nic_setup, "interface_outwards", lambda: "lo")
    ena.privileged = False
    assert nic_setup.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nic_setup: --timestamps nic: lo cannot be told to timestamp")
