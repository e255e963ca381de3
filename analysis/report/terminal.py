"""Drawing on a terminal of any width: tables where they fit, else one block per row."""

from __future__ import annotations

import io
import re
import shutil
from typing import TYPE_CHECKING, Final

from rich.box import Box
from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from latency_sweep.analysis.report.tables import CellKind
from latency_sweep.analysis.report.words.printable import NO_BREAK, glued

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latency_sweep.analysis.report.tables import Column, Table

# Where the width of the terminal is not known, as in a file or a pipe.
DEFAULT_WIDTH: Final = 100
NARROWEST: Final = 30
# Longer lines are hard to read, on however wide a screen.
_WIDEST: Final = 180
_INDENT: Final = 2
_STYLES: Final = {"P": "green", "F": "bold red", "I": "yellow"}
# No lines but one under the heading.
_RULED: Final = Box("\n".join(("    ", "    ", " -- ", *["    "] * 5)) + "\n", ascii=True)
_FOLDABLE: Final = {CellKind.NAME, CellKind.WORDS, CellKind.STATUS}
_GAP: Final = 2
_NARROWEST_NAME: Final = 14
_UNBOUNDED: Final = 10_000
_GAPS: Final = re.compile(r"\n{3,}")
# Where a name may be broken: after a slash or a blank.
_JOINTS: Final = re.compile(r"(?<=[/ ])")


class Page:
    """Text for a terminal, collected into a string.

    Attributes:
        width: columns.
    """

    def __init__(self, width: int, *, color: bool) -> None:
        """Start an empty page."""
        self.width = max(NARROWEST, width)
        self._file = io.StringIO()
        self._console = Console(
            file=self._file,
            width=self.width,
            force_terminal=color,
            # Rich consults the environment where it is not told; the caller has decided.
            color_system="standard" if color else None,
            no_color=not color,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
            _environ={},
        )

    def text(self) -> str:
        """Everything written so far, without blanks at line ends and more than one empty line."""
        lines = "\n".join(line.rstrip() for line in self._file.getvalue().splitlines())
        return _GAPS.sub("\n\n", lines).strip("\n") + "\n"

    def heading(self, words: str) -> None:
        """A section's title."""
        self._console.print()
        self._console.print(Text(words, style="bold cyan"))

    def paragraph(self, words: str, style: str = "", *, indent: int = 0) -> None:
        """Words, wrapped at blanks; numbers and their units stay whole."""
        self.item("", words, style, indent=indent)

    def item(self, mark: str, words: str, style: str = "", *, indent: int = 0) -> None:
        """Words that hang beside a mark."""
        start = " " * indent + (f"{mark} " if mark else "")
        for number, line in enumerate(wrap(words, self.width - len(start))):
            head = start if number == 0 else " " * len(start)
            self._line(Text.assemble((head, _STYLES.get(mark, "")), (line, style)))

    def items(self, lines: Iterable[str], mark: str = "-") -> None:
        """A list."""
        for line in lines:
            self.item(mark, line, indent=_INDENT)

    def verbatim(self, lines: str) -> None:
        """Lines to be copied: as they are, however long."""
        for line in lines.splitlines():
            self._line(Text(f"  {line}", style="dim"))

    def table(self, *parts: Table) -> None:
        """A table; as several, where all columns do not fit; as blocks where none does.

        Args:
            parts: the table that is preferred, then what to draw instead where it is too wide,
                each drawn after the other.
        """
        whole, *instead = parts
        if not whole.rows:
            return
        if instead and not self._fits(whole, folded=False):
            for number, part in enumerate(instead):
                if number:
                    self._console.print()
                self._table_or_blocks(part)
        else:
            self._table_or_blocks(whole)
        for note in whole.notes:
            self.paragraph(note, "dim", indent=_INDENT)

    def _table_or_blocks(self, table: Table) -> None:
        if self._fits(table, folded=True):
            self._console.print(self._drawn(table, folded=not self._fits(table, folded=False)))
        else:
            self._blocks(table)

    def _fits(self, table: Table, *, folded: bool) -> bool:
        drawn = self._drawn(table, folded=folded)
        unbounded = self._console.options.update(width=_UNBOUNDED)
        return Measurement.get(self._console, unbounded, drawn).maximum <= self.width

    def _drawn(self, table: Table, *, folded: bool) -> RichTable:
        """No column ever shrinks; if `folded`, names are folded beforehand to the room left."""
        rooms = self._rooms(table) if folded else {}
        drawn = RichTable(
            box=_RULED,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            header_style="bold",
        )
        for column in table.columns:
            drawn.add_column(
                column.title,
                justify="right" if column.kind is CellKind.NUMBER else "left",
                no_wrap=True,
            )
        for row in table.rows:
            drawn.add_row(
                *(
                    Text(
                        "\n".join(fold(cell, rooms[index])) if index in rooms else cell,
                        style=_style(column, cell),
                    )
                    for index, (column, cell) in enumerate(zip(table.columns, row, strict=True))
                )
            )
        return drawn

    def _rooms(self, table: Table) -> dict[int, int]:
        """Width of each column that may be folded: what it needs, or a fair share of the rest."""
        needs = [
            max(cell_len(text) for text in (column.title, *(row[i] for row in table.rows)))
            for i, column in enumerate(table.columns)
        ]
        foldable = [i for i, c in enumerate(table.columns) if c.kind in _FOLDABLE]
        rest = self.width - sum(needs) + sum(needs[i] for i in foldable)
        rest -= _GAP * (len(table.columns) - 1)
        rooms = {}
        for done, index in enumerate(sorted(foldable, key=lambda i: needs[i])):
            fair = max(_NARROWEST_NAME, rest // (len(foldable) - done))
            rooms[index] = min(needs[index], fair)
            rest -= rooms[index]
        return rooms

    def _blocks(self, table: Table) -> None:
        labels = max(len(column.title) for column in table.columns)
        for row in table.rows:
            self._console.print()
            for column, cell in zip(table.columns, row, strict=True):
                label = f"{column.title:<{labels}}  "
                for number, line in enumerate(fold(cell, self.width - len(label))):
                    head = label if number == 0 else " " * len(label)
                    self._line(Text.assemble((head, "dim"), (line, _style(column, cell))))

    def _line(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


def terminal_width() -> int:
    """Columns of the terminal, within reason; `COLUMNS` overrules it."""
    return min(_WIDEST, shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns)


def wrap(words: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken at blanks, but not between number and unit."""
    lines = [""]
    for word in glued(words).split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines += fold(word, width)
    return [line.replace(NO_BREAK, " ") for line in lines if line] or [""]


def fold(name: str, width: int) -> list[str]:
    """A name in lines of at most `width` columns, broken after slashes and blanks if there are."""
    lines = [""]
    for part in _JOINTS.split(name):
        if lines[-1] and cell_len(lines[-1]) + cell_len(part.rstrip()) > width:
            lines.append("")
        line = lines.pop() + part
        lines += [line] if cell_len(line.rstrip()) <= width else chop_cells(line, width)
    return [line.rstrip() for line in lines if line.rstrip()] or [""]


def _style(column: Column, cell: str) -> str:
    return _STYLES.get(cell[:1], "") if column.kind is CellKind.STATUS else ""
