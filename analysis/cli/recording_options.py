"""`--from-recordings` and `--clock-bound`: which host recorded what, and how good its clock was."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.cli.options import FromRecordings
from latency_sweep.analysis.evidence.recorded_host import RecordedHost
from latency_sweep.runtime.options import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAGS: Final = ("--clock-bound", "--stream")
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_BOUND: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s)")
_UNITS_SEC: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


def add_from_recordings(to: argparse._ActionsContainer) -> None:
    """Add `--from-recordings`, one of the sources."""
    to.add_argument(
        "--from-recordings",
        metavar="HOST=FILE",
        type=_host_file,
        nargs="+",
        action="extend",
        help="recordings of raw frames, each with the host it was made on; several of a host are "
        "one",
    )


def add_clock_bound(to: argparse._ActionsContainer) -> None:
    """Add `--clock-bound`."""
    to.add_argument(
        "--clock-bound",
        metavar="HOST=DURATION",
        type=_clock_bound,
        action="append",
        default=None,
        help="by how much the clock of a host of --from-recordings may have been wrong, such as "
        "tokyo-a=50us; repeatable",
    )


def from_recordings(
    files: Sequence[tuple[str, Path]],
    bounds: Sequence[tuple[str, float]],
    *,
    market: str | None,
    raw_streams: tuple[str, ...],
    streams: tuple[str, ...],
    symbols: tuple[str, ...],
) -> FromRecordings:
    """The hosts in the order of their first file.

    Raises:
        UsageError: a file is named twice, or a clock is that of a host without a recording.
    """
    by_host: dict[str, list[Path]] = {}
    for host, file in files:
        if any(file in others for others in by_host.values()):
            raise UsageError(f"--from-recordings: {file} is named twice.")
        by_host.setdefault(host, []).append(file)
    known = dict(bounds)
    for host in known:
        if host not in by_host:
            raise UsageError(
                f"--clock-bound: there is no recording of {host}; choose {', '.join(by_host)}."
            )
    hosts = tuple(
        RecordedHost(host, tuple(found), known.get(host)) for host, found in by_host.items()
    )
    return FromRecordings(
        hosts, market=market, raw_streams=raw_streams, streams=streams, symbols=symbols
    )


def _host_file(text: str) -> tuple[str, Path]:
    host, equals, file = text.partition("=")
    if not equals or not file or not _HOST.fullmatch(host):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST=FILE, such as tokyo-a=frames.gz")
    return host, Path(file)


def _clock_bound(text: str) -> tuple[str, float]:
    host, _, duration = text.partition("=")
    found = _BOUND.fullmatch(duration)
    if not _HOST.fullmatch(host) or found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST=DURATION, such as tokyo-a=50us")
    return host, float(found[1]) * _UNITS_SEC[found[2]]
