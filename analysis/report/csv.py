"""The ranking as CSV (RFC 4180): one row per candidate, empty where a number is not known.

Names are chosen by others. Spreadsheets take a text that begins like a formula for one, quoted or
not, so that such a text gets an apostrophe in front; they show the rest as text.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.analysis.report.json import as_json
from latency_sweep.contract.targets import CANDIDATE_LABELS
from latency_sweep.runtime.printable import printable

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.results import Interval
    from latency_sweep.analysis.decision.verdict import CandidateRow, Verdict

CONSTRAINTS: Final = ("p99", "tail_ratio", "reconnects", "loss", "samples", "runs", "clock")
# What a formula begins with; the last four are the full-width forms of the first.
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_PLAIN: Final = (
    "samples",
    "p50_sec",
    "p90_sec",
    "p95_sec",
    "p99_sec",
    "p999_sec",
    "p50_lateness_sec",
    "p99_lateness_sec",
    "p999_lateness_sec",
    "mean_sec",
    "sd_sec",
    "cv",
    "clock_error_bound_sec",
    "negative",
    "messages",
    "lost",
    "never_sent",
    "reconnects",
    "hours",
    "runs_used",
    "runs_excluded",
    "score",
    "score_p99_part",
    "score_stability_part",
    "adjusted_score",
    "usd_per_hour",
)


def render_csv(verdict: Verdict) -> str:
    """One row per candidate, best first, under a heading that is always the same."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    for row in verdict.ranking:
        cells = as_json(_row(row, verdict))
        writer.writerow({name: _as_text(value) for name, value in cells.items()})
    return file.getvalue()


def _row(row: CandidateRow, verdict: Verdict) -> dict[str, Any]:
    against = {c.rival: c for c in verdict.comparisons}.get(row.name)
    statuses = {c.name: c.status for c in row.constraints}
    return {
        "rank": row.rank,
        "candidate": row.name,
        **{name: row.candidate.get(name) for name in CANDIDATE_LABELS},
        "verdict": verdict.kind,
        "status": row.status,
        **{f"constraint_{name}": statuses.get(name) for name in CONSTRAINTS},
        **{name: getattr(row, name) for name in _PLAIN},
        **_ends("p99", row.p99_interval),
        **_ends("p999", row.p999_interval),
        "shift_to_leader_sec": against and against.shift_sec,
        "p_holm": against and against.p_holm,
        "pairs": against and against.pairs,
        "relation": against and against.relation,
    }


def _as_text(cell: Any) -> Any:
    """The cell, unless it is a text that a spreadsheet would calculate."""
    if not isinstance(cell, str):
        return cell
    visible = printable(cell)
    return f"'{visible}" if cell.lstrip().startswith(_FORMULA) else visible


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {
        f"{name}_low_sec": interval.low if interval else None,
        f"{name}_high_sec": interval.high if interval else None,
    }


COLUMNS: Final = (
    "rank",
    "candidate",
    *CANDIDATE_LABELS,
    "verdict",
    "status",
    *(f"constraint_{name}" for name in CONSTRAINTS),
    *_PLAIN,
    *_ends("p99", None),
    *_ends("p999", None),
    "shift_to_leader_sec",
    "p_holm",
    "pairs",
    "relation",
)
