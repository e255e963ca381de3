"""The steps in the life of a sweep, as several subcommands take them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.cli.options import UsageError
from latency_sweep.analysis.pricing.prices import load_prices
from latency_sweep.collector import state
from latency_sweep.collector.aws import inventory, tunnel
from latency_sweep.collector.aws.cost import load_fees
from latency_sweep.collector.aws.terraform import Terraform, find_program
from latency_sweep.collector.cli import options
from latency_sweep.collector.lifecycle import archiving, collecting, deploying, planning, teardown
from latency_sweep.collector.lifecycle.planning import PlanError
from latency_sweep.collector.lifecycle.preflight import Report, bucket_region, inspect
from latency_sweep.collector.state import Plan, Stage, State, StateError, Sweep
from latency_sweep.contract import experiment as experiments
from latency_sweep.runtime import logs
from latency_sweep.runtime.progress import Meter

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from latency_sweep.analysis.prometheus_api import PrometheusClient
    from latency_sweep.collector.aws.access import Aws
    from latency_sweep.collector.lifecycle.planning import Outline, Request

_LOG: Final = logs.logger(__name__)
_WHEELS: Final = f"{archiving.PREFIX}/wheels"


def announcer(console: Console) -> Callable[[str], None]:
    """Prints lines as they are, without rich's markup, colours and wrapping, and logs them."""

    def say(line: str) -> None:
        _LOG.info(line)
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    return say


def survey(given: argparse.Namespace, request: Request, found: Outline, aws: Aws) -> Report:
    """Preflight and estimate of what was asked for."""
    prices = load_prices(given.prices)
    report = inspect(aws, planning.wanted(request, found, given.bucket))
    estimate = planning.cost_of(
        request,
        found,
        offered=report.offered,
        monitor_region=None if given.monitor_cidr else given.monitor_region or found.regions[0],
        prices=prices,
        fees=load_fees(),
    )
    return Report(report.account, report.checks, report.offered, estimate)


def find_or_begin(given: argparse.Namespace, aws: Aws, console: Console) -> Sweep:
    """The sweep that is meant, or a new one once preflight finds nothing missing.

    Raises:
        SweepError: it is not clear which is meant, or a new one cannot begin.
    """
    sweeps: Path = given.sweeps
    name: str | None = given.experiment_id
    if name is not None and (sweeps / name / state.STATE_FILE).exists():
        return _resumed(state.load(sweeps, name), console)
    if name is None and state.unfinished(sweeps):
        return _resumed(state.find(sweeps, None), console)
    return _begin(given, name or planning.new_id(), aws, console)


def deploy(given: argparse.Namespace, sweep: Sweep, aws: Aws, console: Console) -> None:
    """Create the sweep's resources, or complete them."""
    deploying.deploy(sweep, _terraform(given, sweep), aws, say=announcer(console))


def collect(given: argparse.Namespace, sweep: Sweep, aws: Aws, console: Console) -> None:
    """Wait for the probes and for the runs."""
    if sweep.state.stage < Stage.DEPLOYED:
        raise StateError(
            f"{sweep.plan.experiment_id} is not deployed; run sweep deploy "
            f"--experiment-id {sweep.plan.experiment_id} first."
        )
    experiment = experiments.load(sweep.experiment_file)
    with (
        prometheus(given, sweep, aws, console) as client,
        Meter(console) as meter,
    ):
        collecting.collect(sweep, experiment, client, meter, ready_within_sec=given.ready_timeout)


def archive(given: argparse.Namespace, sweep: Sweep, aws: Aws, console: Console) -> None:
    """Keep the evidence of what has been measured so far."""
    if sweep.state.stage < Stage.READY:
        raise StateError(
            f"{sweep.plan.experiment_id} has measured nothing yet; run sweep collect first."
        )
    if sweep.state.stage >= Stage.DESTROYED:
        raise StateError(
            f"{sweep.plan.experiment_id} is destroyed; what was kept of it is in {sweep.folder}."
        )
    experiment = experiments.load(sweep.experiment_file)
    with prometheus(given, sweep, aws, console) as client:
        archiving.keep(sweep, experiment, client, aws, say=announcer(console))


