"""chronyd's tracking report, from a stand-in that answers its packets and from the real one."""

from __future__ import annotations

import math
import shutil
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latency_sweep.probe.clock import chrony
from latency_sweep.probe.clock.reading import ClockError, ClockReading, UnknownBoundError
from latency_sweep.probe.clock.refclocks import Refclock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

# The daemons of the tests are threads and processes of a machine that may be busy.
PATIENCE_SEC = 60.0
NTP_SERVER = 0xA9FEA97B  # 169.254.169.123
PHC0 = int.from_bytes(b"PHC0", "big")
LOCAL = 0x7F7F0101


def encode_float(value: float) -> int:
    """Encode as chrony does: exponent in 7 bits, coefficient in 25, both signed."""
    if value == 0:
        return 0
    fraction, exponent = math.frexp(value)
    coefficient = round(fraction * 2**24)
    if coefficient == 2**24:  # rounded up to what only a larger exponent can hold
        coefficient, exponent = 2**23, exponent + 1
    return ((exponent + 1) & 0x7F) << 25 | coefficient & 0x1FFFFFF


def tracking(
    *,
    reference_id: int = NTP_SERVER,
    leap: int = 0,
    age_sec: float = 4.0,
    correction: float = 0.0,
    root_delay: float = 0.0,
    root_dispersion: float = 0.0,
    interval: float = 16.0,
    family: int = 1,
    stratum: int = 4,
) -> bytes:
    updated_ns = time.time_ns() - int(age_sec * 1e9)
    seconds, nanoseconds = divmod(updated_ns, 10**9)
    floats = [correction, 0, 0, 0, 0, 0, root_delay, root_dispersion, interval]
    return struct.pack(
        "!L20sHHLLL9L",
        reference_id,
        socket.inet_aton("169.254.169.123") + bytes(12) + struct.pack("!HH", family, 0),
        stratum,
        leap,
        seconds >> 32,
        seconds & 0xFFFFFFFF,
        nanoseconds,
        *map(encode_float, floats),
    )


def refclock_tracking(name: str, **options: float) -> bytes:
    """What chronyd says while it follows a reference clock: no address, and stratum 1."""
    reference_id = int.from_bytes(name.encode().ljust(4, b"\0"), "big")
    return tracking(reference_id=reference_id, family=0, stratum=1, **options)  # type: ignore[arg-type]


def reply(request: bytes, body: bytes, *, status: int = 0, version: int = 6) -> bytes:
    sequence = int.from_bytes(request[8:12], "big")
    header = struct.pack("!BBHHHHHHHLLL", version, 2, 0, 33, 5, status, 0, 0, 0, sequence, 0, 0)
    return header + body


