"""Synthetic sweeps and the verdicts that the real decision draws from them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.evidence.records import (
    Candidate,
    Evidence,
    EvidenceSelection,
    InstanceEvidence,
    RunEvidence,
)
from latency_sweep.contract.experiment import Experiment, load
from latency_sweep.nativehist.float_histogram import FloatHistogram
from tests.analysis.candidates import changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.analysis.decision.verdict import Verdict

BY = ("region", "az_id", "instance_type")
START = datetime(2026, 11, 1, tzinfo=UTC)
STRATA = {0: "peak", 6: "low", 14: "high"}
HOSTILE = "a<b>&|`x`\n\x1b[31m\u202e=1+1\"'"
JAPANESE = "東京/ゾーン/大きい-👩‍💻"
SCRIPT = "<script>alert(1)</script>//"
LONG = "ap-northeast-1-with-a-name-that-does-not-end/" + "x" * 120


def experiment() -> Experiment:
    """The shipped experiment with fewer resamples, for speed."""
    shipped = load()
    decision = shipped.decision.model_copy(update={"bootstrap_resamples": 200})
    return shipped.model_copy(update={"decision": decision})


def place(name: str) -> Candidate:
    """A candidate of which the last dimension takes what the name leaves over."""
    return Candidate(BY, tuple([*name.split("/", 2), "", ""][:3]))


def runs_of(count: int) -> list[tuple[str, str]]:
    """Run labels and strata: three times a day."""
    days = (START + timedelta(days=d, hours=h) for d in range(count) for h in STRATA)
    return [(d.isoformat().replace("+00:00", "Z"), STRATA[d.hour]) for d in days][:count]


def run_evidence(
    candidate: Candidate,
    label: str,
    stratum: str | None,
    samples: np.ndarray[Any, np.dtype[np.float64]],
) -> RunEvidence:
    """A clean run of two instances in twelve windows."""
    instances = tuple(
        _instance(f"i-{n:017x}", [part[n::2] for part in np.array_split(samples, 12)])
        for n in range(2)
    )
    return RunEvidence(candidate, label, stratum, instances)


def _instance(name: str, parts: list[np.ndarray[Any, np.dtype[np.float64]]]) -> InstanceEvidence:
    windows = tuple(FloatHistogram.from_samples(part) for part in parts)
    return InstanceEvidence(
        instance=name,
        az_id="az1",
        latency=FloatHistogram.merge(*windows),
        windows=windows,
        messages=10_000,
        lost=0,
        reconnects=0,
        negative=0,
        hours=1.0,
        coverage=1.0,
        clock_error_bound_sec=5e-5,
        clock_synchronized=True,
    )


def sweep(
    medians: dict[str, float],
    *,
    runs: int = 9,
    samples: int = 12_000,
    noise: float = 0.02,
    seed: int = 1,
    changes: dict[str, dict[str, Any]] | None = None,
    source: str = "http://prometheus:9090",
) -> Evidence:
    """Log-normal latencies around each candidate's median, with an effect of each run.

    Args:
        medians: seconds, by name of the place.
        runs: per place.
        samples: per run.
        noise: standard deviation of the run's effect, as a ratio.
        seed: of everything random.
        changes: fields of a run or of its instances to overrule, by name of the candidate.
        source: where it claims to come from.
    """
    rng = np.random.default_rng(seed)
    shared = rng.lognormal(0.0, 0.05, runs)
    found = []
    for name, median in sorted(medians.items()):
        for index, (label, stratum) in enumerate(runs_of(runs)):
            level = median * shared[index] * rng.lognormal(0.0, noise)
            values = level * rng.lognormal(0.0, 0.25, samples)
            more = (changes or {}).get(name, {})
            run = run_evidence(place(name), label, stratum, values)
            found.append(changed(run, **more))
    selection = EvidenceSelection(
        experiment="november",
        market="spot",
        streams=("trade", "depth"),
        symbols=("BTCUSDT",),
        by=BY,
        since=START.timestamp(),
        until=(START + timedelta(days=4)).timestamp(),
    )
    ordered = tuple(sorted(found, key=lambda run: (run.candidate, run.run)))
    return Evidence(selection, ordered, source)


TOKYO = "ap-northeast-1/apne1-az4/c6in.large"
TOKYO_ARM = "ap-northeast-1/apne1-az4/c7gn.medium"
SINGAPORE = "ap-southeast-1/apse1-az1/c6i.large"
FRANKFURT = "eu-central-1/euc1-az2/c6i.large"


def _winner() -> Evidence:
    medians = {TOKYO: 0.004, TOKYO_ARM: 0.0044, SINGAPORE: 0.012, FRANKFURT: 0.04}
    evidence = sweep(medians, changes={SINGAPORE: {"lost": 40}})
    first = evidence.runs[0]
    excluded = changed(
        run_evidence(first.candidate, "2026-11-04T00:00:00Z", "peak", np.full(500, 0.02)),
        exclusion_reasons=("only 61 % of the scrapes succeeded", "the probe restarted"),
        coverage=0.61,
    )
    return Evidence(
        evidence.selection, (*evidence.runs, excluded), evidence.source, ("Prometheus: a warning",)
    )


def _many() -> Evidence:
    types = ("c6i.large", "c6in.large", "c7gn.medium", "r6i.large")
    regions = (
        "ap-northeast-1",
        "ap-southeast-1",
        "eu-central-1",
        "eu-west-1",
        "eu-west-2",
        "me-central-1",
    )
    medians = {
        f"{region}/{region[:2]}-az{1 + j}/{kind}": 0.003 * (1.6**i) * (1 + 0.05 * j)
        for i, region in enumerate(regions)
        for j, kind in enumerate(types)
    }
    return sweep(medians, samples=4_000)


def _no_runs() -> Evidence:
    exclusion_reasons = {"exclusion_reasons": ("the clock was not synchronised",)}
    return sweep(
        {TOKYO: 0.004, SINGAPORE: 0.01},
        runs=3,
        changes={TOKYO: exclusion_reasons, SINGAPORE: exclusion_reasons},
    )


def _unknown() -> Evidence:
    """Nothing but latencies of hardly any message, some at zero or before they were sent."""
    nothing = dict.fromkeys(
        (
            "messages",
            "lost",
            "reconnects",
            "hours",
            "negative",
            "clock_error_bound_sec",
            "clock_synchronized",
        )
    )
    bare = {**nothing, "windows": (), "stratum": None, "coverage": 0.99}
    odd = {**bare, "latency": FloatHistogram.from_samples([-0.001, 0.0, 0.001])}
    evidence = sweep({TOKYO: 0.004, SINGAPORE: 0.01}, runs=2, changes={TOKYO: odd, SINGAPORE: bare})
    runs = tuple(dataclasses.replace(r, instances=r.instances[:1]) for r in evidence.runs)
    return dataclasses.replace(evidence, runs=runs)


def _missing() -> Evidence:
    """One rival without its first run."""
    evidence = sweep({TOKYO: 0.004, SINGAPORE: 0.0045})
    first = next(run for run in evidence.runs if run.candidate.name == SINGAPORE)
    return dataclasses.replace(evidence, runs=tuple(r for r in evidence.runs if r is not first))


SWEEPS: dict[str, Callable[[], Evidence]] = {
    "winner": _winner,
    "tie": lambda: sweep({TOKYO: 0.004, TOKYO_ARM: 0.004}, noise=0.002),
    "inconclusive": lambda: sweep({TOKYO: 0.004, TOKYO_ARM: 0.00405}, runs=4, noise=0.1),
    "missing": _missing,
    "three_runs": lambda: sweep({TOKYO: 0.004, SINGAPORE: 0.0045}, runs=3),
    "none_passes": lambda: sweep({TOKYO: 0.2, SINGAPORE: 0.4}),
    "one": lambda: sweep({TOKYO: 0.004}),
    "many": _many,
    "no_runs": _no_runs,
    "nothing": lambda: Evidence(sweep({}).selection, (), "an empty file"),
    "unknown": _unknown,
    "hostile": lambda: sweep({HOSTILE: 0.004, LONG: 0.006, JAPANESE: 0.005, SCRIPT: 0.02}),
}


@cache
def evidence_of(name: str) -> Evidence:
    """One of the `SWEEPS`."""
    return SWEEPS[name]()


@cache
def verdict_of(name: str) -> Verdict:
    """What the decision makes of it."""
    return decide(evidence_of(name), experiment())
