"""Recording rules and alerts, from their templates and an experiment's numbers.

`python -m latency_sweep.prometheus.rules.generate` renews the files that are shipped; a test
finds it out when they differ from what the shipped experiment demands.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from latency_sweep.contract import experiment as experiments
from latency_sweep.contract.clocks import EXCHANGE_TOLERANCE_SEC, MAX_DRIFT_RATIO
from latency_sweep.contract.metrics import JOB, PLANNED

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Experiment

FOLDER: Final = Path(__file__).parent
FILES: Final = ("feed.yml", "alerts.yml")
# Every alert has a section there, named like it.
RUNBOOK: Final = "docs/runbook.md"
# The allowances that EC2 grants a network card, as the ENA driver counts what exceeds them.
ALLOWANCES: Final = ("bw_in", "bw_out", "pps", "conntrack", "linklocal")
# A rate needs two samples; four scrapes in its window forgive two that are missing.
_SCRAPES_PER_WINDOW: Final = 4


class RulesError(Exception):
    """The rules do not work for this experiment; the message says why and what does."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast rules notice; whole seconds. A constraint alert needs both long and short window.

    Attributes:
        live_sec: window of what live views show.
        short_sec: window that tells whether it goes on, and lets an alert end soon.
        long_sec: window that tells whether it matters; one hour, as limits are per hour.
        patience_sec: how long a fault must last that may mend itself; a scrape, a reconnect.
    """

    live_sec: int = 60
    short_sec: int = 300
    long_sec: int = 3600
    patience_sec: int = 120

    def __post_init__(self) -> None:
        """Check that the windows are ordered."""
        assert 0 < self.live_sec <= self.short_sec < self.long_sec


def render(experiment: Experiment, pace: Pace | None = None) -> dict[str, str]:
    """Text of each rule file, by its name.

    Args:
        experiment: gives limits, timing and evidence streams.
        pace: the windows; the usual ones if None.

    Raises:
        RulesError: scrapes are too rare for the shortest window.
    """
    pace = pace or Pace()
    interval = experiment.timing.scrape_interval_sec
    if _SCRAPES_PER_WINDOW * interval > pace.live_sec:
        raise RulesError(
            f"timing.scrape_interval_sec: {interval} s is too long for rates over "
            f"{pace.live_sec} s; use {pace.live_sec // _SCRAPES_PER_WINDOW} s or less."
        )
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML, not HTML
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        # Braces belong to PromQL and to Prometheus' own templates.
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    environment.filters |= {
        "quoted": lambda text: json.dumps(text, ensure_ascii=False),
        "ms": lambda seconds: f"{seconds * 1000:g} ms",
        "ppm": lambda ratio: f"{ratio * 1e6:g}",
        "percent": lambda ratio: f"{ratio * 100:g} %",
    }
    values = {
        "limits": experiment.decision.constraints,
        "min_runs": experiment.decision.min_runs,
        "timing": experiment.timing,
        "evidence": f"({'|'.join(experiment.decision.evidence_streams)})(@.*)?",
        "planned": "|".join(PLANNED),
        "pace": pace,
        "live": _duration(pace.live_sec),
        "short": _duration(pace.short_sec),
        "long": _duration(pace.long_sec),
        "patience": _duration(pace.patience_sec),
        "job": JOB,
        "allowances": ALLOWANCES,
        "exchange_tolerance_sec": EXCHANGE_TOLERANCE_SEC,
        "max_drift_ratio": MAX_DRIFT_RATIO,
        "runbook": RUNBOOK,
    }
    return {name: environment.get_template(f"{name}.j2").render(values) for name in FILES}


def write(folder: Path, experiment: Experiment, pace: Pace | None = None) -> tuple[Path, ...]:
    """Write the rule files into a folder and return their paths.

    Raises:
        RulesError: see `render`.
    """
    paths = []
    for name, text in render(experiment, pace).items():
        (folder / name).write_text(text, encoding="utf-8")
        paths.append(folder / name)
    return tuple(paths)


def _duration(seconds: int) -> str:
    """A duration in the largest unit that divides it, `1h`, `5m`, `90s`."""
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


if __name__ == "__main__":
    write(FOLDER, experiments.load())
