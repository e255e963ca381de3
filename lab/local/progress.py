"""What the user sees while the runs of the local stack take place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from latency_sweep.contract.metrics import Phase
from latency_sweep.runtime.progress import duration

if TYPE_CHECKING:
    from latency_sweep.runtime.progress import ProgressDisplay

_PHASE_WORDS: Final = {
    Phase.WAIT: "waiting for the first run",
    Phase.WARMUP: "warming up",
    Phase.MEASURE: "measuring",
    Phase.COOLDOWN: "cooling down",
}
_MS: Final = 1000.0


@dataclass(frozen=True, slots=True)
class SiteProgress:
    """One site so far.

    Attributes:
        name: as the report will call it.
        messages: received since the start.
        lost: known to be missing since the start.
        p99_sec: latency of the current run, or None while nothing is known.
    """

    name: str
    messages: int
    lost: int
    p99_sec: float | None


@dataclass(frozen=True, slots=True)
class DemoProgress:
    """The runs so far.

    Attributes:
        run: number of the current run, from 1.
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
        return f"{duration(self.left_sec)} to go"


def show(display: ProgressDisplay, progress: DemoProgress) -> None:
    """Show the newest state; without a terminal, a line whenever a phase begins."""
    display.show(
        progress.headline,
        progress.elapsed_share,
        step=(progress.run, progress.phase),
        below=_table(progress),
    )


def _table(progress: DemoProgress) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("site")
    table.add_column("p99 of this run", justify="right")
    table.add_column("messages", justify="right")
    table.add_column("lost", justify="right")
    for site in progress.sites:
        p99 = "..." if site.p99_sec is None else f"{site.p99_sec * _MS:.2f} ms"
        lost = Text(f"{site.lost:,}", style="yellow" if site.lost else "")
        table.add_row(site.name, p99, f"{site.messages:,}", lost)
    return table
