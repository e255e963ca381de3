"""Query latency of the dashboards of a large sweep.

Writes a sweep to a real Prometheus by remote write (one-hour runs, eight series per candidate,
native histograms of schema 8) together with what the recording rules would have recorded, runs
every query of every dashboard over three hours, and prints the slowest:

    python -m benchmarks.dashboards --probes 24 96

Overview and Probe health show all probes, Candidate and Compare one candidate per side. Queries for
other delays read the written latencies. The server shares the cores of the client.
"""

from __future__ import annotations

import argparse
import math
import re
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import requests

from benchmarks.evidence_scale import TYPES, plant, sweep
from latency_sweep.contract import metrics
from latency_sweep.contract.experiment import load
from latency_sweep.contract.timeline import NS_PER_SEC
from latency_sweep.lab.binaries.prometheus_binary import find_or_fetch
from latency_sweep.lab.local.prometheus_process import running_with
from latency_sweep.lab.simulation.remote_write import HISTORY, History, Native

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from latency_sweep.grafana import promql
    from latency_sweep.grafana.dashboard_queries import DashboardQuery, all_queries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.contract.timeline import Run

NAME = "dashboards"
RUNS = 3
HOURS = 3
HEAT_MAP_COLUMNS = 150
MINUTE_OF_MESSAGES = 8 * 20 * 60
REPEATS = 3
LIKE_LATENCY = re.compile(
    "|".join(
        metric.name
        for metric in (
            metrics.EXCHANGE_DELAY,
            metrics.DELAY_VARIATION,
            metrics.RECEIVE_DELAY,
        )
    )
)


@dataclass(frozen=True)
class Timed:
    """What one query took; the fastest of some tries."""

    query: DashboardQuery
    seconds: float
    megabytes: float
    series: int


def candidate(index: int) -> dict[str, str]:
    region, kind = divmod(index, len(TYPES))
    return {
        "region": f"region-{region}",
        "az_id": f"az-{region}",
        "instance_type": TYPES[kind],
        "experiment": NAME,
    }


def plant_records(url: str, probes: int, moments: list[float]) -> None:
    """Write what the recording rules and Prometheus itself would have kept."""
    rng = np.random.default_rng(2)
    minutes = [Native.of(0.01 * rng.lognormal(0.0, 0.25, MINUTE_OF_MESSAGES)) for _ in range(20)]
    floats = {
        promql.P50_SHORT: 0.010,
        promql.P99_LIVE: 0.020,
        promql.P99_SHORT: 0.020,
        promql.P999_SHORT: 0.030,
        promql.MESSAGES_SHORT: 160.0,
        promql.LOST_SHORT: 0.0,
        promql.LOSS_RATIO_SHORT: 0.0,
        promql.RECONNECTS_LONG: 0.0,
    }
    own = {
        "up": 1.0,
        "scrape_duration_seconds": 0.01,
        "scrape_samples_scraped": 300.0,
        "process_cpu_seconds_total": 1.0,
        "process_resident_memory_bytes": 1e8,
        "process_start_time_seconds": moments[0],
    }
    for index in range(probes):
        history = History()
        market = {**candidate(index), "market": "spot"}
        target = {**candidate(index), "instance": f"i-{index:04}", "job": metrics.JOB}
        for number, moment in enumerate(moments):
            for name in (promql.LATENCY_LIVE, promql.RECEIVE_DELAY_SHORT):
                history.add(name, market, moment, minutes[number % len(minutes)])
            for name, value in floats.items():
                history.add(name, market, moment, value)
            for name, value in own.items():
                history.add(name, target, moment, value)
            history.add(metrics.RUN_PHASE_STARTED.name, target, moment, moments[0])
            info = {**target, "run": "2026-01-31T06:05:00Z", "phase": metrics.Phase.MEASURE}
            history.add(metrics.RUN_INFO.name, info, moment, 1.0)
        history.send(url)


def variables(uid: str) -> dict[str, str]:
    one = uid == "sweep-candidate"
    chosen = candidate(0)
    values = {label: chosen[label] if one else ".*" for label in promql.CANDIDATE}
    for side, index in (("a", 0), ("b", 4)):
        values |= {f"{side}_{label}": candidate(index)[label] for label in promql.CANDIDATE}
    return {
        **values,
        "instance": ".*",
        "job": metrics.JOB,
        "symbol": ".*",
        "stream": "(trade|depth@100ms)",
        "experiment": NAME,
        "market": "spot",
        "window": "15m",
    }


def ask(url: str, query: DashboardQuery, now: float, interval: int) -> Timed:
    step = query.step_sec or interval
    if query.kind == "heatmap":
        step = -(-HOURS * 3600 // HEAT_MAP_COLUMNS // interval) * interval
    window = max(step + interval, 4 * interval)
    asked = query.substituted(variables(query.dashboard) | {"__rate_interval": f"{window}s"})
    path, parameters = request(asked, now, step)
    took, answer = [], b""
    for _ in range(REPEATS):
        before = time.perf_counter()
        response = requests.get(f"{url}/api/v1/{path}", params=parameters, timeout=300)
        took.append(time.perf_counter() - before)
        if response.status_code == requests.codes.unprocessable:  # more samples than it may load
            return Timed(query, math.inf, 0.0, 0)
        response.raise_for_status()
        answer = response.content
    data = response.json()["data"]
    series = len(data["result"] if isinstance(data, dict) else data)
    return Timed(query, min(took), len(answer) / 1e6, series)


def request(query: DashboardQuery, now: float, step: int) -> tuple[str, Mapping[str, Any]]:
    span = {"start": now - HOURS * 3600, "end": now}
    if query.kind == "variable":
        selector, label = query.label_values
        return f"label/{label}/values", {"match[]": selector, **span}
    expr = LIKE_LATENCY.sub(metrics.LATENCY.name, query.expr)
    if query.instant:
        return "query", {"query": expr, "time": now}
    return "query_range", {"query": expr, **span, "step": step}


def measure(experiment: Experiment, runs: list[Run], probes: int, slowest: int) -> None:
    interval = experiment.timing.scrape_interval_sec
    now = runs[-1].measure_end_ns / NS_PER_SEC - 60
    with (
        tempfile.TemporaryDirectory() as folder,
        running_with(HISTORY, find_or_fetch(), Path(folder), receiver=True) as prometheus,
    ):
        url = prometheus.url
        plant(url, experiment, NAME, probes, runs)
        moments = np.arange(now - HOURS * 3600 - 3600, now, interval).tolist()
        plant_records(url, probes, moments)
        timed = [ask(url, query, now, interval) for query in all_queries()]
    timed.sort(key=lambda one: one.seconds, reverse=True)
    above = sum(one.seconds > 1 for one in timed)
    print(f"{probes} probes: {len(timed)} queries, {above} of them slower than a second")
    for one in timed[:slowest]:
        print(f"{one.seconds:8.3f} s {one.megabytes:7.2f} MB {one.series:5} {one.query.id}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probes", type=int, nargs="+", default=[24, 96])
    parser.add_argument("--slowest", type=int, default=12, help="how many to print")
    options = parser.parse_args()
    experiment = load()
    for probes in options.probes:
        measure(experiment, sweep(experiment, RUNS), probes, options.slowest)


if __name__ == "__main__":
    main()
