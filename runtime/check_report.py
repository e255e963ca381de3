"""Results of checks as a screen or as JSON, for every `doctor`."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from latency_sweep.runtime import standard_output
from latency_sweep.runtime.check_result import CheckResult, CheckStatus
from latency_sweep.runtime.printable import printable_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

JSON_VERSION: Final = 1
WIDTH: Final = 100
_WIDEST: Final = 120
_STYLES: Final = {
    CheckStatus.PASS: "green",
    CheckStatus.WARN: "yellow",
    CheckStatus.FAIL: "bold red",
    CheckStatus.SKIP: "dim",
}
_NOT_AS_EXPECTED: Final = (CheckStatus.FAIL, CheckStatus.WARN)  # worst first


def show(results: Sequence[CheckResult], *, program: str, as_json: bool) -> bool:
    """Print the results on standard output, with colors on a terminal that wants them.

    Args:
        results: what to print.
        program: its name, for an error.
        as_json: as JSON instead of a table.

    Returns:
        Whether no check failed.
    """
    if as_json:
        report = render_json(results)
    else:
        terminal = sys.stdout is not None and sys.stdout.isatty()
        report = render_text(
            results,
            color=terminal and not os.environ.get("NO_COLOR"),
            width=_width(terminal=terminal),
        )
    unwritten = standard_output.write(report)
    if unwritten is not None and not isinstance(unwritten, BrokenPipeError):
        print(f"{program}: the report cannot be written: {unwritten.strerror}.", file=sys.stderr)
    return passed(results)


def passed(results: Sequence[CheckResult]) -> bool:
    """Whether no check failed."""
    return all(result.status is not CheckStatus.FAIL for result in results)


def _width(*, terminal: bool) -> int:
    """Columns to use: lines that run across a wide screen are hard to read."""
    return min(shutil.get_terminal_size((WIDTH, 0)).columns, _WIDEST) if terminal else WIDTH


def render_text(results: Sequence[CheckResult], *, color: bool = False, width: int = WIDTH) -> str:
    """One screen: a table of results, then what to do, worst first.

    Below `WIDTH` columns what is expected is shown only where it is not met, beside what was found:
    in a column of its own it would wrap every line.
    """
    wide = width >= WIDTH
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("CHECK", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("FOUND", ratio=1, overflow="fold")
    if wide:
        table.add_column("EXPECTED", overflow="fold", style="dim")
    for result in results:
        cells = [Text(result.name), Text(result.status, style=_STYLES[result.status])]
        if wide:
            cells += [Text(result.found), Text(result.expected)]
        elif result.status in _NOT_AS_EXPECTED:
            cells.append(Text(f"{result.found}; expected: {result.expected}"))
        else:
            cells.append(Text(result.found))
        table.add_row(*cells)
    parts: list[RenderableType] = [table, Text()]
    actions = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    actions.add_column(no_wrap=True)
    actions.add_column(ratio=1, overflow="fold")
    for status in _NOT_AS_EXPECTED:
        for result in results:
            if result.status is status and result.action:
                actions.add_row(Text(result.name, style=_STYLES[status]), Text(result.action))
    if actions.row_count:
        parts += [Text("What to do", style="bold"), Padding(actions, (0, 0, 1, 2))]
    parts.append(_summary(results))
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
    )
    console.print(Group(*parts))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _summary(results: Sequence[CheckResult]) -> Text:
    counts = Counter(result.status for result in results)
    shown = [
        (f"{counts[status]} {status}", _STYLES[status]) for status in CheckStatus if counts[status]
    ]
    text = Text()
    for index, (part, style) in enumerate(shown):
        text.append(", " if index else "").append(part, style=style)
    return text


def render_json(results: Sequence[CheckResult]) -> str:
    """One document: `version` (of this form), `worst` status and `results` in order."""
    order = [CheckStatus.FAIL, CheckStatus.WARN, CheckStatus.PASS, CheckStatus.SKIP]
    worst = min((result.status for result in results), key=order.index, default=CheckStatus.SKIP)
    document = {
        "version": JSON_VERSION,
        "worst": worst,
        "results": [asdict(result) for result in results],
    }
    return printable_json(json.dumps(document, indent=2, ensure_ascii=False)) + "\n"
