"""A snapshot of a sweep as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from latency_sweep.collector.watch.live import COUNTED_OVER, TREND_POINTS, isoformat
from latency_sweep.contract.metrics import Phase
from latency_sweep.contract.regions import city_of, short_zone
from latency_sweep.runtime.printable import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from latency_sweep.collector.watch.evidence import EvidenceSoFar
    from latency_sweep.collector.watch.live import CandidateState, Snapshot
    from latency_sweep.contract.experiment import Constraints
    from latency_sweep.contract.targets import CandidateLabels

# From here on there is room for whole zone ids, the runs of each candidate and a longer trend.
WIDE: Final = 120
# Below this a candidate could not be told from its neighbors.
_LEAST_NAME: Final = 12
# Headline, heading, legend, three empty lines, two of the problem, one for what does not fit, and
# evidence with exclusions.
_LINES_AROUND: Final = 12
_EXCLUSIONS: Final = 2

_UNKNOWN: Final = "-"
_BARS: Final = "▁▂▃▄▅▆▇█"
_NARROW_TREND: Final = 9
_MS: Final = 1000.0
_THREE_DIGITS: Final = 100.0
_SEC_PER_MIN: Final = 60
_HOURS_PER_DAY: Final = 24
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
        parts.append(self._table(shown, snapshot.phase, snapshot.evidence))
        if left_out := len(snapshot.candidates) - len(shown):
            parts.append(Text(f"{left_out} slower ones do not fit on the screen", style=_DOUBTFUL))
        parts += [Text(), self._evidence(snapshot, now), *self._exclusions(snapshot)]
        parts.append(Text(self._legend(snapshot), style="dim"))
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
        moment = f" ({snapshot.run})" if self._wide else ""
        name = _numbered(snapshot.evidence, snapshot.run, moment)
        state = f"run {name}: {_PHASES[snapshot.phase]}, {left} left"
        line = Text(f"{printable(snapshot.experiment)} · {snapshot.market} · ", overflow="ellipsis")
        line.no_wrap = True
        if line.cell_len + len(state) > self.width:
            # What happens now matters more than what it is called.
            line = Text(no_wrap=True, overflow="ellipsis")
        return line.append(state, style="bold")

    def _legend(self, snapshot: Snapshot) -> str:
        counted = f"loss and reconnects: last {COUNTED_OVER}"
        span = _duration(snapshot.trend_step_sec * self._trend_points)
        if self._wide:
            return (
                f"Latencies in ms, of the newest run. Trend: last {span}, {_BARS[0]} half the "
                f"median or less, {_BARS[-1]} twice or more. {counted}. ! breaks a limit."
            )
        return (
            f"ms of the newest run; trend: {span}, {_BARS[0]} half, {_BARS[-1]} twice its median; "
            f"{counted}; ! breaks a limit"
        )

    def _evidence(self, snapshot: Snapshot, now: float) -> Text:
        """How far the evidence is, in one line."""
        found = snapshot.evidence
        if found is None:
            return Text("Usable runs: not counted yet, the server is busy", style=_DOUBTFUL)
        counts = set(found.usable.values())
        have = f"{min(counts, default=0)}" if len(counts) < 2 else f"{min(counts)} to {max(counts)}"  # noqa: PLR2004
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"Usable runs: {have} of {found.needed} needed; ")
        if found.ends_at is None:
            return line.append("enough for analyze", style="green")
        return line.append(f"an answer takes {_duration(max(0.0, found.ends_at - now))} or more")

    def _exclusions(self, snapshot: Snapshot) -> list[Text]:
        """Which candidates have excluded runs, and why."""
        lines = [
            f"{self._place(labels)} {printable(labels.instance_type)}: "
            + ", ".join(f"{reason} {number}" for reason, number in reasons.items())
            for labels, reasons in (snapshot.evidence.excluded if snapshot.evidence else {}).items()
            if reasons
        ]
        shown = lines[:_EXCLUSIONS]
        if len(lines) > _EXCLUSIONS:
            shown = [lines[0], f"{lines[1]}; and {len(lines) - _EXCLUSIONS} more candidates"]
        return [
            Text(f"Excluded runs of {text}", style=_DOUBTFUL, no_wrap=True, overflow="ellipsis")
            for text in shown
        ]

    def _place(self, labels: CandidateLabels) -> str:
        """`Tokyo, apne1-az4`, or where there is little room `Tokyo az4`."""
        city = city_of(labels.region)
        if self._wide:
            return printable(f"{city}, {labels.az_id}")
        return printable(f"{city} {short_zone(labels.az_id)}")

    @property
    def _trend_points(self) -> int:
        return TREND_POINTS if self._wide else _NARROW_TREND

    def _table(
        self, states: Sequence[CandidateState], phase: Phase, evidence: EvidenceSoFar | None
    ) -> Table:
        rows = [self._row(state, phase, evidence) for state in states]
        trend = "p99 over time" if self._wide else "p99 trend"
        runs = ["runs"] if self._wide else []
        headings = ["candidate", "p50", "p99", "p99.9", trend, "loss", "reconn", "clock"]
        headings = [*headings, *runs, "state"]
        left = {"candidate", trend, "state"}
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

    def _row(
        self, state: CandidateState, phase: Phase, evidence: EvidenceSoFar | None
    ) -> list[Text]:
        limits, labels = self.limits, state.labels
        name = f"{self._place(labels)} {printable(labels.instance_type)}"
        trend = state.trend_sec[-self._trend_points :]
        runs = f"{evidence.usable.get(labels, 0)}/{evidence.needed}" if evidence else _UNKNOWN
        tail = limits.tail_ratio * state.p99_sec if state.p99_sec is not None else None
        return [
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
            *([Text(runs)] if self._wide else []),
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
        **_evidence_document(snapshot.evidence),
        "candidates": [
            {
                **state.labels._asdict(),
                "city": city_of(state.labels.region),
                **_runs_document(snapshot.evidence, state.labels),
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


def _evidence_document(found: EvidenceSoFar | None) -> dict[str, Any]:
    ends_at = found.ends_at if found else None
    return {
        "runs_measured": found.measured if found else None,
        "runs_needed": found.needed if found else None,
        "runs_usable_at_least": found.fewest if found else None,
        "enough_runs_at": None if ends_at is None else isoformat(ends_at),
    }


def _runs_document(found: EvidenceSoFar | None, labels: CandidateLabels) -> dict[str, Any]:
    return {
        "runs_usable": found.usable.get(labels, 0) if found else None,
        "runs_excluded": dict(found.excluded.get(labels, {})) if found else None,
    }


def to_json(snapshot: Snapshot) -> str:
    """`document` as indented text."""
    return printable_json(json.dumps(document(snapshot), indent=2))


def _numbered(found: EvidenceSoFar | None, label: str, moment: str) -> str:
    """`3 of 9`; the run's label where the runs are not counted."""
    if found is None:
        return label
    return (
        f"{found.number}{moment}"
        if found.total is None
        else f"{found.number} of {found.total}{moment}"
    )


