"""Recording rules and alerts, from their templates and an experiment's limits.

`python -m latency_sweep.prometheus.rules.generate` regenerates the shipped files; a test fails if
they differ from what the shipped experiment yields.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.contract import experiment as experiments
from latency_sweep.contract.clocks import (
    EXCHANGE_TOLERANCE_SEC,
    LEAST_IN_BUCKET,
    MAX_DRIFT_RATIO,
    MAX_TIMESTAMP_ERROR_RATIO,
)
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.metrics import PLANNED
from latency_sweep.contract.monitoring import MONITORING, Monitoring, duration
from latency_sweep.runtime import extras
from latency_sweep.runtime.extras import Extra

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Experiment

FOLDER: Final = Path(__file__).parent
FILES: Final = ("feed.yml", "alerts.yml")
# Network allowances of an EC2 instance, as the ENA driver names the counters of what exceeds them.
ALLOWANCES: Final = ("bw_in", "bw_out", "pps", "conntrack", "linklocal")
# A rate needs two samples; with four scrapes in its window, two may be missing.
_SCRAPES_PER_WINDOW: Final = 4


class RulesError(Exception):
    """The rules do not work for this experiment; the message says why and what does."""


def render(experiment: Experiment, monitoring: Monitoring = MONITORING) -> dict[str, str]:
    """Text of each rule file, by its name.

    Args:
        experiment: gives limits, timing and evidence streams.
        monitoring: gives selector, windows and runbook.

    Raises:
        RulesError: the scrape interval is too long for the shortest window.
    """
    from jinja2 import (  # noqa: PLC0415 - only rendering needs the extra `monitor`
        Environment,
        FileSystemLoader,
        StrictUndefined,
    )

    windows = monitoring.windows
    interval = experiment.timing.scrape_interval_sec
    if _SCRAPES_PER_WINDOW * interval > windows.live_sec:
        raise RulesError(
            f"timing.scrape_interval_sec: {interval} s is too long for rates over "
            f"{windows.live_sec} s; use {windows.live_sec // _SCRAPES_PER_WINDOW} s or less."
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
        "windows": windows,
        "live": duration(windows.live_sec),
        "short": duration(windows.short_sec),
        "long": duration(windows.long_sec),
        "for_duration": duration(windows.for_sec),
        "probe": monitoring.probe_selector,
        "allowances": ALLOWANCES,
        "exchange_tolerance_sec": EXCHANGE_TOLERANCE_SEC,
        "least_in_bucket": LEAST_IN_BUCKET,
        "max_drift_ratio": MAX_DRIFT_RATIO,
        "max_timestamp_error_ratio": MAX_TIMESTAMP_ERROR_RATIO,
        "runbook": monitoring.runbook,
    }
    return {name: environment.get_template(f"{name}.j2").render(values) for name in FILES}


def write(
    folder: Path, experiment: Experiment, monitoring: Monitoring = MONITORING
) -> tuple[Path, ...]:
    """Write the rule files into a folder and return their paths.

    Raises:
        RulesError: see `render`.
    """
    paths = []
    for name, text in render(experiment, monitoring).items():
        (folder / name).write_text(text, encoding="utf-8")
        paths.append(folder / name)
    return tuple(paths)


def main() -> int:
    """Regenerate the shipped files; returns the exit code."""
    try:
        extras.require(Extra.MONITOR, "python -m latency_sweep.prometheus.rules.generate")
    except extras.MissingExtraError as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    write(FOLDER, experiments.load())
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
