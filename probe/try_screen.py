"""Where `probe try` shows what it measures meanwhile: redrawn on a terminal, else a line or two."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from latency_sweep.probe.summary import text
from latency_sweep.runtime.printable import printable

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, TextIO

    from latency_sweep.probe.summary.records import ProbeSummary


def wants_color(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that shows colors and a user who wants them."""
    terminal = stream is not None and stream.isatty()
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Screen:
    """Shows the newest numbers; a context manager.

    On standard error if the preferred stream is no terminal. If neither is one that can be redrawn,
    a line on standard error says what is going on whenever that changes.

    Args:
        preferred: where to show them.
    """

    def __init__(self, preferred: TextIO | None) -> None:
        self._live: Live | None = None
        self._reported = ""
        for stream in (preferred, sys.stderr):
            if stream is None or not stream.isatty():
                continue
            console = Console(file=stream, highlight=False)
            if not console.is_dumb_terminal:
                # Redrawn by `show` alone: a thread of its own would disturb what is measured here.
                self._live = Live(console=console, auto_refresh=False, transient=True)
                break

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what is drawn in place."""
        if self._live is not None:
            self._live.stop()

    def show(self, summary: ProbeSummary, doing: str) -> None:
        """Show the newest numbers.

        Args:
            summary: the numbers.
            doing: what is going on, and after a comma for how long.
        """
        if self._live is not None:
            width = self._live.console.width
            self._live.update(text.draw(summary, width=width, doing=doing), refresh=True)
            return
        state, _, left = doing.partition(", ")
        if state != self._reported and sys.stderr is not None:
            self._reported = state
            until = f", {left}" if left else ""
            names = [stream.name for stream in summary.streams]
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            line = f"{state}{until}: {names[0]}{more} of {summary.market} at {summary.endpoint}"
            print(f"probe: {printable(line)}", file=sys.stderr, flush=True)
