"""The table of how much later the same events arrive at one host than at another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.report.tables import CellKind, Column, Table
from latency_sweep.analysis.report.words import figures

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Verdict

TITLE: Final = "The same events at two hosts"
_NOTE: Final = (
    "Receive time at the second host minus that at the first, in µs, event by event: the exchange's"
    " clock and delay cancel out. Runs: least and greatest median of a run. Clocks: by how much"
    " those of the two hosts together may falsify all of it; - where it is not known."
)


def same_events(verdict: Verdict) -> Table:
    """A row per pair of hosts; without rows if the source does not tell events apart."""
    columns = (
        Column("first", CellKind.NAME),
        Column("second", CellKind.NAME),
        Column("events"),
        Column("first ahead"),
        Column("p1"),
        Column("p50"),
        Column("p99"),
        Column("runs"),
        Column("clocks ±"),
    )
    rows = tuple(
        (
            found.first,
            found.second,
            figures.whole(found.events),
            figures.share(found.first_ahead_ratio),
            *(_microseconds(q) for q in (found.p01_sec, found.p50_sec, found.p99_sec)),
            " to ".join(_microseconds(f(found.run_medians_sec)) for f in (min, max)),
            _microseconds(found.clock_bound_sec).removeprefix("+"),
        )
        for found in verdict.same_events
    )
    return Table(columns, rows, (_NOTE,))


def _microseconds(seconds: float | None) -> str:
    """A difference in µs with its sign, exact to 0.1: `+137.5`."""
    return figures.UNKNOWN if seconds is None else f"{seconds * 1e6:+,.1f}"
