"""What can go wrong in a sweep on AWS."""

from __future__ import annotations

from latency_sweep.contract.exit_codes import ExitCode


class SweepError(Exception):
    """A command cannot go on; the message is one sentence fit to be shown.

    Attributes:
        code: exit code of the command.
    """

    code: ExitCode = ExitCode.BAD_INPUT
