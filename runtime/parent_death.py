"""Run a program that ends when its parent does.

    python parent_death.py PARENT_PID PRIORITY PROGRAM ...

A file to be executed, not imported: it replaces itself by the program. (Doing the same between
fork and exec is not safe in a parent with threads.) The priority is `first`, `prompt`,
`normal` or `patient`, see `latency_sweep.runtime.child.Priority`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PATIENT_NICENESS = 10
_REAL_TIME = {"first": 2, "prompt": 1}


def main() -> None:
    """Ask the kernel for SIGKILL when the parent ends, where it can do that, then exec."""
    parent, priority, program = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    # Held back by a parent that was not to be interrupted while it started this.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if priority in _REAL_TIME:
            with contextlib.suppress(PermissionError):  # only root may ask for that
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_REAL_TIME[priority]))
    if priority == "patient":
        os.nice(_PATIENT_NICENESS)
    if os.getppid() != parent:  # it ended before the kernel was asked
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - the program is the whole point


if __name__ == "__main__":
    main()
