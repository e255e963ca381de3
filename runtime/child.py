"""Child processes that cannot outlive the stack.

Each child leads a process group of its own, so that Ctrl-C reaches only the parent, which then
stops its children in order, and so that a child's own children are ended with it. On Linux the
kernel ends a child whose parent dies without a chance to clean up.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

_POLL_SEC: Final = 0.02
_STOP_WITHIN_SEC: Final = 10.0
_LAST_LINES: Final = 5
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
_PARENT_DEATH: Final = Path(__file__).with_name("parent_death.py")


class Priority(StrEnum):
    """How urgently a child needs a processor.

    Whenever the exchange or a probe has to wait for one, latencies grow: the kernel gives bytes
    that are read together the timestamp of the last ones. Everything else can wait, so it is given
    a lower priority, and where it is allowed, those two get a real-time one. The exchange comes
    first: while a probe encodes a scrape, messages must still leave on time.
    """

    FIRST = "first"
    PROMPT = "prompt"
    NORMAL = "normal"
    PATIENT = "patient"


def bound_to_parent(
    command: Sequence[str | Path], priority: Priority = Priority.NORMAL
) -> list[str | Path]:
    """A command that starts another one, whose program has a path, and ends with this process."""
    return [sys.executable, "-I", "-S", _PARENT_DEATH, str(os.getpid()), priority, *command]


class ChildError(Exception):
    """A child could not start, died early or did not get ready; the message quotes its log.

    Attributes:
        exit_code: what it ended with, or None if it did not end by itself.
        last_line: of its log, or empty.
    """

    def __init__(self, message: str, *, exit_code: int | None = None, last_line: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.last_line = last_line


class Child:
    """One running child process. Start and stop it from the main thread.

    Attributes:
        name: what the user calls it.
        output: file with its standard output.
        log: file with its standard error.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        priority: Priority = Priority.NORMAL,
    ) -> None:
        """Start a command.

        Args:
            name: also names the files in `folder`.
            command: program and arguments.
            folder: where its output goes; exists.
            environment: all its variables; those of this process if None.
            priority: how urgently it needs a processor.

        Raises:
            ChildError: the program cannot be started.
        """
        self.name = name
        self.output = folder / f"{name}.out"
        self.log = folder / f"{name}.log"
        program = shutil.which(command[0])
        if program is None:
            raise ChildError(f"{name} cannot be started: there is no program {command[0]}.")
        with self.output.open("wb") as output, self.log.open("wb") as log:
            # What asks this process to stop waits until the new one can be stopped, too. That
            # begins with the signals held back, and lets them through itself.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own programs
                    bound_to_parent([program, *command[1:]], priority),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=log,
                    env=environment,
                    process_group=0,
                )
            finally:
                self._let_through(before)

    def __enter__(self) -> Self:
        """Return the child itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the child."""
        self.stop()

    @property
    def pid(self) -> int:
        """Process id, also the id of its process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise if the child has ended.

        Raises:
            ChildError: with its exit code, its log's path and last lines.
        """
        code = self._process.poll()
        if code is not None:
            ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise ChildError(
                f"{self.name} {ended}; {self.evidence()}",
                exit_code=code,
                last_line=self.last_line(),
            )

    def wait_until(self, ready: Callable[[], bool], *, within_sec: float, what: str) -> None:
        """Wait for a condition while the child runs.

        Args:
            ready: the condition, cheap to ask.
            within_sec: how long to wait.
            what: what is waited for, for the error.

        Raises:
            ChildError: the child ended, or the time is up.
        """
        deadline = time.monotonic() + within_sec
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ChildError(
                    f"{self.name} did not {what} within {within_sec:g} s; {self.evidence()}"
                )
            time.sleep(_POLL_SEC)

    def wait(self, *, within_sec: float) -> int:
        """Wait for the child to end by itself, and return its exit code.

        Raises:
            ChildError: the time is up.
        """
        try:
            return self._process.wait(within_sec)
        except subprocess.TimeoutExpired as error:
            raise ChildError(
                f"{self.name} did not end within {within_sec:g} s; {self.evidence()}"
            ) from error

    def ask_to_stop(self) -> None:
        """Send SIGTERM and return at once; `stop` then waits."""
        if self.running:
            self._process.terminate()

    def stop(self) -> None:
        """End the child and everything it started, gently first. Harmless when it has ended."""
        self.ask_to_stop()
        try:
            self._process.wait(_STOP_WITHIN_SEC)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing of it is left
            os.killpg(self._process.pid, signal.SIGKILL)

    def evidence(self) -> str:
        """Where its log is and how it ends, as the second half of a sentence."""
        tail = self._log_lines()
        if not tail:
            return f"its log {self.log} is empty."
        quoted = "\n".join(f"  {line}" for line in tail[-_LAST_LINES:])
        return f"its log {self.log} ends with:\n{quoted}"

    def last_line(self) -> str:
        """The last line of its log: the sentence with which our own commands end; or empty."""
        return (self._log_lines() or [""])[-1]

    def _let_through(self, mask: Iterable[int]) -> None:
        """Take the signals that have waited; what they raise finds nothing running."""
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        except BaseException:
            if hasattr(self, "_process"):
                self.stop()
            raise

    def _log_lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
