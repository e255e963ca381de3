"""ClockBound's shared memory, written here as its protocol describes."""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING

import pytest

from latency_sweep.probe.clock import clockbound
from latency_sweep.probe.clock.reading import ClockError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NS = 1_000_000_000
REAL_PREAD = os.pread
MAGIC = (0x414D5A4E, 0x43420200)


def segment(
    *,
    age_sec: float = 0.0,
    valid_sec: float = 1000.0,
    bound_ns: int = 20_000,
    drift_ppb: int = 1_000,
    status: int = 1,
    generation: int = 2,
    version: int = 2,
    magic: tuple[int, int] = MAGIC,
    size: int = 80,
) -> bytes:
    as_of = int(time.clock_gettime_ns(time.CLOCK_MONOTONIC) - age_sec * NS)
    void_after = as_of + int(valid_sec * NS)
    return struct.pack(
        "=IIIHHqqqqqQIiB7x",
        *magic,
        size,
        version,
        generation,
        *divmod(as_of, NS),
        *divmod(void_after, NS),
        bound_ns,
        0,
        drift_ppb,
        status,
        1,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shm0"


def test_a_fresh_bound_is_taken_as_it_is(path: Path) -> None:
    path.write_bytes(segment(drift_ppb=0))
    reading = clockbound.read(path)
    assert reading.error_bound_sec == pytest.approx(20e-6)
    assert (reading.offset_sec, reading.synchronized, reading.source) == (0.0, True, "clockbound")


def test_the_bound_grows_by_the_drift_since_it_was_calculated(path: Path) -> None:
    path.write_bytes(segment(age_sec=40, drift_ppb=1_000))
    assert clockbound.read(path).error_bound_sec == pytest.approx(20e-6 + 40e-6, rel=0.05)


@pytest.mark.parametrize(
    ("status", "name"), [(0, "unknown"), (2, "free running"), (3, "disrupted")]
)
def test_no_other_status_is_synchronised(path: Path, status: int, name: str) -> None:
    path.write_bytes(segment(status=status))
    assert not clockbound.read(path).synchronized, name


def test_a_silent_daemon_is_not_believed(path: Path) -> None:
    path.write_bytes(segment(age_sec=61))
    assert not clockbound.read(path).synchronized


def test_a_bound_beyond_its_time_is_not_believed(path: Path) -> None:
    path.write_bytes(segment(age_sec=10, valid_sec=5))
    assert not clockbound.read(path).synchronized


def test_a_segment_of_another_boot_is_an_error(path: Path) -> None:
    path.write_bytes(segment(age_sec=-1000))
    with pytest.raises(ClockError, match="another boot"):
        clockbound.read(path)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda: b"", "too short"),
        (lambda: segment(magic=(1, 2)), "magic number"),
        # What ClockBound 3 writes beside it, into shm1, for its own clients.
        (
            lambda: segment(version=3, size=104),
            "layout version 3, not 2; use .*3.0.0-rc.0 or newer",
        ),
        (lambda: segment(magic=(MAGIC[0], 0x43420300)), "magic number of ClockBound's layout 2"),
        (lambda: segment(size=72), "cut off: 72 bytes"),
        (lambda: segment(generation=0), "not yet written"),
        (lambda: segment(generation=3), "always being written"),
        (lambda: segment()[:40], "cut off"),
        (lambda: segment(bound_ns=-1), "impossible bound"),
        (lambda: segment(drift_ppb=NS), "impossible bound"),
    ],
)
def test_a_broken_segment_is_an_error_that_says_what_is_wrong(
    path: Path, write: Callable[[], bytes], reason: str
) -> None:
    path.write_bytes(write())
    with pytest.raises(ClockError, match=reason):
        clockbound.read(path)


def test_no_segment_is_an_error_that_says_what_to_start(path: Path) -> None:
    with pytest.raises(ClockError, match=r"shm0 cannot be read .*start the clockbound daemon"):
        clockbound.read(path)


def test_a_longer_segment_of_the_same_layout_is_read(path: Path) -> None:
    """A daemon may append fields without a new layout."""
    path.write_bytes(segment(drift_ppb=0, size=104) + bytes(24))
    assert clockbound.read(path).error_bound_sec == pytest.approx(20e-6)


def test_a_copy_torn_by_the_writer_is_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon writes the bound, then the status; the reader comes in between."""
    path.write_bytes(segment(drift_ppb=0, bound_ns=10_000, status=0))
    after = segment(drift_ppb=0, bound_ns=5_000_000, status=1, generation=4)
    status_at = 16 + 52
    writes = iter([after[:14] + struct.pack("=H", 3) + after[16:status_at], after])

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        data = REAL_PREAD(descriptor, size, offset)
        for content in writes:
            with path.open("r+b") as file:
                file.write(content)
            break
        return data

    monkeypatch.setattr(os, "pread", pread)
    reading = clockbound.read(path)
    assert reading.error_bound_sec == pytest.approx(5e-3)
    assert reading.synchronized
