"""The bound that AWS' ClockBound daemon publishes in shared memory.

Layout and rules are those of version 2 of its shared memory protocol, native byte order: magic,
segment size, version, generation; as-of and void-after (CLOCK_MONOTONIC_COARSE), bound,
disruption marker, largest drift, status. The daemon makes the generation odd before it writes and
even afterwards; a copy is whole when the generation was the same even number before and after.
ClockBound 3 (from 3.0.0-rc.0 on) writes the same into `shm0`; its own clients read `shm1`, whose
layout is another.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import Final

from latency_sweep.probe.clock.reading import ClockError, ClockReading

NAME: Final = "clockbound"
SEGMENT: Final = Path("/var/run/clockbound/shm0")

_HEADER: Final = struct.Struct("=IIIHH")
_BODY: Final = struct.Struct("=qqqqqQIi8x")
_MAGIC: Final = (0x414D5A4E, 0x43420200)
_VERSION: Final = 2
_SYNCHRONIZED: Final = 1
_ATTEMPTS: Final = 1000
_MAX_DRIFT_PPB: Final = 1_000_000_000
# A daemon that restarts does not write for a moment. Beyond this the clock runs free; the bound
# stays true, because it keeps growing by the largest drift.
_GRACE_SEC: Final = 60.0


def read(path: Path = SEGMENT) -> ClockReading:
    """Read the bound and let it grow by the drift since it was calculated.

    ClockBound does not tell the offset apart from the bound, so the offset is 0. Only the status
    "synchronized" of a daemon that is alive counts as such; "unknown", "free running" and
    "disrupted" do not.

    Raises:
        ClockError: no segment, not one of ClockBound's, or it never holds still.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ClockError(
            f"ClockBound's {path} cannot be read ({error.strerror}); start the clockbound daemon."
        ) from error
    try:
        body = _snapshot(descriptor, path)
    except OSError as error:
        raise ClockError(f"ClockBound's {path}: {error.strerror}; restart its daemon.") from error
    finally:
        os.close(descriptor)
    return _reading(body, path)


def _snapshot(descriptor: int, path: Path) -> bytes:
    for _ in range(_ATTEMPTS):
        before = _generation(descriptor, path)
        body = os.pread(descriptor, _BODY.size, _HEADER.size)
        if before % 2 == 0 and before == _generation(descriptor, path):
            if len(body) < _BODY.size:
                raise ClockError(f"ClockBound's {path} is cut off; restart its daemon.")
            return body
    raise ClockError(f"ClockBound's {path} is always being written; restart its daemon.")


def _generation(descriptor: int, path: Path) -> int:
    header = os.pread(descriptor, _HEADER.size, 0)
    if len(header) < _HEADER.size:
        raise ClockError(f"{path} is too short for ClockBound's; restart its daemon.")
    magic_high, magic_low, size, version, generation = _HEADER.unpack(header)
    if (magic_high, magic_low) != _MAGIC:
        raise ClockError(
            f"{path} does not begin with the magic number of ClockBound's layout {_VERSION}; use "
            "ClockBound 2, or 3.0.0-rc.0 or newer, and its shm0."
        )
    if version != _VERSION:
        raise ClockError(
            f"{path} has layout version {version}, not {_VERSION}; use ClockBound 2, or 3.0.0-rc.0 "
            "or newer."
        )
    if size < _HEADER.size + _BODY.size:
        raise ClockError(f"ClockBound's {path} is cut off: {size} bytes; restart its daemon.")
    if generation == 0:
        raise ClockError(f"ClockBound has not yet written {path}; wait for its daemon.")
    return int(generation)


def _reading(body: bytes, path: Path) -> ClockReading:
    as_of_sec, as_of_ns, void_sec, void_ns, bound_ns, _marker, drift_ppb, status = _BODY.unpack(
        body
    )
    if bound_ns < 0 or drift_ppb >= _MAX_DRIFT_PPB:
        raise ClockError(f"ClockBound's {path} holds an impossible bound; restart its daemon.")
    # The daemon timestamps with the coarse clock, which never runs ahead of this one.
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    age = now - (as_of_sec + as_of_ns * 1e-9)
    if age < 0:
        raise ClockError(f"ClockBound's {path} is from another boot; restart its daemon.")
    alive = age <= _GRACE_SEC and now <= void_sec + void_ns * 1e-9
    return ClockReading(
        offset_sec=0.0,
        error_bound_sec=(bound_ns + age * drift_ppb) * 1e-9,
        synchronized=status == _SYNCHRONIZED and alive,
        source=NAME,
    )
