"""Usable runs counted in PromQL, by Prometheus' own evaluation of made-up series."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from latency_sweep.analysis.stats.inference import fewest_pairs
from latency_sweep.contract import experiment
from latency_sweep.contract.experiment import Experiment
from latency_sweep.contract.usable_runs import UsableRuns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUNS = 6
# Per sample of 15 s, 40 of which are a cycle: what each instance type shows.
STEADY = {
    "up": "1x280",
    "process_start_time_seconds": "5x280",
    "feed_messages_total": "0+100x280",
    "feed_clock_error_bound_seconds": "0.0001x280",
    "feed_clock_synchronized": "1x280",
    "feed_clock_steps_total": "0x280",
}
CHANGED = {
    "steady": {},
    "one-missed": {"up": "1x50 0x0 1x229"},
    "gap": {"up": "1x50 0x10 1x219"},
    "gap-between": {"up": "1x37 0x9 1x232"},
    "restart": {"process_start_time_seconds": "5x100 1500x179"},
    "bound": {"feed_clock_error_bound_seconds": "0.0001x60 0.01x1 0.0001x217"},
    "unsynchronized": {"feed_clock_synchronized": "1x60 0x1 1x217"},
    "stepped": {"feed_clock_steps_total": "0x60 1x219"},
    "silent": {"feed_messages_total": "0+100x40 4000x40 4000+100x198"},
}
EXCLUDED = {
    "gap": "scrapes",
    "restart": "restart",
    "bound": "clock",
    "unsynchronized": "clock",
    "stepped": "clock",
    "silent": "no data",
}


def ten_minute_runs() -> Experiment:
    document = experiment.load().model_dump(by_alias=True)
    document["timing"] = {
        "warmup_sec": 120,
        "measurement_sec": 420,
        "cooldown_sec": 60,
        "scrape_interval_sec": 15,
    }
    return Experiment.model_validate(document)


def over(operator: str, series: Callable[[str], str], *, up: bool = False) -> str:
    matchers = 'job="probe"' if up else 'e="x"'
    return f"{operator} by (type) ({series(matchers)})"


def write_tests(checks: list[tuple[str, dict[str, float] | float]], path: Path) -> None:
    """Promtool's unit tests; the values expected are by type, or one without a label."""
    series = [
        {
            "series": f'{name}{{e="x",job="probe",type="{kind}",market="spot",stream="trade"}}',
            "values": changed.get(name, values),
        }
        for kind, changed in CHANGED.items()
        for name, values in STEADY.items()
    ]
    tests = [
        {
            "expr": expr,
            "eval_time": f"{RUNS * 10}m",
            "exp_samples": (
                [{"labels": f'{{type="{kind}"}}', "value": n} for kind, n in expected.items()]
                if isinstance(expected, dict)
                else [{"labels": "{}", "value": expected}]
            ),
        }
        for expr, expected in checks
    ]
    document = {"interval": "15s", "input_series": series, "promql_expr_test": tests}
    path.write_text(yaml.safe_dump({"rule_files": [], "tests": [document]}))


@pytest.mark.timeout(180)  # a second of work, which a busy machine stretches
def test_runs_are_counted_as_they_end(promtool_binary: Path, tmp_path: Path) -> None:
    runs = UsableRuns(ten_minute_runs(), "spot", over)
    usable = {kind: float(RUNS - (kind in EXCLUDED)) for kind in CHANGED}
    reasons: dict[str, dict[str, float]] = {reason: {} for reason in runs.excluded()}
    for kind, reason in EXCLUDED.items():
        reasons[reason][kind] = 1
    unit_tests = tmp_path / "test.yml"
    write_tests(
        [
            (runs.measured(), RUNS),
            (runs.usable(), usable),
            *((expr, reasons[reason]) for reason, expr in runs.excluded().items()),
            (runs.needed(), fewest_pairs(0.05, len(CHANGED) - 1)),
            (runs.seconds_left(), 600 * (fewest_pairs(0.05, len(CHANGED) - 1) - (RUNS - 1))),
        ],
        unit_tests,
    )
    done = subprocess.run(
        [promtool_binary, "test", "rules", unit_tests],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
