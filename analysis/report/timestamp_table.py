"""The table of what late receive timestamps can explain of each latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.analysis.report.tables import CANDIDATE, CellKind, Column, Table
from latency_sweep.analysis.report.words import figures

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Verdict


def timestamps(verdict: Verdict) -> Table:
    """Each candidate's latencies with the largest part that can be the probe's own.

    Without rows if no probe says it.
    """
    columns = (
        CANDIDATE,
        Column("timestamps", CellKind.WORDS),
        *(
            Column(title)
            for quantile in ("p50", "p99", "p99.9")
            for title in (quantile, f"late {quantile}")
        ),
    )
    rows = tuple(
        (
            row.name,
            ", ".join(row.timestamp_kinds) or figures.UNKNOWN,
            figures.milliseconds(row.p50_sec),
            figures.milliseconds(row.p50_lateness_sec),
            figures.milliseconds(row.p99_sec),
            figures.milliseconds(row.p99_lateness_sec),
            figures.milliseconds(row.p999_sec),
            figures.milliseconds(row.p999_lateness_sec),
        )
        for row in verdict.ranking
    )
    if all(row.p99_lateness_sec is None for row in verdict.ranking):
        rows = ()
    note = (
        "Latencies in ms; late: the largest part of each that can be the probe's own, because"
        " receive timestamps may be late; - where it is not known."
    )
    return Table(columns, rows, (note,))
