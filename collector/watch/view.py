"""A snapshot of a sweep as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from latency_sweep.collector.watch.live import COUNTED_OVER, isoformat
from latency_sweep.contract.metrics import Phase
from latency_sweep.runtime.printable import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from latency_sweep.collector.watch.live import CandidateState, Snapshot
    from latency_sweep.contract.experiment import Constraints

# From here on there is room for the region of each candidate and a longer trend.
WIDE: Final = 120
# Below this a candidate could not be told from its neighbors.
_LEAST_NAME: Final = 12
# Headline, heading, legend, three empty lines, two of the problem and one for what does not fit.
_LINES_AROUND: Final = 9

_UNKNOWN: Final = "-"
_BARS: Final = "▁▂▃▄▅▆▇█"
_NARROW_TREND: Final = 9
_MS: Final = 1000.0
_THREE_DIGITS: Final = 100.0
_SEC_PER_MIN: Final = 60
_PHASES: Final = {
    Phase.WAIT: "waiting for a run",
    Phase.WARMUP: "warming up",
    Phase.MEASURE: "measuring",
    Phase.COOLDOWN: "cooling down",
}
_BROKEN: Final = "bold red"
_DOUBTFUL: Final = "yellow"


@dataclass(frozen=True, slots=True)
class View:
    """How snapshots are shown.

    Attributes:
        limits: what is marked when it is exceeded.
        width: columns of the terminal.
        height: lines of the terminal, or None where the screen may scroll.
    """

    limits: Constraints
    width: int
    height: int | None = None

    def draw(self, snapshot: Snapshot, *, now: float, problem: str | None = None) -> RenderableType:
        """A headline, the table and a line that explains it.

        Args:
            snapshot: what is shown.
            now: the server's clock as far as is known, Unix seconds; the countdown goes by it.
            problem: why there is no newer snapshot, or None.
        """
        shown = snapshot.candidates[: self._room]
        parts: list[RenderableType] = [self._headline(snapshot, now), Text()]
        parts.append(self._table(shown, snapshot.phase))
        if left_out := len(snapshot.candidates) - len(shown):
            parts.append(Text(f"{left_out} slower ones do not fit on the screen", style=_DOUBTFUL))
        parts += [Text(), Text(self._legend(), style="dim")]
        if problem is not None:
            age = max(0, round(now - snapshot.taken_at))
            parts.append(
                Text(f"{printable(problem)} This is {age} s old; trying again.", style=_DOUBTFUL)
            )
        return Group(*parts)

    @property
    def _wide(self) -> bool:
        return self.width >= WIDE

    @property
    def _room(self) -> int | None:
        """How many candidates fit on the screen, or None for any number."""
        return None if self.height is None else max(1, self.height - _LINES_AROUND)

    def _headline(self, snapshot: Snapshot, now: float) -> Text:
        left = _clock(max(0.0, snapshot.phase_ends_at - now))
        state = f"run {snapshot.run}: {_PHASES[snapshot.phase]}, {left} left"
        line = Text(f"{printable(snapshot.experiment)} · {snapshot.market} · ", overflow="ellipsis")
        line.no_wrap = True
        if line.cell_len + len(state) > self.width:
            # What happens now matters more than what it is called.
            line = Text(no_wrap=True, overflow="ellipsis")
        return line.append(state, style="bold")

    def _legend(self) -> str:
        counted = f"loss and reconnects: last {COUNTED_OVER}"
        if self._wide:
            return f"Latencies in ms, of the newest run. {counted}. ! breaks a limit."
        return f"ms of the newest run; {counted}; ! breaks a limit"

    def _table(self, states: Sequence[CandidateState], phase: Phase) -> Table:
        rows = [self._row(state, phase) for state in states]
        trend = "p99 over time" if self._wide else "p99 trend"
        headings = ["region", "candidate", "p50", "p99", "p99.9", trend, "loss", "reconn", "clock"]
        headings = [*headings[not self._wide :], "state"]
        left = {"region", "candidate", trend, "state"}
        gap = 1 + self._wide
        table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
        widths = [
            max(len(heading), *(row[column].cell_len for row in rows))
            for column, heading in enumerate(headings)
        ]
        for heading, width in zip(headings, widths, strict=True):
            # Only a candidate's name may be cut: half a number or a missing mark would be wrong.
            others = sum(widths) - width + gap * (len(widths) - 1)
            room = max(_LEAST_NAME, self.width - others) if heading == "candidate" else width
            table.add_column(
                heading,
                justify="left" if heading in left else "right",
                no_wrap=True,
                overflow="ellipsis",
                width=min(width, room),
            )
        for row in rows:
            table.add_row(*row)
        return table

    def _row(self, state: CandidateState, phase: Phase) -> list[Text]:
        limits, labels = self.limits, state.labels
        name = printable(f"{labels.az_id} {labels.instance_type}")
        trend = state.trend_sec if self._wide else state.trend_sec[-_NARROW_TREND:]
        tail = limits.tail_ratio * state.p99_sec if state.p99_sec is not None else None
        return [
            *([Text(printable(labels.region))] if self._wide else []),
            Text(name),
            Text(_ms(state.p50_sec)),
            _limited(_ms(state.p99_sec), state.p99_sec, limits.p99_sec),
            _limited(_ms(state.p999_sec), state.p999_sec, tail),
            Text(_sparkline(trend), style="cyan"),
            _limited(_percent(state.loss_ratio), state.loss_ratio, limits.loss_ratio),
            # The limit is "fewer than", and increase() extrapolates: the whole number counts.
            _limited(
                _UNKNOWN if state.reconnects is None else f"{round(state.reconnects)}",
                None if state.reconnects is None else round(state.reconnects),
                limits.reconnects_per_hour - 0.5,
            ),
            self._clock_cell(state),
            self._state_cell(state, phase),
        ]

    def _clock_cell(self, state: CandidateState) -> Text:
        if state.clock_synchronized is False:
            return Text("lost!", style=_BROKEN)
        bound = state.clock_error_bound_sec
        text = _UNKNOWN if bound is None else f"±{_small(bound)}"
        return _limited(text, bound, self.limits.clock_error_bound_sec)

    def _state_cell(self, state: CandidateState, common: Phase) -> Text:
        """What is wrong, or its phase if that is not the common one."""
        if state.probes_up < state.probes:
            down = state.probes - state.probes_up
            return Text("down!" if state.probes == 1 else f"{down} down!", style=_BROKEN)
        if state.connected is False:
            return Text("cut off!", style=_BROKEN)
        if len(state.phases) > 1:
            return Text("phases!", style=_BROKEN)
        if not state.phases:
            return Text(_UNKNOWN, style="dim")
        (phase,) = state.phases
        return Text(phase.value, style="green" if phase is common else _DOUBTFUL)


def document(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON; keys as in `Snapshot` and `CandidateState`, times as UTC."""
    return {
        "experiment": snapshot.experiment,
        "market": snapshot.market,
        "taken_at": isoformat(snapshot.taken_at),
        "run": snapshot.run,
        "phase": snapshot.phase.value,
        "phase_ends_at": isoformat(snapshot.phase_ends_at),
        "phase_left_sec": round(max(0.0, snapshot.phase_ends_at - snapshot.taken_at), 3),
        "candidates": [
            {
                **state.labels._asdict(),
                "probes": state.probes,
                "probes_up": state.probes_up,
                "connected": state.connected,
                "p50_sec": state.p50_sec,
                "p99_sec": state.p99_sec,
                "p999_sec": state.p999_sec,
                "p99_trend_sec": list(state.trend_sec),
                "messages": state.messages,
                "loss_ratio": state.loss_ratio,
                "reconnects": state.reconnects,
                "clock_error_bound_sec": state.clock_error_bound_sec,
                "clock_synchronized": state.clock_synchronized,
                "phases": [phase.value for phase in state.phases],
                "run": state.run,
            }
            for state in snapshot.candidates
        ],
    }


