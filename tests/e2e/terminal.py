"""A command in a terminal of its own, looked at and typed into from outside."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

_WITHIN_SEC = 60
# Much longer than the parts of a screen are apart, much shorter than screens are.
_QUIET_SEC = 0.2
# Each screen is drawn from here.
_HOME = b"\x1b[H"
# Makes the terminal the one that Ctrl-C comes from, as a login does.
_LOGIN = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """A running command; killed at the end of the context if it still runs.

    Attributes:
        process: the command.
        seen: the last screen that was waited for, and what it has shown since.
    """

    def __init__(self, command: Sequence[str | Path], *, columns: int = 80) -> None:
        self._controller, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (24, columns))
        self._settings = termios.tcgetattr(terminal)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _LOGIN, *command],
                stdin=terminal,
                stdout=terminal,
                # The terminal's own size counts, not that of the one the tests run in.
                env={k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}},
            )
        finally:
            # Kept open, its settings outlive the command.
            self._terminal = terminal
        self.seen = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._terminal)
        os.close(self._controller)

    def wait_for(self, text: bytes, without: bytes | None = None) -> None:
        """Read on until it draws a screen with one text and not another."""
        deadline = time.monotonic() + _WITHIN_SEC
        self.seen = b""
        while True:
            assert time.monotonic() < deadline, self.seen
            assert self.process.poll() is None, self.seen
            # What has come when nothing does for a moment ends with a screen, or with the first
            # part of one whose writer waits for a processor.
            if self._read(1):
                while self._read(_QUIET_SEC):
                    pass
            self.seen = self.seen[max(0, self.seen.rfind(_HOME)) :]
            if text in self.seen and (without is None or without not in self.seen):
                return

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._controller, keys)

    def exit_code(self) -> int:
        """Read on until it ends."""
        deadline = time.monotonic() + _WITHIN_SEC
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.seen
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.returncode

    @property
    def settings_changed(self) -> list[tuple[Any, Any]]:
        """Settings of the terminal, then and now, that are not as before the command."""
        now = termios.tcgetattr(self._terminal)
        return [pair for pair in zip(self._settings, now, strict=True) if pair[0] != pair[1]]

    def _read(self, within_sec: float) -> bool:
        if not select.select([self._controller], [], [], within_sec)[0]:
            return False
        self.seen += os.read(self._controller, 65536)
        return True