def destroy(given: argparse.Namespace, sweep: Sweep, aws: Aws, console: Console) -> None:
    """Remove the sweep from AWS."""
    teardown.destroy(
        sweep,
        _terraform(given, sweep),
        aws,
        discard_evidence=given.discard_evidence,
        say=announcer(console),
    )


@contextmanager
def prometheus(
    given: argparse.Namespace, sweep: Sweep, aws: Aws, console: Console
) -> Iterator[PrometheusClient]:
    """The central Prometheus; one on an instance of the sweep is reached through a tunnel.

    Raises:
        TunnelError: there is no tunnel.
        UsageError, AwsError, InvalidUrlError: see `options.prometheus`.
    """
    url, region = sweep.state.prometheus_url, sweep.plan.bucket_region
    own_way = given.prometheus_url or sweep.plan.prometheus_url
    with ExitStack() as opened:
        if own_way is None and sweep.state.monitor is not None:
            way = tunnel.Tunnel(sweep.state.monitor, folder=sweep.folder, say=announcer(console))
            url = opened.enter_context(way).url
        yield opened.enter_context(options.prometheus(given, aws, url=url, region=region))


def _terraform(given: argparse.Namespace, sweep: Sweep) -> Terraform:
    return Terraform(find_program(given.terraform), sweep.folder)


def _resumed(sweep: Sweep, console: Console) -> Sweep:
    stage = sweep.state.stage.name.lower()
    announcer(console)(f"Going on with {sweep.plan.experiment_id}, which is {stage}.")
    return sweep


def _begin(given: argparse.Namespace, name: str, aws: Aws, console: Console) -> Sweep:
    say = announcer(console)
    if given.bucket is None or given.wheel is None:
        raise UsageError("A new sweep needs --bucket and --wheel; sweep deploy --help tells more.")
    if given.monitor_cidr is not None and given.prometheus_url is None:
        raise UsageError("--monitor-cidr needs --prometheus-url.")
    find_program(given.terraform)  # known before minutes of questions
    if given.prometheus_url is None and (absent := tunnel.missing()) is not None:
        say(f"Note: {absent}")
    request = options.request_of(given)
    found = planning.outline(request)
    report = survey(given, request, found, aws)
    report.require()
    if report.estimate is not None:
        usd, hours = report.estimate.usd, report.estimate.hours
        say(f"About {usd:.2f} USD: {report.estimate.usd_per_hour:.2f} an hour, {hours:.1f} hours.")
        if given.max_usd is not None and usd > given.max_usd:
            raise PlanError(
                f"It would cost about {usd:.2f} USD, more than --max-usd {given.max_usd:g}; "
                "choose fewer runs, types or zones."
            )
    _refuse_orphans(aws, name, found.regions)
    region = bucket_region(aws, given.bucket)
    uri, digest = _publish_wheel(given.wheel, given.bucket, region, aws)
    plan = Plan(
        experiment_id=name,
        phase=request.phase,
        regions=found.regions,
        instance_types=found.instance_types,
        az_ids=dict(request.az_ids),
        replicas=request.replicas,
        runs=found.runs,
        strata=request.strata,
        bucket=given.bucket,
        bucket_region=region,
        wheel_uri=uri,
        wheel_sha256=digest,
        monitor_region=given.monitor_region,
        monitor_cidr=given.monitor_cidr,
        prometheus_url=given.prometheus_url,
        terraform_variables=str(given.var_file.absolute()) if given.var_file else None,
        ttl_hours=given.ttl_hours or found.ttl_hours,
    )
    sweep = Sweep(given.sweeps / name, State(plan=plan, created=state.now()))
    planning.write_experiment(sweep.experiment_file, found.experiment)
    sweep.save()
    say(f"Sweep {name}: {len(found.regions)} regions, state in {sweep.folder}.")
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
