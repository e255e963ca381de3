"""What the `sweep` commands are asked for: a frozen record for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from latency_sweep.analysis.evidence.label_names import LabelNames
    from latency_sweep.collector.export.request import Discovery, ExportKind, ProbeTarget
    from latency_sweep.collector.lifecycle.planning import SweepRequest
    from latency_sweep.prometheus.version import Version
    from latency_sweep.runtime.options import PrometheusOptions


@dataclass(frozen=True, slots=True)
class SweepSelection:
    """Which sweep is meant.

    Attributes:
        sweeps: folder in which each sweep has its own.
        experiment_id: its name; None for the unfinished one, or a new name.
    """

    sweeps: Path
    experiment_id: str | None


@dataclass(frozen=True, slots=True)
class PrometheusAccess:
    """How to reach the sweep's Prometheus.

    Attributes:
        server: with an address only if the sweep's own is not to be used.
        token_parameter: `[REGION:]NAME` of the SSM parameter with the token, or None.
    """

    server: PrometheusOptions
    token_parameter: str | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a new sweep creates, and how.

    Attributes:
        request: which candidates and runs.
        bucket: S3 bucket for state, wheel and archive.
        wheel: what the probes install.
        monitor_region: where the central Prometheus is made; None for the first region.
        monitor_cidr: address from which an existing Prometheus scrapes; None to make one.
        prometheus_url: where this machine reaches Prometheus; None for a tunnel.
        ttl_hours: after that the resources have expired; None for half as long again as needed.
        max_usd: most that it may cost, or None.
        var_file: further variables for Terraform, or None.
        prices: price table; None for the one shipped.
        terraform: the program, or None.
    """

    request: SweepRequest
    bucket: str | None
    wheel: str | None
    monitor_region: str | None
    monitor_cidr: str | None
    prometheus_url: str | None
    ttl_hours: int | None
    max_usd: float | None
    var_file: Path | None
    prices: Path | None
    terraform: Path | None


@dataclass(frozen=True, slots=True)
class PreflightOptions:
    """`sweep preflight`.

    Attributes:
        request: which candidates and runs.
        bucket: S3 bucket to check, or None.
        monitor_region: where the central Prometheus is made; None for the first region.
        monitor_cidr: address from which an existing Prometheus scrapes; None to make one.
        prices: price table; None for the one shipped.
        refresh_prices: price table to write from AWS's price list and to use, or None.
        exchange_info: saved `exchangeInfo` to check the symbols against, or None.
        json: print JSON.
    """

    request: SweepRequest
    bucket: str | None
    monitor_region: str | None
    monitor_cidr: str | None
    prices: Path | None
    refresh_prices: Path | None
    exchange_info: Path | None
    json: bool


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """`sweep deploy`."""

    sweep: SweepSelection
    deployment: Deployment


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """`sweep collect`; `ready_timeout_sec` is how long to wait for the probes."""

    sweep: SweepSelection
    prometheus: PrometheusAccess
    ready_timeout_sec: float


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """`sweep status`; `json` prints JSON."""

    sweep: SweepSelection
    prometheus: PrometheusAccess
    json: bool


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """`sweep archive`."""

    sweep: SweepSelection
    prometheus: PrometheusAccess


@dataclass(frozen=True, slots=True)
class DestroyOptions:
    """`sweep destroy`.

    Attributes:
        sweep: which one.
        terraform: the program, or None.
        discard_evidence: destroy even though measurements are not archived.
    """

    sweep: SweepSelection
    terraform: Path | None
    discard_evidence: bool


@dataclass(frozen=True, slots=True)
class ReapOptions:
    """`sweep reap`.

    Attributes:
        experiment_id: delete everything of this sweep; None for what has expired.
        yes: delete, instead of only listing.
        json: print the list as JSON.
    """

    experiment_id: str | None
    yes: bool
    json: bool


@dataclass(frozen=True, slots=True)
class SweepRunOptions:
    """`sweep run`; `ready_timeout_sec` is how long to wait for the probes."""

    sweep: SweepSelection
    deployment: Deployment
    prometheus: PrometheusAccess
    ready_timeout_sec: float


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """`sweep watch`.

    Attributes:
        server: the Prometheus.
        config: experiment file; None for the one shipped.
        experiment_id: value of the `experiment` label; None for the experiment's name.
        names: of the target labels.
        once: print once and end.
        json: print JSON, once.
    """

    server: PrometheusOptions
    config: Path | None
    experiment_id: str | None
    names: LabelNames
    once: bool
    json: bool


@dataclass(frozen=True, slots=True)
class LocalSweepOptions:
    """`sweep demo`; None is the demo's own.

    Attributes:
        config: experiment file.
        sites: file with the simulated sites.
        runs: how many runs to wait for.
        results: folder in which the report's folder is made.
        replay: recorded frames to send instead of the simulated market.
        streams: full names of the streams whose raw messages the recording holds.
        speed: how many times faster than recorded they are sent.
        ground_truth: record what the exchange really sent.
        keep: leave the stack running.
    """

    config: Path | None
    sites: Path | None
    runs: int | None
    results: Path
    replay: Path | None
    streams: tuple[str, ...]
    speed: float | None
    ground_truth: bool
    keep: bool


@dataclass(frozen=True, slots=True)
class ExportFilesOptions:
    """`sweep export`.

    Attributes:
        kind: what to export.
        folder: where to.
        force: replace files that differ.
        config: experiment file; None for the one shipped.
        experiment_id: value of the `experiment` label; None for the experiment's name.
        job: name of the scrape job, or None.
        selector: label matchers of the probes' jobs, or None.
        runbook_url: where the runbook is published, or None.
        datasource: UID or name of Grafana's data source, or None.
        discovery: how Prometheus finds the probes.
        targets: the probes, where it is told them.
        version: of the Prometheus that reads the files.
    """

    kind: ExportKind
    folder: Path
    force: bool
    config: Path | None
    experiment_id: str | None
    job: str | None
    selector: str | None
    runbook_url: str | None
    datasource: str | None
    discovery: Discovery
    targets: tuple[ProbeTarget, ...]
    version: Version


AwsOptions: TypeAlias = (
    PreflightOptions
    | DeployOptions
    | CollectOptions
    | StatusOptions
    | ArchiveOptions
    | DestroyOptions
    | ReapOptions
    | SweepRunOptions
    | WatchOptions
)
Options: TypeAlias = AwsOptions | LocalSweepOptions | ExportFilesOptions
