"""Progress of a long task: redrawn in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from latency_sweep.runtime import logs
from latency_sweep.runtime.printable import printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from rich.console import Console, RenderableType

_BAR_WIDTH: Final = 60
_LOG: Final = logs.logger(__name__)
_SEC_PER_MIN: Final = 60
_MIN_PER_HOUR: Final = 60


class ProgressDisplay:
    """Shows how far something has come; a context manager around the part that is shown."""

    def __init__(self, console: Console) -> None:
        """Prepare to show on a console."""
        self._report = reporter(console)
        # A terminal that cannot move its cursor would show nothing of what is drawn in place.
        redraws = console.is_terminal and not console.is_dumb_terminal
        # Redrawn by `show` alone: a thread of its own would disturb what is measured here.
        self._live = Live(console=console, auto_refresh=False, transient=True) if redraws else None
        self._step: object = None

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

    def show(
        self, text: str, share: float, *, step: object = None, below: RenderableType | None = None
    ) -> None:
        """Show the newest state.

        Args:
            text: what is going on, in one line.
            share: how much is done, 0 to 1.
            step: what the line is about; without a terminal, the line is printed when this
                changes. The text itself if None.
            below: drawn below the bar, on a terminal only.
        """
        if self._live is not None:
            bar = ProgressBar(total=1.0, completed=share, width=_BAR_WIDTH)
            rest = () if below is None else (Text(), below)
            self._live.update(Group(Text(text, style="bold"), bar, *rest), refresh=True)
        step = text if step is None else step
        if step == self._step:
            return
        self._step = step
        if self._live is not None:
            _LOG.info(text)
        else:
            self._report(text)

    def report(self, line: str) -> None:
        """Print a line that stays."""
        self._report(line)


def reporter(console: Console) -> Callable[[str], None]:
    """Prints lines without rich's markup, colours and wrapping, and logs them.

    What cannot be seen in a line is written as its escape: others may have chosen a part of it.
    """

    def report(line: str) -> None:
        _LOG.info(line)
        console.print(printable_lines(line), markup=False, highlight=False, soft_wrap=True)

    return report


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s` or `12 s`."""
    minutes, sec = divmod(max(0, round(seconds)), _SEC_PER_MIN)
    hours, minutes = divmod(minutes, _MIN_PER_HOUR)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {sec:02d} s" if minutes else f"{sec} s"