@contextmanager
def daemon(
    answer: Callable[[bytes], Sequence[bytes]],
) -> Iterator[tuple[tuple[str, int], list[bytes]]]:
    """A command port that answers one request; yields its address and the requests it got."""
    requests: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            request, peer = sock.recvfrom(4096)
            requests.append(request)
            for packet in answer(request):
                sock.sendto(packet, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname(), requests
        finally:
            thread.join()


def read(
    body: bytes, *, phc_bound_sec: float = 0.0, configured: Mapping[str, Refclock] | None = None
) -> ClockReading:
    with daemon(lambda request: [reply(request, body)]) as (address, _):
        return chrony.read(
            address,
            phc_bound_sec=lambda: phc_bound_sec,
            configured=lambda: configured or {},
            timeout_sec=PATIENCE_SEC,
        )


def test_the_bound_is_offset_and_root_dispersion_and_half_the_root_delay() -> None:
    reading = read(tracking(correction=2e-6, root_dispersion=30e-6, root_delay=100e-6))
    assert reading.error_bound_sec == pytest.approx(82e-6, rel=1e-6)
    assert reading.synchronized
    assert reading.source == "chrony"


def test_a_clock_that_must_be_advanced_is_behind() -> None:
    assert read(tracking(correction=0.25)).offset_sec == pytest.approx(-0.25)
    assert read(tracking(correction=-0.25)).offset_sec == pytest.approx(0.25)


def test_the_hardware_clock_s_own_bound_is_added_where_it_is_followed() -> None:
    reading = read(refclock_tracking("PHC0", root_dispersion=1e-6), phc_bound_sec=5e-6)
    assert reading.error_bound_sec == pytest.approx(6e-6, rel=1e-6)
    assert reading.source == "chrony+phc"


def test_the_hardware_clock_s_own_bound_is_not_added_where_it_is_not_followed() -> None:
    reading = read(tracking(root_dispersion=1e-6), phc_bound_sec=5e-6)
    assert reading.error_bound_sec == pytest.approx(1e-6, rel=1e-6)


def test_a_hardware_clock_without_a_bound_is_an_error() -> None:
    def unknown() -> float:
        raise UnknownBoundError("no card publishes it.")

    body = refclock_tracking("PHC0")
    with (
        daemon(lambda request: [reply(request, body)]) as (address, _),
        pytest.raises(UnknownBoundError),
    ):
        chrony.read(address, phc_bound_sec=unknown, timeout_sec=PATIENCE_SEC)


def test_a_server_whose_address_reads_like_a_name_is_no_reference_clock() -> None:
    """80.72.67.48 is "PHC0"."""
    reading = read(tracking(reference_id=PHC0, root_dispersion=1e-6), phc_bound_sec=5e-6)
    assert reading.error_bound_sec == pytest.approx(1e-6, rel=1e-6)
    assert reading.source == "chrony"


@pytest.mark.parametrize(
    "name", ["PPS0", "SHM1", "SOC0", "RTC0", "GPS", "TSC0", "NMEA", "MANU", ""]
)
def test_no_other_reference_clock_passes_by_any_name(name: str) -> None:
    with pytest.raises(UnknownBoundError, match=f"reference clock '{name}'"):
        read(refclock_tracking(name), phc_bound_sec=5e-6)


@pytest.mark.parametrize(("family", "stratum"), [(0, 4), (1, 1), (0, 11)])
def test_a_reference_clock_is_known_by_its_stratum_or_its_lack_of_an_address(
    family: int, stratum: int
) -> None:
    """A directive's `stratum` is added, so it need not be 1."""
    with pytest.raises(UnknownBoundError):
        read(tracking(reference_id=0x47505300, family=family, stratum=stratum))


@pytest.mark.parametrize("nothing", [{"leap": 3}, {"reference_id": LOCAL}])
def test_a_clock_that_follows_nothing_is_no_reference_clock(nothing: dict[str, int]) -> None:
    assert not read(tracking(family=0, **nothing)).synchronized


def test_the_configuration_says_what_is_behind_a_name() -> None:
    """A GPS receiver that is called PHC0, and a card that publishes nothing and is called GPS."""
    with pytest.raises(UnknownBoundError, match=r"'PHC0' \(driver SHM\)"):
        read(refclock_tracking("PHC0"), configured={"PHC0": Refclock("SHM", "0")})
    with pytest.raises(UnknownBoundError, match="/dev/ptp99, which publishes no"):
        read(refclock_tracking("GPS"), configured={"GPS": Refclock("PHC", "/dev/ptp99")})


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(lambda: tracking(leap=3), id="leap status says so"),
        pytest.param(lambda: tracking(reference_id=LOCAL), id="it follows itself"),
        pytest.param(lambda: tracking(age_sec=129, interval=16), id="eight updates are missing"),
    ],
)
def test_a_clock_that_follows_nothing_is_not_synchronised(report: Callable[[], bytes]) -> None:
    assert not read(report()).synchronized


def test_the_burst_of_updates_at_the_start_is_not_taken_for_silence() -> None:
    assert read(tracking(age_sec=30, interval=2)).synchronized


def test_a_request_is_as_long_as_its_reply() -> None:
    body = tracking()
    with daemon(lambda request: [reply(request, body)]) as (address, requests):
        chrony.ask(address, timeout_sec=PATIENCE_SEC)
    assert len(requests[0]) == len(reply(requests[0], body)) == 104


def test_the_answer_to_an_earlier_request_is_passed_over() -> None:
    def answer(request: bytes) -> Sequence[bytes]:
        stale = bytearray(reply(request, tracking(correction=9.0)))
        stale[19] ^= 1  # last byte of the sequence number
        return [bytes(stale), reply(request, tracking(correction=1.0))]

    with daemon(answer) as (address, _):
        report = chrony.ask(address, timeout_sec=PATIENCE_SEC)
    assert report.correction_sec == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _request: [b"who?"], "4 bytes; is it chronyd"),
        (lambda request: [reply(request, b"", version=5)], "version 5 of its protocol, not 6"),
        (lambda request: [reply(request, b"", status=2)], "refused .*status 2"),
        (lambda request: [reply(request, tracking()[:-1])], "cut off after 103 bytes"),
    ],
)
def test_an_unusable_answer_is_an_error_that_says_why(
    answer: Callable[[bytes], Sequence[bytes]], reason: str
) -> None:
    with daemon(answer) as (address, _), pytest.raises(ClockError, match=reason):
        chrony.ask(address, timeout_sec=PATIENCE_SEC)


