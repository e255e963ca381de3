"""The tables of a report as data: their content is decided once, each format draws them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.decision.results import ConstraintStatus, Relation
from latency_sweep.analysis.report.words import figures
from latency_sweep.analysis.report.words.places import cities_note
from latency_sweep.analysis.report.words.sentences import mann_whitney_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from latency_sweep.analysis.decision.results import Comparison, ConstraintResult
    from latency_sweep.analysis.decision.verdict import CandidateRow, PreferenceParts, Verdict

# More runs than this are counted in a footnote, not named.
_RUNS_NAMED: Final = 6

CONSTRAINT_TITLES: Final = {
    "p99": "p99",
    "tail_ratio": "p99.9 / p99",
    "reconnects": "reconnects",
    "loss": "loss",
    "samples": "samples",
    "runs": "runs",
    "clock": "clock",
}
STATUS_LETTERS: Final = {
    ConstraintStatus.PASS: "P",
    ConstraintStatus.FAIL: "F",
    ConstraintStatus.INSUFFICIENT: "I",
}
STATUS_LEGEND: Final = "P pass, F fail, I insufficient evidence"
RELATION_LEGEND: Final = (
    "Shift: p99 of the rival minus that of {leader}; positive means {leader} is faster."
    " ~ cannot be told apart, = shown to differ by less than the margin; p after Holm, n paired"
    " runs; MW p: Mann-Whitney over runs, unpaired; delta: Cliff's, 1 if all its runs are slower."
)
_RELATION_SIGNS: Final = {Relation.EQUIVALENT: "=", Relation.UNDECIDED: "~"}


class CellKind(StrEnum):
    """How the cells of a column are drawn."""

    WORDS = "words"
    NAME = "name"
    NUMBER = "number"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and how the cells under it are drawn."""

    title: str
    kind: CellKind = CellKind.NUMBER


@dataclass(frozen=True, slots=True)
class Table:
    """Cells by row, in the order of the columns, with notes under them."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def only(self, *titles: str) -> Table:
        """The table with some of its columns, in the order named."""
        names = [column.title for column in self.columns]
        chosen = [names.index(title) for title in titles]
        return dataclasses.replace(
            self,
            columns=tuple(self.columns[i] for i in chosen),
            rows=tuple(tuple(row[i] for i in chosen) for row in self.rows),
        )

    def without(self, *titles: str) -> Table:
        """The table without some of its columns."""
        return self.only(*(c.title for c in self.columns if c.title not in titles))


CANDIDATE: Final = Column("candidate", CellKind.NAME)
RANK: Final = Column("#")
LATENCY_COLUMNS: Final = ("p50", "p99", "p99 interval", "p99.9", "sd", "cv", "clock ±")
STANDING_COLUMNS: Final = ("samples", "runs", "constraints", "score", "adjusted", "$/h")


def ranking(verdict: Verdict) -> Table:
    """Every candidate, best first: latencies in ms, evidence, score and price."""
    kinds = {"constraints": CellKind.STATUS}
    columns = tuple(
        Column(title, kinds.get(title, CellKind.NUMBER))
        for title in (*LATENCY_COLUMNS, *STANDING_COLUMNS)
    )
    note = (
        "Latencies, sd and clock bound in ms; intervals at"
        f" {figures.share(verdict.rule.confidence)} confidence; runs used + excluded; lower scores"
        " are better."
    )
    rows = tuple(_ranking_row(row) for row in verdict.ranking)
    cities = cities_note(row.name for row in verdict.ranking)
    notes = (note,) if cities is None else (note, cities)
    return Table((RANK, CANDIDATE, *columns), rows, notes)


def _ranking_row(row: CandidateRow) -> tuple[str, ...]:
    excluded = f" + {row.runs_excluded}" if row.runs_excluded else ""
    return (
        str(row.rank),
        row.name,
        figures.milliseconds(row.p50_sec),
        figures.milliseconds(row.p99_sec),
        figures.span(row.p99_interval),
        figures.milliseconds(row.p999_sec),
        figures.milliseconds(row.sd_sec),
        figures.decimal(row.cv, 2),
        figures.milliseconds(row.clock_error_bound_sec),
        figures.whole(row.samples),
        f"{row.runs_used}{excluded}",
        _standing(row),
        figures.decimal(row.score),
        figures.decimal(row.adjusted_score),
        figures.decimal(row.usd_per_hour, 4),
    )


def _standing(row: CandidateRow) -> str:
    """The overall letter and the constraints that are responsible: `F p99, loss`."""
    letter = STATUS_LETTERS[row.status]
    if row.status is ConstraintStatus.PASS:
        return letter
    at_fault = [CONSTRAINT_TITLES[c.name] for c in row.constraints if c.status is row.status]
    return f"{letter} {', '.join(at_fault)}"


def comparisons(verdict: Verdict) -> Table:
    """The leader against each rival, in benchstat's manner."""
    columns = (
        Column("rival", CellKind.NAME),
        Column("change", CellKind.NUMBER),
        Column("shift"),
        Column("interval"),
        Column("MW p"),
        Column("delta"),
        Column("pooled shift"),
        Column("pooled interval"),
        Column("margin"),
        Column("runs needed"),
    )
    notes = [RELATION_LEGEND.format(leader=verdict.leader)]
    used = {row.name: {run.run for run in row.runs if run.used} for row in verdict.ranking}
    footnotes: dict[str, int] = {}
    rows = []
    for found in verdict.comparisons:
        marks = [
            footnotes.setdefault(text, len(footnotes) + 1)
            for text in (*_missing_runs(found, used), mann_whitney_note(found))
            if text
        ]
        mark = f" [{','.join(str(m) for m in marks)}]" if marks else ""
        rows.append(
            (
                found.rival,
                f"{_change(found)}{mark}",
                figures.shift(found.shift_sec),
                figures.span(found.shift_interval, signed=True),
                figures.probability(found.p_mann_whitney),
                figures.decimal(found.cliffs_delta, 2),
                figures.shift(found.pooled_difference_sec),
                figures.span(found.pooled_interval, signed=True),
                figures.milliseconds(found.margin.total_sec),
                figures.whole(found.runs_needed),
            )
        )
    notes += [f"[{number}] {text}" for text, number in footnotes.items()]
    return Table(columns, tuple(rows), tuple(notes))


