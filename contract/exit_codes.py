"""Exit codes of every command: one table, one meaning for each code.

docs/exit-codes.md adds what to do; `--help` of each command lists those it can return.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """Exit codes. 3 to 5 and 16 are the verdicts of `analyze` that name no winner."""

    DONE = 0
    CHECK_FAILED = 1
    BAD_INPUT = 2
    TIE = 3
    INCONCLUSIVE = 4
    NONE_PASSES = 5
    NO_DATA = 6
    PROMETHEUS_FAILED = 7
    PREFLIGHT_FAILED = 8
    AWS_FAILED = 9
    TERRAFORM_FAILED = 10
    NOT_READY = 11
    LEFTOVERS = 12
    CANNOT_LISTEN = 13
    ADVISORIES_FAILED = 14
    EXCHANGE_UNREACHABLE = 15
    SHORTLIST = 16
    STACK_FAILED = 69
    INTERNAL_ERROR = 70
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.DONE: "success",
    ExitCode.CHECK_FAILED: "a check failed",
    ExitCode.BAD_INPUT: "invalid option, file or order of commands",
    ExitCode.TIE: "tie: several candidates are equally good",
    ExitCode.INCONCLUSIVE: "inconclusive: not enough evidence yet",
    ExitCode.NONE_PASSES: "no candidate meets every constraint",
    ExitCode.NO_DATA: "no data: no matching probe, finished run or message yet",
    ExitCode.PROMETHEUS_FAILED: "Prometheus is unreachable or rejected a query",
    ExitCode.PREFLIGHT_FAILED: "preflight found a problem; nothing was created",
    ExitCode.AWS_FAILED: "AWS is unreachable or rejected a request",
    ExitCode.TERRAFORM_FAILED: "Terraform failed or is not installed",
    ExitCode.NOT_READY: "some probes were not ready in time",
    ExitCode.LEFTOVERS: "tagged resources remain, or a region could not be checked",
    ExitCode.CANNOT_LISTEN: "cannot listen on the given address and port",
    ExitCode.ADVISORIES_FAILED: "the advisory database could not be queried",
    ExitCode.EXCHANGE_UNREACHABLE: "the exchange cannot be reached",
    ExitCode.SHORTLIST: "shortlist: the best is among several candidates",
    ExitCode.STACK_FAILED: "a process of the local stack failed",
    ExitCode.INTERNAL_ERROR: "internal error; please report it",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C (SIGINT)",
    ExitCode.TERMINATED: "terminated by SIGTERM",
}


def table(*codes: ExitCode, success: str = MEANINGS[ExitCode.DONE]) -> str:
    """The codes that a command can return, one line each, for its `--help`.

    Args:
        codes: beside 0, which every command can return.
        success: what 0 means for this command.
    """
    meanings = MEANINGS | {ExitCode.DONE: success}
    lines = (f"  {code.value:>3}  {meanings[code]}" for code in sorted({ExitCode.DONE, *codes}))
    return "exit codes:\n" + "\n".join(lines) + "\n"
