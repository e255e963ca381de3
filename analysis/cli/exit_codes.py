"""What `analyze` tells the program that called it."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from latency_sweep.analysis.decision.verdict import VerdictKind


class ExitCode(IntEnum):
    """Exit codes of `analyze`. 1 is left to the interpreter, 2 is argparse's own."""

    DECIDED = 0
    BAD_INPUT = 2
    TIE = 3
    INCONCLUSIVE = 4
    NONE_PASSES = 5
    NO_DATA = 6
    PROMETHEUS_FAILED = 7
    AWS_FAILED = 8
    INTERNAL_ERROR = 70
    INTERRUPTED = 130


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.DECIDED: "there is a winner; or what was asked for was done",
    ExitCode.BAD_INPUT: "an option, a file or the selection is wrong",
    ExitCode.TIE: "several places are equally good",
    ExitCode.INCONCLUSIVE: "there is not enough evidence yet",
    ExitCode.NONE_PASSES: "every place breaks a hard limit",
    ExitCode.NO_DATA: "there is no data, or no run has ended yet",
    ExitCode.PROMETHEUS_FAILED: "Prometheus cannot be reached or did not answer the queries",
    ExitCode.AWS_FAILED: "AWS cannot be reached or did not give its prices",
    ExitCode.INTERNAL_ERROR: "a fault of this program",
    ExitCode.INTERRUPTED: "interrupted from the keyboard",
}

OF_VERDICT: Final[dict[VerdictKind, ExitCode]] = {
    VerdictKind.WINNER: ExitCode.DECIDED,
    VerdictKind.TIE: ExitCode.TIE,
    VerdictKind.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    VerdictKind.NONE_PASSES: ExitCode.NONE_PASSES,
}


def table() -> str:
    """The codes and their meanings, one line each, for `--help`."""
    return "\n".join(f"  {code.value:>3}  {MEANINGS[code]}" for code in ExitCode)