def _change(found: Comparison) -> str:
    size = _RELATION_SIGNS.get(found.relation)
    if size is None:
        ratio = found.shift_ratio
        size = f"{figures.shift(found.shift_sec)} ms"
        size = size if ratio is None else figures.share(ratio, signed=True)
    return f"{size} {figures.evidence(found.p_holm, found.pairs)}"


def _missing_runs(found: Comparison, used: dict[str, set[str]]) -> Iterable[str]:
    mine, theirs = used.get(found.leader, set()), used.get(found.rival, set())
    for name, missing in ((found.rival, mine - theirs), (found.leader, theirs - mine)):
        if missing:
            yield f"No usable run of {name}: {naming(sorted(missing))}."


def naming(runs: Sequence[str]) -> str:
    """Names of runs in a row; the first few if they are many."""
    if len(runs) <= _RUNS_NAMED:
        return ", ".join(runs)
    return f"{', '.join(runs[: _RUNS_NAMED - 1])} and {len(runs) - _RUNS_NAMED + 1} more"


def constraints(verdict: Verdict) -> Table:
    """A row per candidate, a column per hard constraint: letter and value."""
    names = [name for name in CONSTRAINT_TITLES if _has(verdict, name)]
    rows = []
    for row in verdict.ranking:
        found = {c.name: c for c in row.constraints}
        cells = [_light(found[name]) if name in found else figures.UNKNOWN for name in names]
        rows.append((str(row.rank), row.name, *cells))
    columns = (RANK, CANDIDATE, *(Column(CONSTRAINT_TITLES[n], CellKind.STATUS) for n in names))
    return Table(columns, tuple(rows), ("Beside each status the value measured.",))


def _has(verdict: Verdict, name: str) -> bool:
    return any(c.name == name for row in verdict.ranking for c in row.constraints)


def _light(result: ConstraintResult) -> str:
    return f"{STATUS_LETTERS[result.status]} {_in_unit(result)}"


def _in_unit(result: ConstraintResult) -> str:
    if result.value is None:
        return "not known"
    if result.unit == "s":
        return f"{figures.milliseconds(result.value)} ms"
    if result.unit == "1/h":
        return f"{figures.decimal(result.value, 2)}/h"
    if result.name == "loss":
        return figures.share(result.value)
    return (
        figures.decimal(result.value, 2)
        if result.unit == "ratio"
        else (figures.whole(result.value))
    )


def strata(verdict: Verdict) -> Table:
    """Is the leader best in every time stratum?"""
    columns = (
        Column("stratum", CellKind.WORDS),
        Column("required", CellKind.WORDS),
        Column("runs"),
        Column("lowest p99", CellKind.NAME),
        Column("closest rival", CellKind.NAME),
        Column("shift"),
        Column("consistent", CellKind.WORDS),
    )
    holds = {True: "yes", False: "NO", None: "no data"}
    rows = tuple(
        (
            row.name or "outside all",
            "yes" if row.required else "no",
            str(row.runs),
            row.fastest or figures.UNKNOWN,
            row.closest_rival or figures.UNKNOWN,
            figures.shift(row.shift_sec),
            holds[row.consistent],
        )
        for row in verdict.strata
    )
    note = (
        "Shift in ms: the closest rival's p99 minus the leader's, paired runs only. Consistent: no"
        " rival is ahead by more than the margin."
    )
    return Table(columns, rows, (note,))


def strata_p99(verdict: Verdict) -> Table:
    """Pooled p99 in ms by candidate and time stratum."""
    columns = (CANDIDATE, *(Column(row.name or "outside all") for row in verdict.strata))
    rows = tuple(
        (row.name, *(figures.milliseconds(s.p99_sec.get(row.name)) for s in verdict.strata))
        for row in verdict.ranking
    )
    return Table(columns, rows, ("p99 in ms.",))


