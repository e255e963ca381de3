"""Hand-made evidence: candidates with latency of one shape and a scale chosen per run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from scipy import stats

from latency_sweep.analysis.evidence.records import (
    Candidate,
    Evidence,
    EvidenceSelection,
    InstanceEvidence,
    RunEvidence,
)
from latency_sweep.contract.experiment import Experiment, default_path, parse
from latency_sweep.nativehist.float_histogram import FloatHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STRATA = ("low", "high", "peak")
# Nine factors with a spread of about 1 %, as runs differ.
WOBBLE = (1.0, 1.012, 0.991, 1.004, 0.986, 1.009, 0.997, 1.015, 0.993)


def candidate_of(instance_type: str = "c6i.large", region: str = "ap-northeast-1") -> Candidate:
    return Candidate(("region", "instance_type"), (region, instance_type))


def latencies(p99: float, *, samples: int = 2000, spread: float = 0.15) -> FloatHistogram:
    """Log-normal latencies with this p99 in seconds; no randomness."""
    z = stats.norm.ppf((np.arange(samples) + 0.5) / samples)
    return FloatHistogram.from_samples(p99 * np.exp(spread * (z - stats.norm.ppf(0.99))))


def run_of(candidate: Candidate, index: int, latency: FloatHistogram, **fields: Any) -> RunEvidence:
    stratum = STRATA[index % len(STRATA)]
    hour = {"low": 6, "high": 14, "peak": 0}[stratum]
    instance = InstanceEvidence(
        instance="i-1",
        az_id=None,
        latency=latency,
        windows=(),
        messages=20_000,
        lost=0,
        reconnects=0,
        negative=0,
        hours=1.0,
        coverage=1.0,
        clock_error_bound_sec=10e-6,
        clock_synchronized=True,
    )
    label = f"2026-01-{1 + index // len(STRATA):02d}T{hour:02d}:05:00Z"
    return changed(RunEvidence(candidate, label, stratum, (instance,)), **fields)


def changed(run: RunEvidence, **fields: Any) -> RunEvidence:
    """The run with other fields: its own, or else those of every instance."""
    own = {name: fields.pop(name) for name in RunEvidence.__dataclass_fields__ if name in fields}
    instances = tuple(replace(instance, **fields) for instance in run.instances)
    return replace(run, **{"instances": instances, **own})


def runs_of(
    candidate: Candidate, p99s: Sequence[float], *, spread: float = 0.15, **fields: Any
) -> list[RunEvidence]:
    """A run for each p99 (seconds), dealt to the three strata in turn."""
    return [
        run_of(candidate, index, latencies(p99, spread=spread), **fields)
        for index, p99 in enumerate(p99s)
    ]


def steady(p99: float, runs: int = 9) -> list[float]:
    """The p99 of so many runs, seconds, with the wobble of real ones."""
    return [p99 * WOBBLE[index % len(WOBBLE)] for index in range(runs)]


def restless(p99: float, runs: int = 9) -> list[float]:
    """The same with another wobble, so that differences vary from run to run."""
    return [p99 * WOBBLE[(3 * index + 4) % len(WOBBLE)] for index in range(runs)]


def evidence(*groups: Iterable[RunEvidence], **fields: Any) -> Evidence:
    runs = sorted((run for group in groups for run in group), key=lambda r: (r.candidate, r.run))
    selection = EvidenceSelection(
        "test", "spot", ("trade", "depth"), (), ("region", "instance_type"), 0.0, 1e9
    )
    return replace(Evidence(selection, tuple(runs), source="by hand"), **fields)


def rules(**changes: Any) -> Experiment:
    """The shipped experiment with few resamples; `a__b=1` sets key b of section a."""
    document = yaml.safe_load(default_path().read_text(encoding="utf-8"))
    document["decision"]["bootstrap_resamples"] = 400
    for path, value in changes.items():
        *sections, key = path.split("__")
        target = document
        for section in sections:
            target = target[section]
        target[key] = value
    return parse(yaml.safe_dump(document, sort_keys=False), source="test")
