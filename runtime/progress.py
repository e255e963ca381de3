"""A progress bar with the time left on a terminal; plain lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, Progress, TextColumn

from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console

_LOG: Final = logs.logger(__name__)
_SEC_PER_MIN: Final = 60
_MIN_PER_HOUR: Final = 60


class Meter:
    """Shows how far something has come; a context manager around the part that is shown."""

    def __init__(self, console: Console) -> None:
        """Prepare to show on a console."""
        self._console = console
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[left]}"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=1.0, left="")
        self._said: str | None = None

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, text: str, share: float, left_sec: float | None = None) -> None:
        """Show the newest state.

        Args:
            text: what is going on; without a terminal a line is printed when it changes.
            share: how much is done, 0 to 1.
            left_sec: how long it will still take, or None if nobody knows.
        """
        left = "" if left_sec is None else f"{duration(left_sec)} to go"
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=share, left=left)
        if text == self._said:
            return
        self._said = text
        line = f"{text}{', ' if left else ''}{left}"
        if self._bar is None:
            self.say(line)
        else:
            _LOG.info(line)

    def say(self, line: str) -> None:
        """Print a line that stays, and log it."""
        _LOG.info(line)
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s` or `12 s`."""
    minutes, sec = divmod(max(0, round(seconds)), _SEC_PER_MIN)
    hours, minutes = divmod(minutes, _MIN_PER_HOUR)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {sec:02d} s" if minutes else f"{sec} s"
