"""Which exit code tells which verdict."""

from __future__ import annotations

from typing import Final

from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.contract.exit_codes import ExitCode

OF_VERDICT: Final[dict[VerdictKind, ExitCode]] = {
    VerdictKind.WINNER: ExitCode.DONE,
    VerdictKind.SHORTLIST: ExitCode.SHORTLIST,
    VerdictKind.TIE: ExitCode.TIE,
    VerdictKind.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    VerdictKind.NONE_PASSES: ExitCode.NONE_PASSES,
}