def to_json(snapshot: Snapshot) -> str:
    """`document` as indented text."""
    return printable_json(json.dumps(document(snapshot), indent=2))


def _limited(text: str, value: float | None, limit: float | None) -> Text:
    """Marked when it exceeds its limit, for eyes and for terminals without colour."""
    if value is None or limit is None or value <= limit:
        return Text(text)
    return Text(f"{text}!", style=_BROKEN)


def _sparkline(values: Sequence[float | None]) -> str:
    """One character for each value, from zero to the highest one; gaps stay empty."""
    highest = max((value for value in values if value is not None), default=0.0)
    top = len(_BARS) - 1
    return "".join(
        " " if value is None else _BARS[round(value / highest * top) if highest else 0]
        for value in values
    )


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return _UNKNOWN
    value = seconds * _MS
    return f"{value:.0f}" if value >= _THREE_DIGITS else f"{value:.2f}"


def _small(seconds: float) -> str:
    return f"{seconds * _MS:.1f}ms" if seconds * _MS >= 1 else f"{seconds * _MS * _MS:.0f}µs"


def _percent(ratio: float | None) -> str:
    if ratio is None:
        return _UNKNOWN
    return "0%" if ratio == 0 else f"{ratio:.3%}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), _SEC_PER_MIN)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