def test_no_daemon_is_an_error_that_says_what_to_start() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
    with pytest.raises(ClockError, match=rf"port {address[1]} .*start it"):
        chrony.ask(address)


def test_a_daemon_that_never_answers_is_given_up_on() -> None:
    with daemon(lambda _request: []) as (address, _), pytest.raises(ClockError, match="timed out"):
        chrony.ask(address, timeout_sec=0.05)


@example(2.0**25 - 1)
@given(st.floats(-4e9, 4e9).filter(lambda value: value == 0 or abs(value) > 1e-12))
def test_floats_are_decoded_to_the_24_bits_they_carry(value: float) -> None:
    signed = struct.unpack("!l", struct.pack("!L", encode_float(value)))[0]
    assert chrony._float(signed) == pytest.approx(value, rel=2**-23)


class RealChronyd:
    """A chronyd that steers nothing and follows what the test tells it."""

    def __init__(self, folder: Path, reference_id: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            self.address: tuple[str, int] = sock.getsockname()
        self._reference = folder / "reference.sock"
        configuration = folder / "chrony.conf"
        configuration.write_text(
            f"port 0\ncmdport {self.address[1]}\n"
            "bindcmdaddress 127.0.0.1\nbindcmdaddress /\n"
            f"pidfile {folder / 'chronyd.pid'}\n"
            f"refclock SOCK {self._reference} refid {reference_id} poll -2 filter 1 delay 2e-5\n"
        )
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
        arguments = ["-d", "-x", "-U", "-u", user.stdout.strip(), "-f", str(configuration)]
        self.process = subprocess.Popen(
            [str(shutil.which("chronyd")), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def follow(self, offset_sec: float) -> None:
        """Feed reference samples, true time minus local time, until they are believed."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            deadline = time.monotonic() + PATIENCE_SEC
            while time.monotonic() < deadline:
                seconds, nanoseconds = divmod(time.time_ns(), 10**9)
                sample = struct.pack(
                    "@qqdiiii", seconds, nanoseconds // 1000, offset_sec, 0, 0, 0, 0x534F434B
                )
                try:
                    sock.sendto(sample, str(self._reference))
                    if chrony.ask(self.address).leap_status == 0:
                        return
                except (OSError, ClockError):
                    assert self.process.poll() is None, "chronyd ended"
                time.sleep(0.05)  # a reference clock ticks; chronyd wants samples apart
        raise AssertionError("chronyd never followed its reference")


@pytest.fixture
def real_chronyd(tmp_path: Path) -> Iterator[Callable[[str], RealChronyd]]:
    if shutil.which("chronyd") is None:
        pytest.skip("chronyd is not installed")
    started: list[RealChronyd] = []

    def start(reference_id: str) -> RealChronyd:
        started.append(RealChronyd(tmp_path, reference_id))
        return started[-1]

    yield start
    for each in started:
        each.process.terminate()
        each.process.wait()


def test_the_real_chronyd_reports_a_clock_that_is_fast(
    real_chronyd: Callable[[str], RealChronyd],
) -> None:
    chronyd = real_chronyd("PHC0")
    chronyd.follow(-0.003)
    reading = chrony.read(chronyd.address, phc_bound_sec=lambda: 0.0, timeout_sec=PATIENCE_SEC)
    assert reading.offset_sec == pytest.approx(0.003, abs=2e-4)
    assert reading.error_bound_sec == pytest.approx(0.003, abs=2e-4)
    assert reading.synchronized


def test_the_real_chronyd_tells_a_reference_clock_of_any_name(
    real_chronyd: Callable[[str], RealChronyd],
) -> None:
    chronyd = real_chronyd("XYZ")
    chronyd.follow(0.0)
    assert chrony.ask(chronyd.address, timeout_sec=PATIENCE_SEC).refclock == "XYZ"
    with pytest.raises(UnknownBoundError, match="'XYZ'"):
        chrony.read(chronyd.address, timeout_sec=PATIENCE_SEC)


def test_the_real_chronyd_names_a_hardware_clock_as_expected(
    real_chronyd: Callable[[str], RealChronyd],
) -> None:
    chronyd = real_chronyd("PHC0")
    chronyd.follow(0.0)
    reading = chrony.read(chronyd.address, phc_bound_sec=lambda: 0.5, timeout_sec=PATIENCE_SEC)
    assert reading.source == "chrony+phc"
    assert reading.error_bound_sec == pytest.approx(0.5, abs=1e-3)