def sensitivity(verdict: Verdict) -> Table:
    """Would another candidate come first under a changed rule?"""
    columns = (
        Column("rule", CellKind.WORDS),
        Column("weight p99"),
        Column("weight stability"),
        Column("best score", CellKind.NAME),
        Column("changes", CellKind.WORDS),
    )
    rows = tuple(
        (
            row.name,
            f"{row.weight_p99:g}",
            f"{row.weight_stability:g}",
            row.best or figures.UNKNOWN,
            "YES" if row.changed else "no",
        )
        for row in verdict.sensitivity
    )
    return Table(columns, rows)


def preferences(verdict: Verdict) -> Table:
    """What the score and its adjustment are made of."""
    columns = (
        RANK,
        CANDIDATE,
        Column("p99 part"),
        Column("stability part"),
        Column("score"),
        Column("cost"),
        Column("failover"),
        Column("Graviton"),
        Column("credit"),
        Column("adjusted"),
        Column("$/h"),
    )
    rows = tuple(
        (
            str(row.rank),
            row.name,
            figures.decimal(row.score_p99_part),
            figures.decimal(row.score_stability_part),
            figures.decimal(row.score),
            *_preference_parts(row.preferences),
            figures.decimal(row.adjusted_score),
            figures.decimal(row.usd_per_hour, 4),
        )
        for row in verdict.ranking
    )
    rule = verdict.rule
    weights = (
        f"cost * {rule.preference_cost:g}, failover * {rule.preference_redundancy:g},"
        f" Graviton * {rule.preference_graviton:g}"
    )
    note = f"Score = p99 part + stability part; adjusted = score - credit; credit = {weights}."
    return Table(columns, rows, (note,))


def _preference_parts(parts: PreferenceParts | None) -> tuple[str, str, str, str]:
    if parts is None:
        return (figures.UNKNOWN,) * 4
    return (
        figures.decimal(parts.cost, 2),
        figures.decimal(parts.redundancy, 2),
        figures.decimal(parts.graviton, 2),
        figures.decimal(parts.credit),
    )


def clocks(verdict: Verdict) -> Table:
    """Each candidate's clock error bound, beside the latency it is part of."""
    columns = (
        CANDIDATE,
        Column("clock ±"),
        Column("p99"),
        Column("bound / p99"),
        Column("negative"),
    )
    rows = []
    for row in verdict.ranking:
        bound, p99 = row.clock_error_bound_sec, row.p99_sec
        ratio = bound / p99 if bound is not None and p99 else None
        rows.append(
            (
                row.name,
                figures.milliseconds(bound),
                figures.milliseconds(p99),
                figures.share(ratio),
                figures.whole(row.negative),
            )
        )
    note = (
        "Clock bound and p99 in ms; the bound is the largest over the runs used."
        " Negative: events timestamped later than received."
    )
    return Table(columns, tuple(rows), (note,))


def instances(verdict: Verdict) -> Table:
    """Each instance on its own, of the candidates that have more than one."""
    columns = (
        CANDIDATE,
        Column("instance", CellKind.NAME),
        Column("zone", CellKind.WORDS),
        Column("runs"),
        Column("samples"),
        Column("p50"),
        Column("p99"),
    )
    rows = tuple(
        (
            row.name,
            one.instance,
            one.az_id or figures.UNKNOWN,
            str(one.runs),
            figures.whole(one.samples),
            figures.milliseconds(one.p50_sec),
            figures.milliseconds(one.p99_sec),
        )
        for row in verdict.ranking
        if len(row.instances) > 1
        for one in row.instances
    )
    return Table(columns, rows, ("Latencies in ms. Which host an instance lands on matters.",))


def excluded(verdict: Verdict) -> Table:
    """Runs that the decision did not use, and why."""
    columns = (
        CANDIDATE,
        Column("run", CellKind.WORDS),
        Column("samples"),
        Column("p99"),
        Column("scraped"),
        Column("reason", CellKind.WORDS),
    )
    rows = tuple(
        (
            row.name,
            run.run,
            figures.whole(run.samples),
            figures.milliseconds(run.p99_sec),
            figures.share(run.coverage),
            "; ".join(run.reasons),
        )
        for row in verdict.ranking
        for run in row.runs
        if not run.used
    )
    return Table(columns, rows, ("p99 in ms; scraped: share of the expected scrapes.",))


def change_points(verdict: Verdict) -> Table:
    """Level shifts inside runs."""
    columns = (
        CANDIDATE,
        Column("run", CellKind.WORDS),
        Column("at window"),
        Column("before"),
        Column("after"),
        Column("p"),
    )
    rows = tuple(
        (
            point.candidate,
            point.run,
            f"{point.window + 1} of {point.windows}",
            figures.milliseconds(point.before_sec),
            figures.milliseconds(point.after_sec),
            figures.probability(point.p_value),
        )
        for point in verdict.change_points
    )
    return Table(
        columns, rows, ("Median of the windows in ms; flagged only, nothing is excluded.",)
    )
