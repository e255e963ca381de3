"""From a request to a plan: regions, types and runs, duration and cost."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import yaml
from pydantic import ValidationError

from latency_sweep.collector.aws.cost import CostGroup, Fees, estimate
from latency_sweep.collector.errors import SweepError
from latency_sweep.collector.lifecycle import schedule
from latency_sweep.collector.lifecycle.preflight import Wanted
from latency_sweep.contract import experiment as experiments
from latency_sweep.prometheus.rules import generate
from latency_sweep.prometheus.rules.generate import RulesError
from latency_sweep.runtime.atomic_file import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from latency_sweep.analysis.pricing.prices import PriceTable
    from latency_sweep.collector.aws.cost import Estimate
    from latency_sweep.contract.experiment import Experiment

# From `terraform apply` to the first whole run, and from the last run to the last instance gone.
AROUND_HOURS: Final = 0.5
_SEC_PER_HOUR: Final = 3600
_SHORTEST_TTL_HOURS: Final = 4
_LONGEST_TTL_HOURS: Final = 720


class PlanError(SweepError):
    """The request does not fit the experiment; the message says what does."""


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What the user requests; None or empty means the experiment's own.

    Attributes:
        config: experiment file.
        phase: regions of this phase and of those before it.
        instance_types: EC2 instance types.
        az_ids: by region, ids of availability zones.
        replicas: instances of each candidate.
        warmup_sec: warm-up of each run, seconds.
        duration_sec: measurement of each run, seconds.
        runs: how many, or how many in each stratum.
        strata: time strata to cover.
    """

    config: Path | None
    phase: int
    instance_types: tuple[str, ...]
    az_ids: Mapping[str, tuple[str, ...]]
    replicas: int
    warmup_sec: int | None
    duration_sec: int | None
    runs: int | None
    strata: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """What the request comes to.

    Attributes:
        experiment: with the overrides applied.
        regions: AWS regions that take part.
        instance_types: EC2 instance types that take part.
        runs: how many, or how many in each stratum.
        hours: how long the instances will be there.
    """

    experiment: Experiment
    regions: tuple[str, ...]
    instance_types: tuple[str, ...]
    runs: int
    hours: float

    @property
    def ttl_hours(self) -> int:
        """After how many hours the resources expire: half as long again as needed."""
        wanted = math.ceil(self.hours * 1.5) + 1
        return min(max(wanted, _SHORTEST_TTL_HOURS), _LONGEST_TTL_HOURS)


def outline(request: SweepRequest) -> Outline:
    """Resolve a request.

    Raises:
        ExperimentError: the experiment file cannot be used.
        PlanError: the request does not fit it.
        ScheduleError: the requested runs can never take place.
    """
    experiment = _overridden(experiments.load(request.config), request)
    regions = tuple(
        name for name, region in experiment.regions.items() if region.phase <= request.phase
    )
    if not any(region.phase == request.phase for region in experiment.regions.values()):
        phases = ", ".join(map(str, sorted({r.phase for r in experiment.regions.values()})))
        raise PlanError(f"No region belongs to phase {request.phase}; there are {phases}.")
    types = request.instance_types or tuple(experiment.instance_types)
    for name in types:
        if name not in experiment.instance_types:
            known = ", ".join(experiment.instance_types)
            raise PlanError(f"The experiment has no instance type {name!r}; it has {known}.")
    for region in request.az_ids:
        if region not in regions:
            raise PlanError(f"--az-ids names {region}; the sweep has {', '.join(regions)}.")
    try:
        generate.render(experiment)  # else the monitor finds it out when all instances are there
    except RulesError as error:
        raise PlanError(str(error)) from error
    blocks = experiment.timing.random_blocks
    runs = request.runs or (blocks.most if blocks else experiment.decision.min_runs)
    lasting_sec = schedule.longest_sec(
        experiment, now_ns=time.time_ns(), runs=runs, strata=request.strata
    )
    return Outline(experiment, regions, types, runs, lasting_sec / _SEC_PER_HOUR + AROUND_HOURS)


def wanted(request: SweepRequest, found: Outline, bucket: str | None) -> Wanted:
    """What preflight has to check."""
    types = found.experiment.instance_types
    return Wanted(
        regions=found.regions,
        architectures={name: types[name].architecture for name in found.instance_types},
        az_ids=request.az_ids,
        replicas=request.replicas,
        bucket=bucket,
        endpoint=found.experiment.market_data.endpoint,
    )


def cost_of(
    request: SweepRequest,
    found: Outline,
    *,
    offered: Mapping[str, Mapping[str, Sequence[str]]],
    monitor_region: str | None,
    prices: PriceTable,
    fees: Fees,
) -> Estimate:
    """What the sweep will cost.

    Args:
        request: of the user.
        found: what it comes to.
        offered: by region and type, the zones that have it; where unknown it counts as offered.
        monitor_region: where a central Prometheus is made; None for none.
        prices: instance hours.
        fees: everything else.
    """
    groups = []
    for region in found.regions:
        for name in found.instance_types:
            zones = offered.get(region, {}).get(name)
            if zones is not None and not zones:
                continue
            zone_count = len(zones or (1,)) if region in request.az_ids else 1
            phase = found.experiment.regions[region].phase
            groups.append(CostGroup(region, phase, name, request.replicas * zone_count))
    return estimate(
        groups,
        hours=found.hours,
        scrape_interval_sec=found.experiment.timing.scrape_interval_sec,
        monitor_region=monitor_region,
        prices=prices,
        fees=fees,
    )


def new_id(now: datetime | None = None) -> str:
    """A name for a new sweep: `latency-sweep-20260131-0600`, in UTC."""
    return f"latency-sweep-{(now or datetime.now(UTC)):%Y%m%d-%H%M%S}"


def write_experiment(path: Path, experiment: Experiment) -> None:
    """Write an experiment file that every part of the sweep then reads.

    Raises:
        PlanError: the file cannot be written.
    """
    document = experiment.model_dump(mode="json", by_alias=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as scratch:
            scratch.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise PlanError(f"{path}: cannot be written: {error.strerror}.") from error


def _overridden(experiment: Experiment, request: SweepRequest) -> Experiment:
    given = {"warmup_sec": request.warmup_sec, "measurement_sec": request.duration_sec}
    changes = {key: value for key, value in given.items() if value is not None}
    document = experiment.model_dump(by_alias=True)
    document["timing"].update(changes)
    try:
        return type(experiment).model_validate(document)
    except ValidationError as error:
        raise PlanError(
            f"The requested timing is not valid: {experiments.explain(error)}."
        ) from error