def _limited(text: str, value: float | None, limit: float | None) -> Text:
    """Marked when it exceeds its limit, for eyes and for terminals without colour."""
    if value is None or limit is None or value <= limit:
        return Text(text)
    return Text(f"{text}!", style=_BROKEN)


def _sparkline(values: Sequence[float | None]) -> str:
    """One character for each value, from half of their median to twice; gaps stay empty.

    The same change is as high at every candidate, whatever its latency: from zero to the highest
    value, all bars of a steady one would be full.
    """
    known = [value for value in values if value is not None]
    middle = median(known) if known else 0.0
    return "".join(" " if value is None else _bar(value, middle) for value in values)


def _bar(value: float, middle: float) -> str:
    """Logarithmic, as a factor is what matters; without a positive median there is none."""
    if middle <= 0:
        return _BARS[len(_BARS) // 2 - 1]
    top = len(_BARS) - 1
    height = top / 2 * (1 + math.log2(value / middle)) if value > 0 else 0.0
    return _BARS[min(top, max(0, math.floor(height)))]


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


def _duration(seconds: float) -> str:
    """Rounded to what matters: `40 s`, `24 min`, `2 h 10 min`, `3 d 4 h`."""
    minutes = round(seconds / _SEC_PER_MIN)
    if seconds < 2 * _SEC_PER_MIN:
        return f"{round(seconds)} s"
    hours, rest = divmod(minutes, _SEC_PER_MIN)
    if not hours:
        return f"{minutes} min"
    if hours < 2 * _HOURS_PER_DAY:
        return f"{hours} h {rest:02d} min"
    days, hours = divmod(hours, _HOURS_PER_DAY)
    return f"{days} d {hours} h"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), _SEC_PER_MIN)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
