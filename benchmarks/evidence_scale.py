"""How long and how much memory it takes to collect the evidence of a large sweep.

Plants a sweep in a real Prometheus by remote write (one-hour runs, eight series a place, native
histograms of schema 8 that grow from scrape to scrape), then collects its evidence in a process
of its own and prints seconds, peak memory and what was read:

    python -m benchmarks.evidence_scale --candidates 6 24 96 --runs 9

The server runs on this machine and shares its cores with the client.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latency_sweep.analysis.evidence.collect import EvidenceRequest, collect
from latency_sweep.analysis.prometheus_api import PrometheusClient
from latency_sweep.contract import metrics
from latency_sweep.contract.experiment import Experiment, load
from latency_sweep.contract.timeline import NS_PER_SEC, Run, Timeline
from latency_sweep.lab.binaries.prometheus_binary import find_or_fetch
from latency_sweep.lab.local.prometheus_process import running_with
from latency_sweep.lab.simulation.remote_write import HISTORY, History, Native
from latency_sweep.nativehist.bounds import bucket_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

CHANNELS = [
    (stream, symbol)
    for stream in ("trade", "depth@100ms")
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
]
MESSAGES_PER_SEC = 20
TYPES = ("c6i.large", "c6in.large", "c7gn.medium", "r6i.large")


def sweep(experiment: Experiment, runs: int) -> list[Run]:
    timeline = Timeline.of(experiment.timing)
    run = timeline.run_at(time.time_ns() - (runs + 1) * timeline.cycle_ns)
    found = [run]
    while len(found) < runs:
        found.append(timeline.run_after(found[-1]))
    return found


def plant(url: str, experiment: Experiment, name: str, candidates: int, runs: Sequence[Run]) -> int:
    """Write all scrapes of all candidates; returns the number of series.

    Every region repeats the history of the first one, since making it takes most of the time.
    """
    rng = np.random.default_rng(1)
    patterns = []
    for _ in range(min(candidates, len(TYPES))):
        history = History()
        for number, run in enumerate(runs):
            _plant_run(history, run, experiment.timing.scrape_interval_sec, number=number, rng=rng)
        patterns.append(history.series)
    series = 0
    for index in range(candidates):
        region, kind = divmod(index, len(TYPES))
        place = {
            "instance": f"i-{index:04}",
            "region": f"region-{region}",
            "az_id": f"az-{region}",
            "instance_type": TYPES[kind],
            "experiment": name,
            "job": metrics.JOB,
        }
        labelled = {
            tuple(sorted((*labels, *place.items()))): samples
            for labels, samples in patterns[kind].items()
        }
        repeated = History(labelled)
        for run in runs:  # what tells it from the region that it repeats
            feed = {"market": "spot", "stream": CHANNELS[0][0], "symbol": "OWN", "run": run.label}
            end = run.end_ns / NS_PER_SEC - 1
            own = Native.of(np.full(1, 0.01 * (1 + region / 100)))
            repeated.add(metrics.LATENCY.name, {**feed, **place}, end, own)
        series += len(repeated.series)
        repeated.send(url)
    return series


def _plant_run(
    history: History, run: Run, interval: int, *, number: int, rng: np.random.Generator
) -> None:
    start, end = run.start_ns / NS_PER_SEC, run.end_ns / NS_PER_SEC
    measured = run.measure_start_ns / NS_PER_SEC, run.measure_end_ns / NS_PER_SEC
    market = {"market": "spot"}
    moments = np.arange(start + 3, end, interval)
    for moment in moments.tolist():
        history.add(metrics.CONNECTED.name, market, moment, 1.0)
        history.add(metrics.DISCONNECTED.name, market, moment, 0.0)
        for reason in metrics.ReconnectReason:
            history.add(metrics.RECONNECTS.name, {**market, "reason": reason}, moment, 0.0)
        clock = {"source": "kernel"}
        history.add(metrics.CLOCK_ERROR_BOUND.name, clock, moment, 1e-4)
        history.add(metrics.CLOCK_SYNCHRONIZED.name, clock, moment, 1.0)
    level = 0.01 * rng.lognormal(0.0, 0.1)
    for stream, symbol in CHANNELS:
        feed = {**market, "stream": stream, "symbol": symbol}
        first = number * MESSAGES_PER_SEC * (end - start)
        for moment in moments.tolist():
            count = first + MESSAGES_PER_SEC * (moment - start)
            history.add(metrics.MESSAGES.name, feed, moment, count)
            history.add(metrics.LOST.name, feed, moment, 0.0)
            history.add(metrics.NEGATIVE_LATENCY.name, feed, moment, 0.0)
        of_run = {**feed, "run": run.label}
        for metric in (metrics.EXCHANGE_DELAY, metrics.DELAY_VARIATION, metrics.RECEIVE_DELAY):
            history.add(metric.name, of_run, moments[-1], Native.of(np.full(9, level)))
        _plant_latency(history, of_run, moments, measured, level=level, rng=rng)


def _plant_latency(
    history: History,
    labels: dict[str, str],
    moments: np.ndarray,
    measured: tuple[float, float],
    *,
    level: float,
    rng: np.random.Generator,
) -> None:
    total = round(MESSAGES_PER_SEC * (measured[1] - measured[0]))
    # A body with a heavy tail: about a thousand buckets in an hour.
    values = level * rng.lognormal(0.0, 0.25, total) * (1 + rng.pareto(3.0, total) / 4)
    keys = bucket_keys(values, 8)
    low = int(keys.min())
    counts, done = np.zeros(int(keys.max()) - low + 1, dtype=np.intp), 0
    for moment in moments.tolist():
        seen = round(MESSAGES_PER_SEC * (np.clip(moment, *measured) - measured[0]))
        counts += np.bincount(keys[done:seen] - low, minlength=counts.size)
        done = seen
        filled = np.flatnonzero(counts)
        native = Native(float(values[:seen].sum()), filled + low, counts[filled])
        history.add(metrics.LATENCY.name, labels, moment, native)


def measure(url: str, name: str) -> None:
    """Collect in this process and print what it took, as JSON."""
    before = time.perf_counter()
    with PrometheusClient(url) as client:
        evidence = collect(client, load(), EvidenceRequest(experiment=name))
    seconds = time.perf_counter() - before
    histograms = [h for run in evidence.runs for h in (run.latency, *run.windows)]
    result = {
        "seconds": seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "runs": len(evidence.runs),
        "excluded": sum(bool(run.exclusion_reasons) for run in evidence.runs),
        "histograms": len(histograms),
        "buckets": sum(h.counts.size for h in histograms),
        "samples": sum(run.latency.count for run in evidence.runs),
        "warnings": evidence.warnings,
    }
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, nargs="+", default=[6, 24, 96])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--collect-from", nargs=2, metavar=("URL", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.collect_from:
        measure(*options.collect_from)
        return
    experiment = load()
    runs = sweep(experiment, options.runs)
    print("candidates  runs   series  planted   collect      peak  histograms    buckets  excluded")
    for candidates in options.candidates:
        with (
            tempfile.TemporaryDirectory() as folder,
            running_with(HISTORY, find_or_fetch(), Path(folder), receiver=True) as prometheus,
        ):
            name = f"scale-{candidates}"
            before = time.perf_counter()
            series = plant(prometheus.url, experiment, name, candidates, runs)
            planted = time.perf_counter() - before
            command = [sys.executable, "-m", "benchmarks.evidence_scale", "--collect-from"]
            answer = subprocess.run(
                [*command, prometheus.url, name], check=True, capture_output=True, text=True
            )
        result = json.loads(answer.stdout)
        print(
            f"{candidates:10} {options.runs:5} {series:8} {planted:6.0f} s "
            f"{result['seconds']:7.1f} s {result['peak_mib']:6.0f} MiB "
            f"{result['histograms']:8} {result['buckets']:10} {result['excluded']:8}",
            flush=True,
        )
        for warning in result["warnings"]:
            print(f"  {warning}")


if __name__ == "__main__":
    main()
