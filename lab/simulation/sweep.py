"""Simulated sweeps: evidence as Prometheus would give it, with a known ground truth.

Each site sees the same exchange at the same time. A message's latency is

    network * noise + exchange

`network` is the site's typical latency; its logarithm has an effect per run and a first-order
autoregressive level per window. `noise` is log-normal with a heavier log-normal tail. `exchange`
is the queueing that all sites share in the same window, also autoregressive, with bursts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_sweep.analysis.evidence.records import (
    Candidate,
    Evidence,
    EvidenceSelection,
    InstanceEvidence,
    RunEvidence,
)
from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SCHEMA: Final = 8
STRATA: Final = {"low": 6, "high": 14, "peak": 0}
REGIONS: Final = (
    "ap-northeast-1",
    "ap-southeast-1",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "me-central-1",
)
INSTANCE_TYPES: Final = ("c6i.large", "c6in.large", "c7gn.medium", "r6i.large")
_START: Final = datetime(2026, 1, 5, tzinfo=UTC)
_LOWEST_SEC, _HIGHEST_SEC = 1e-4, 60.0


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The ground truth of a simulated sweep. Times are seconds, spreads are of logarithms.

    Attributes:
        network: typical network latency per site.
        runs: runs of each site, dealt to the strata in turn.
        windows: windows per run, of one minute each.
        rate: messages per window and site.
        run_sd: spread of the effect of a run, per site.
        level_sd: spread of the level of a window around it.
        correlation: of the levels of neighbouring windows.
        noise_sd: spread of the messages of a window.
        tail_share: share of messages with the heavier tail.
        tail_sd: its spread.
        exchange: typical queueing at the exchange, shared.
        exchange_sd: its spread.
        burst_share: share of windows in which it is five times that.
        back_to_back: the runs follow one another without a pause, so that levels carry over.
        clock_bound: clock error bound of every site.
    """

    network: tuple[float, ...]
    runs: int = 9
    windows: int = 60
    rate: int = 600
    run_sd: float = 0.02
    level_sd: float = 0.03
    correlation: float = 0.95
    noise_sd: float = 0.15
    tail_share: float = 0.01
    tail_sd: float = 0.5
    exchange: float = 0.0005
    exchange_sd: float = 0.3
    burst_share: float = 0.02
    back_to_back: bool = False
    clock_bound: float = 20e-6


def simulate(actual: GroundTruth, rng: np.random.Generator) -> Evidence:
    """One sweep."""
    return evidence_of(actual, simulate_latencies(actual, rng))


def evidence_of(actual: GroundTruth, latencies: Floats) -> Evidence:
    """Latencies of shape (sites, runs, windows, messages) as evidence."""
    runs = [
        _run(candidate(site), run, latencies[site, run], actual)
        for site in range(len(actual.network))
        for run in range(actual.runs)
    ]
    selection = EvidenceSelection(
        experiment="simulation",
        market="spot",
        streams=("trade", "depth"),
        symbols=(),
        by=("region", "instance_type"),
        since=_START.timestamp(),
        until=(_START + timedelta(days=actual.runs)).timestamp(),
    )
    runs.sort(key=lambda run: (run.candidate, run.run))
    return Evidence(selection, tuple(runs), source="simulation")


def simulate_latencies(actual: GroundTruth, rng: np.random.Generator) -> Floats:
    """Latencies in seconds, shape (sites, runs, windows, messages)."""
    sites, shape = len(actual.network), (actual.runs, actual.windows)
    # All sites see the same queues at the exchange.
    shared = _levels(rng, (1, *shape), actual.correlation, carry_over=actual.back_to_back)[0]
    queue = actual.exchange * np.exp(actual.exchange_sd * shared)
    queue *= np.where(rng.random(shape) < actual.burst_share, 5.0, 1.0)
    own = _levels(rng, (sites, *shape), actual.correlation, carry_over=actual.back_to_back)
    level = actual.level_sd * own + actual.run_sd * rng.standard_normal((sites, actual.runs, 1))
    messages = rng.standard_normal((sites, *shape, actual.rate), dtype=np.float32)
    tail = rng.random(messages.shape, dtype=np.float32) < actual.tail_share
    messages *= np.where(tail, np.float32(actual.tail_sd), np.float32(actual.noise_sd))
    np.abs(messages, out=messages, where=tail)
    typical = np.array(actual.network)[:, np.newaxis, np.newaxis] * np.exp(level)
    latency: Floats = typical[..., np.newaxis] * np.exp(messages) + queue[..., np.newaxis]
    return latency


def _levels(
    rng: np.random.Generator, shape: tuple[int, int, int], correlation: float, *, carry_over: bool
) -> Floats:
    """Stationary autoregressive series of variance 1 along the windows."""
    sites, runs, windows = shape
    if carry_over:
        series = _levels(rng, (sites, 1, runs * windows), correlation, carry_over=False)
        return series.reshape(shape)
    shocks = rng.standard_normal(shape) * np.sqrt(1 - correlation**2)
    level = rng.standard_normal((sites, runs))
    series = np.empty(shape)
    for window in range(windows):
        level = correlation * level + shocks[..., window]
        series[..., window] = level
    return series


def candidate(site: int) -> Candidate:
    """The name under which a site of `GroundTruth.network` goes; there are 24."""
    region = REGIONS[site // len(INSTANCE_TYPES) % len(REGIONS)]
    return Candidate(
        ("region", "instance_type"), (region, INSTANCE_TYPES[site % len(INSTANCE_TYPES)])
    )


def _run(site: Candidate, index: int, latencies: Floats, actual: GroundTruth) -> RunEvidence:
    names = tuple(STRATA)
    stratum = names[index % len(names)]
    if actual.back_to_back:
        start = _START + timedelta(minutes=index * actual.windows)
    else:
        start = _START + timedelta(days=index // len(names), hours=STRATA[stratum])
    windows = histograms(latencies)
    instance = InstanceEvidence(
        instance=site.name,
        az_id=None,
        latency=FloatHistogram.merge(*windows),
        windows=windows,
        messages=int(latencies.size),
        lost=0,
        reconnects=0,
        negative=0,
        hours=actual.windows / 60,
        coverage=1.0,
        clock_error_bound_sec=actual.clock_bound,
        clock_synchronized=True,
    )
    return RunEvidence(site, start.strftime("%Y-%m-%dT%H:%M:%SZ"), stratum, (instance,))


def histograms(rows: Floats) -> tuple[FloatHistogram, ...]:
    """A native histogram of each row; like `FloatHistogram.from_samples`, for many rows at once."""
    bucket = np.searchsorted(_ALL.upper, rows)
    size = _ALL.upper.size
    flat = (np.arange(len(rows))[:, np.newaxis] * size + bucket).ravel()
    counts = np.bincount(flat, minlength=len(rows) * size).reshape(len(rows), size)
    return tuple(
        FloatHistogram(
            float(values.size),
            float(values.sum()),
            _ALL.lower[occupied],
            _ALL.upper[occupied],
            row[occupied],
        )
        for values, row, occupied in zip(rows, counts, counts > 0, strict=True)
    )


# Every bucket that a latency can fall into, by observing a value in each.
_ALL: Final = FloatHistogram.from_samples(
    np.exp2(
        np.arange(
            np.floor(np.log2(_LOWEST_SEC)) * 2**SCHEMA, np.ceil(np.log2(_HIGHEST_SEC)) * 2**SCHEMA
        )
        / 2**SCHEMA
        + 0.5 / 2**SCHEMA
    ),
    SCHEMA,
)
