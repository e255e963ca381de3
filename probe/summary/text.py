"""A summary for a terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from latency_sweep.probe.summary import wording
from latency_sweep.runtime.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from latency_sweep.probe.summary.records import ProbeSummary

WIDTH: Final = 80
# From here on all columns fit.
_WIDE: Final = 100
_LEAST_NAME: Final = 12
_GAP: Final = 2
_DOUBTFUL: Final = "yellow"
_BROKEN: Final = "bold red"


def draw(
    summary: ProbeSummary, *, width: int, doing: str | None, failures: Sequence[str] = ()
) -> RenderableType:
    """Headline, table, what holds for all streams, and what is doubtful.

    Args:
        summary: what is shown.
        width: columns of the terminal.
        doing: what is going on; None if nothing follows.
        failures: conditions that are met, one sentence each.
    """
    columns = _columns(summary, width)
    below = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    below.add_column(no_wrap=True, style="dim")
    below.add_column(overflow="fold")
    for name, text in wording.facts(summary):
        below.add_row(name, text)
    parts: list[RenderableType] = [
        Text(_headline(summary, doing), style="bold"),
        Text(),
        _table(summary, columns, width),
        Text(),
        below,
    ]
    if doing is None:
        parts += [Text(), Text(wording.legend(columns), style="dim")]
    sentences = [(each, _BROKEN) for each in failures]
    sentences += [(each, _DOUBTFUL) for each in wording.warnings(summary, ended=doing is None)]
    if sentences:
        parts.append(Text())
    parts += [Text(f"! {text}", style=style) for text, style in sentences]
    return Group(*parts)


def render(summary: ProbeSummary, *, width: int, color: bool, failures: Sequence[str] = ()) -> str:
    """The final table as text of lines without trailing spaces."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
    )
    console.print(draw(summary, width=width, doing=None, failures=failures))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _headline(summary: ProbeSummary, doing: str | None) -> str:
    where = f"{summary.market} at {printable(summary.endpoint)}"
    measured = wording.measured(summary)
    return f"{where}\n{measured}" if doing is None else f"{where}\n{doing}; {measured}"


def _columns(summary: ProbeSummary, width: int) -> Sequence[wording.SummaryColumn]:
    """As many columns as there is room for beside a short name: half a number would be wrong."""
    columns: Sequence[wording.SummaryColumn] = wording.COLUMNS if width >= _WIDE else wording.NARROW
    while len(columns) > 1 and _LEAST_NAME + _needed(summary, columns) > width:
        columns = columns[:-1]
    return columns


def _widths(summary: ProbeSummary, columns: Sequence[wording.SummaryColumn]) -> list[int]:
    return [
        max(len(column.heading), *(len(column.of(stream)) for stream in summary.streams))
        for column in columns
    ]


def _needed(summary: ProbeSummary, columns: Sequence[wording.SummaryColumn]) -> int:
    """Characters that columns take with the gaps before them."""
    return sum(_widths(summary, columns)) + _GAP * len(columns)


def _table(summary: ProbeSummary, columns: Sequence[wording.SummaryColumn], width: int) -> Table:
    names = [printable(stream.name) for stream in summary.streams]
    room = max(_LEAST_NAME, width - _needed(summary, columns))
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    table.add_column(
        "stream", no_wrap=True, overflow="ellipsis", width=min(max(map(len, names)), room)
    )
    for column, needed in zip(columns, _widths(summary, columns), strict=True):
        table.add_column(column.heading, justify="right", no_wrap=True, width=needed)
    for name, stream in zip(names, summary.streams, strict=True):
        table.add_row(Text(name), *(Text(column.of(stream)) for column in columns))
    return table
