"""What the user sees while a sweep runs: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from latency_sweep.contract.metrics import Phase

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console, RenderableType

_PHASE_WORDS: Final = {
    Phase.WAIT: "waiting for the first run",
    Phase.WARMUP: "warming up",
    Phase.MEASURE: "measuring",
    Phase.COOLDOWN: "cooling down",
}
_MS: Final = 1000.0
_SEC_PER_MIN: Final = 60


@dataclass(frozen=True, slots=True)
class SiteProgress:
    """One site so far.

    Attributes:
        name: as the report will call it.
        messages: received since the start.
        lost: known to be missing since the start.
        p99_sec: latency of the run under way, or None while nothing is known.
    """

    name: str
    messages: int
    lost: int
    p99_sec: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """A sweep so far.

    Attributes:
        run: number of the run under way, from 1.
        runs: how many there will be.
        phase: of that run; `wait` before the first.
        phase_left_sec: until the phase ends.
        left_sec: until the last run ends.
        elapsed_share: of the time from the first run's start to the last one's end, 0 to 1.
        sites: in the order of the experiment.
    """

    run: int
    runs: int
    phase: Phase
    phase_left_sec: float
    left_sec: float
    elapsed_share: float
    sites: tuple[SiteProgress, ...]

    @property
    def messages(self) -> int:
        """Received by all sites since the start."""
        return sum(site.messages for site in self.sites)

    @property
    def headline(self) -> str:
        """`Run 3 of 8: measuring, 12 s left; ...`."""
        run = "" if self.phase is Phase.WAIT else f"Run {self.run} of {self.runs}: "
        words = f"{run}{_PHASE_WORDS[self.phase]}, {self.phase_left_sec:.0f} s left"
        return f"{words[0].upper()}{words[1:]}; {self.messages:,} messages; {self.remaining}"

    @property
    def remaining(self) -> str:
        """`2 min 05 s to go`."""
        minutes, seconds = divmod(round(self.left_sec), _SEC_PER_MIN)
        return f"{minutes} min {seconds:02d} s to go" if minutes else f"{seconds} s to go"


class Display(Protocol):
    """Shows a sweep's progress; a context manager around the part that shows it."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing."""
        ...

    def show(self, progress: Progress) -> None:
        """Show the newest state; called about twice a second."""
        ...


class LiveDisplay:
    """A bar and a table that are redrawn in place."""

    def __init__(self, console: Console) -> None:
        """Draw on a terminal."""
        # Redrawn by `show` alone: a thread of its own would disturb what is measured.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the drawing."""
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Redraw."""
        self._live.update(_drawing(progress), refresh=True)


class LineDisplay:
    """A line whenever a phase begins, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        """Print to a stream that is no terminal."""
        self._console = console
        self._shown: tuple[int, Phase] | None = None

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to tidy up."""

    def show(self, progress: Progress) -> None:
        """Print the headline if the phase is a new one."""
        if (progress.run, progress.phase) != self._shown:
            self._shown = progress.run, progress.phase
            self._console.print(progress.headline, highlight=False, soft_wrap=True)


def display_for(console: Console) -> LiveDisplay | LineDisplay:
    """The display that suits a console."""
    # A terminal that cannot move its cursor would show nothing of what is drawn in place.
    redraws = console.is_terminal and not console.is_dumb_terminal
    return LiveDisplay(console) if redraws else LineDisplay(console)


def _drawing(progress: Progress) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("site")
    table.add_column("p99 of this run", justify="right")
    table.add_column("messages", justify="right")
    table.add_column("lost", justify="right")
    for site in progress.sites:
        p99 = "..." if site.p99_sec is None else f"{site.p99_sec * _MS:.2f} ms"
        lost = Text(f"{site.lost:,}", style="yellow" if site.lost else "")
        table.add_row(site.name, p99, f"{site.messages:,}", lost)
    bar = ProgressBar(total=1.0, completed=progress.elapsed_share, width=60)
    return Group(Text(progress.headline, style="bold"), bar, Text(), table)
