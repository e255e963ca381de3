"""What can go wrong in a sweep on AWS, and the exit code that tells it."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """Exit codes of the AWS commands. 1 is left to the interpreter, 2 is argparse's own."""

    DONE = 0
    BAD_INPUT = 2
    NO_DATA = 6
    PROMETHEUS_FAILED = 7
    PREFLIGHT_FAILED = 8
    AWS_FAILED = 9
    TERRAFORM_FAILED = 10
    NOT_READY = 11
    LEFTOVERS = 12
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.DONE: "done",
    ExitCode.BAD_INPUT: "an option, a file or the order of commands is wrong",
    ExitCode.NO_DATA: "Prometheus has no finished run of this sweep",
    ExitCode.PROMETHEUS_FAILED: "Prometheus cannot be reached or did not answer",
    ExitCode.PREFLIGHT_FAILED: "something is missing; nothing was created",
    ExitCode.AWS_FAILED: "AWS could not be asked, or refused",
    ExitCode.TERRAFORM_FAILED: "Terraform failed or is not installed",
    ExitCode.NOT_READY: "not every probe got ready in time",
    ExitCode.LEFTOVERS: "tagged resources are left, or a region could not be asked",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C; the same command goes on from there",
    ExitCode.TERMINATED: "stopped by SIGTERM; the same command goes on from there",
}


class SweepError(Exception):
    """A command cannot go on; the message is one sentence fit to be shown.

    Attributes:
        code: exit code of the command.
    """

    code: ExitCode = ExitCode.BAD_INPUT


def table(codes: tuple[ExitCode, ...]) -> str:
    """Codes and their meanings, one line each, for `--help`."""
    return "\n".join(f"  {code.value:<4} {MEANINGS[code]}" for code in codes)
