"""What docs/aws.md says a sweep costs is what the code computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from latency_sweep.analysis.pricing.prices import load_prices
from latency_sweep.collector.aws.cost import load_fees
from latency_sweep.collector.lifecycle import planning
from latency_sweep.collector.lifecycle.planning import SweepRequest

if TYPE_CHECKING:
    from latency_sweep.collector.aws.cost import Estimate

PAGE: Final = Path(__file__).parents[2] / "docs" / "aws.md"
MONITOR_REGION: Final = "eu-central-1"
PHASES: Final = (1, 2)
SEC_PER_HOUR: Final = 3600


def _request(phase: int) -> SweepRequest:
    return SweepRequest(
        config=None,
        phase=phase,
        instance_types=(),
        az_ids={},
        replicas=1,
        warmup_sec=None,
        duration_sec=None,
        runs=None,
        strata=(),
    )


@pytest.fixture(scope="module")
def estimates() -> list[Estimate]:
    """Of phase 1 and of phases 1 and 2."""
    return [
        planning.cost_of(
            _request(phase),
            planning.outline(_request(phase)),
            offered={},
            monitor_region=MONITOR_REGION,
            prices=load_prices(None),
            fees=load_fees(),
        )
        for phase in PHASES
    ]


def _must_begin_a_line(words: str) -> None:
    lines = PAGE.read_text().splitlines()
    assert any(line.startswith(words) for line in lines), f"docs/aws.md has no line {words}"


def test_page_has_the_cost_of_each_step(estimates: list[Estimate]) -> None:
    found = planning.outline(_request(1))
    timing = found.experiment.timing
    run = (timing.warmup_sec + timing.measurement_sec + timing.cooldown_sec) / SEC_PER_HOUR
    half = planning.AROUND_HOURS / 2
    measuring = found.runs * run
    whole = measuring + run + 2 * half
    for what, hours in (
        (f"create, some {half * 60:.0f} minutes", half),
        (f"wait for the next run to begin, up to {run * 60:.0f} minutes", run),
        (f"measure, {measuring:.1f} hours", measuring),
        (f"remove, some {half * 60:.0f} minutes", half),
        (f"**all of it, up to {whole:.1f} hours**", whole),
    ):
        costs = " | ".join(f"{estimate.usd_per_hour * hours:.2f}" for estimate in estimates)
        _must_begin_a_line(f"| 7. {what} | `sweep run` | {costs} |")


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("instances", None),
        ("public IPv4", "public IPv4"),
        ("gp3 volumes", "GiB gp3"),
        ("scrapes out of the region", "metrics sent"),
        ("monitor", "central Prometheus"),
    ],
)
def test_page_has_the_cost_of_each_part(
    part: str, words: str | None, estimates: list[Estimate]
) -> None:
    types = planning.outline(_request(1)).experiment.instance_types
    wanted = [words] if words is not None else [f" x {each} " for each in types]
    sums = [
        sum(
            item.usd_per_hour or 0.0
            for item in estimate.items
            if any(each in item.what for each in wanted)
        )
        for estimate in estimates
    ]
    _must_begin_a_line(f"| {part} | {sums[0]:.2f} | {sums[1]:.2f} |")


def test_page_has_the_cost_of_an_hour(estimates: list[Estimate]) -> None:
    totals = " | ".join(f"**{estimate.usd_per_hour:.2f}**" for estimate in estimates)
    _must_begin_a_line(f"| **an hour** | {totals} |")
