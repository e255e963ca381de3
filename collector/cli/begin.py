"""Find the sweep that is meant, or begin a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.pricing.prices import load_prices
from latency_sweep.collector import state
from latency_sweep.collector.aws import inventory, tunnel
from latency_sweep.collector.aws.cost import load_fees
from latency_sweep.collector.aws.terraform import find_program
from latency_sweep.collector.lifecycle import archiving, planning
from latency_sweep.collector.lifecycle.planning import PlanError
from latency_sweep.collector.lifecycle.preflight import PreflightReport, bucket_region, inspect
from latency_sweep.collector.state import Plan, State, StateError, Sweep
from latency_sweep.runtime.options import UsageError
from latency_sweep.runtime.progress import reporter

if TYPE_CHECKING:
    from rich.console import Console

    from latency_sweep.collector.aws.session import Aws
    from latency_sweep.collector.cli.options import Deployment, SweepSelection
    from latency_sweep.collector.lifecycle.planning import Outline, SweepRequest

_WHEELS: Final = f"{archiving.PREFIX}/wheels"


def survey(
    request: SweepRequest,
    outline: Outline,
    aws: Aws,
    *,
    bucket: str | None,
    monitor_region: str | None,
    monitor_cidr: str | None,
    prices: Path | None,
) -> PreflightReport:
    """Preflight and estimate of a request.

    Args:
        request: of the user.
        outline: what it comes to.
        aws: the session.
        bucket: S3 bucket to check, or None.
        monitor_region: where the central Prometheus is made; None for the first region.
        monitor_cidr: address of an existing Prometheus; None to make one.
        prices: price table; None for the one shipped.
    """
    table = load_prices(prices)
    made_in = None if monitor_cidr else monitor_region or outline.regions[0]
    return inspect(
        aws,
        planning.wanted(request, outline, bucket),
        estimate=lambda offered: planning.cost_of(
            request,
            outline,
            offered=offered,
            monitor_region=made_in,
            prices=table,
            fees=load_fees(),
        ),
    )


def find_or_begin(
    selection: SweepSelection, deployment: Deployment, aws: Aws, console: Console
) -> Sweep:
    """The sweep that is meant, or a new one once preflight finds nothing missing.

    Raises:
        SweepError: it is not clear which is meant, or a new one cannot begin.
    """
    sweeps, name = selection.sweeps, selection.experiment_id
    if name is not None and (sweeps / name / state.STATE_FILE).exists():
        return _resumed(state.load(sweeps, name), console)
    if name is None and state.unfinished(sweeps):
        return _resumed(state.find(sweeps, None), console)
    return _begin(sweeps, name or planning.new_id(), deployment, aws, console)


def _resumed(sweep: Sweep, console: Console) -> Sweep:
    stage = sweep.state.stage.name.lower()
    reporter(console)(f"Resuming {sweep.plan.experiment_id}, which is {stage}.")
    return sweep


def _begin(sweeps: Path, name: str, deployment: Deployment, aws: Aws, console: Console) -> Sweep:
    report = reporter(console)
    if deployment.bucket is None or deployment.wheel is None:
        raise UsageError("A new sweep needs --bucket and --wheel; see sweep deploy --help.")
    if deployment.monitor_cidr is not None and deployment.prometheus_url is None:
        raise UsageError("--monitor-cidr needs --from-prometheus.")
    find_program(deployment.terraform)  # known before minutes of questions
    if deployment.prometheus_url is None and (absent := tunnel.missing()) is not None:
        report(f"Note: {absent}")
    request = deployment.request
    outline = planning.outline(request)
    checked = survey(
        request,
        outline,
        aws,
        bucket=deployment.bucket,
        monitor_region=deployment.monitor_region,
        monitor_cidr=deployment.monitor_cidr,
        prices=deployment.prices,
    )
    checked.require()
    usd, hourly = checked.estimate.usd, checked.estimate.usd_per_hour
    report(f"About {usd:.2f} USD: {hourly:.2f} an hour, {checked.estimate.hours:.1f} hours.")
    if deployment.max_usd is not None and usd > deployment.max_usd:
        raise PlanError(
            f"The sweep would cost about {usd:.2f} USD, more than --max-usd "
            f"{deployment.max_usd:g}; choose fewer runs, types or zones."
        )
    _refuse_orphans(aws, name, outline.regions)
    region = bucket_region(aws, deployment.bucket)
    uri, digest = _publish_wheel(deployment.wheel, deployment.bucket, region, aws)
    plan = Plan(
        experiment_id=name,
        phase=request.phase,
        regions=outline.regions,
        instance_types=outline.instance_types,
        az_ids=dict(request.az_ids),
        replicas=request.replicas,
        runs=outline.runs,
        strata=request.strata,
        bucket=deployment.bucket,
        bucket_region=region,
        wheel_uri=uri,
        wheel_sha256=digest,
        monitor_region=deployment.monitor_region,
        monitor_cidr=deployment.monitor_cidr,
        prometheus_url=deployment.prometheus_url,
        terraform_variables=str(deployment.var_file.absolute()) if deployment.var_file else None,
        ttl_hours=deployment.ttl_hours or outline.ttl_hours,
    )
    sweep = Sweep(sweeps / name, State(plan=plan, created=state.now()))
    planning.write_experiment(sweep.experiment_file, outline.experiment)
    sweep.save()
    report(f"Sweep {name}: {len(outline.regions)} regions, state in {sweep.folder}.")
    return sweep


def _refuse_orphans(aws: Aws, name: str, regions: tuple[str, ...]) -> None:
    """Tags tell of a sweep even when its state file is lost; it must not be begun twice."""
    existing = inventory.instances(aws, regions, experiment=name)
    for error in existing.failed.values():
        raise error
    if existing.resources:
        raise StateError(
            f"{existing.resources[0].id} in {existing.resources[0].region} belongs to {name}, "
            "whose state file is missing here; name its folder with --sweeps, or remove it with "
            f"sweep reap --experiment-id {name}."
        )


def _publish_wheel(wheel: str, bucket: str, region: str, aws: Aws) -> tuple[str, str | None]:
    """The address that probes install from, and the wheel's SHA-256 if it is on this machine."""
    path = Path(wheel)
    if "://" in wheel or "==" in wheel:
        return wheel, None
    if path.suffix != ".whl" or not path.is_file():
        raise UsageError(
            f"{wheel}: there is no such wheel; build one with python -m build --wheel."
        )
    key = f"{_WHEELS}/{path.name}"
    archiving.upload(aws, path, bucket=bucket, key=key, region=region)
    return f"s3://{bucket}/{key}", archiving.sha256_of(path)
