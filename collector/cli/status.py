"""`sweep status`: how far a sweep is, and what exists of it in AWS."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from latency_sweep.analysis.prometheus_api import PrometheusError
from latency_sweep.collector import state
from latency_sweep.collector.aws import inventory
from latency_sweep.collector.aws.session import Aws
from latency_sweep.collector.cli import prometheus
from latency_sweep.collector.lifecycle import collecting, schedule
from latency_sweep.collector.lifecycle.readiness import Health, health
from latency_sweep.collector.state import Stage
from latency_sweep.contract import experiment as experiments
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime.options import UsageError
from latency_sweep.runtime.printable import printable
from latency_sweep.runtime.progress import duration, reporter

if TYPE_CHECKING:
    from rich.console import Console

    from latency_sweep.collector.cli.options import PrometheusAccess, StatusOptions
    from latency_sweep.collector.state import Sweep


def run(options: StatusOptions, console: Console) -> ExitCode:
    """Show state, instances and what Prometheus sees of them."""
    sweep = state.find(options.sweep.sweeps, options.sweep.experiment_id)
    document = _document(options.prometheus, sweep, Aws())
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        _show(document, console)
    return ExitCode.DONE


def _document(access: PrometheusAccess, sweep: Sweep, aws: Aws) -> dict[str, Any]:
    now = sweep.state
    found = inventory.instances(aws, sweep.plan.regions, experiment=sweep.plan.experiment_id)
    for error in found.failed.values():
        raise error
    in_ec2 = {each.id: each.state for each in found.resources}
    seen, problem = _seen(access, sweep, aws)
    known = {probe.instance_id for probe in now.probes}
    return {
        "experiment_id": sweep.plan.experiment_id,
        "stage": now.stage.name.lower(),
        "folder": str(sweep.folder),
        "created": now.created.isoformat(),
        "progress": _progress(sweep),
        "prometheus": {"url": now.prometheus_url, "problem": problem},
        "grafana_url": now.grafana_url,
        "probes": [
            {
                "region": probe.region,
                "az_id": probe.az_id,
                "instance_type": probe.instance_type,
                "instance_id": probe.instance_id,
                "replica": probe.replica,
                "ec2": in_ec2.get(probe.instance_id, "gone"),
                "prometheus": seen.get(probe.instance_id, Health.UNSEEN).value if seen else None,
            }
            for probe in now.probes
        ],
        "other_instances": [
            {"region": each.region, "instance_id": each.id, "role": each.role, "ec2": each.state}
            for each in found.resources
            if each.id not in known
        ],
        "dropped": [each.model_dump() for each in now.dropped],
        "archive": None if now.archive is None else now.archive.model_dump(),
    }


def _seen(access: PrometheusAccess, sweep: Sweep, aws: Aws) -> tuple[dict[str, Health], str | None]:
    """What Prometheus sees, or why it does not answer, which is not a failure."""
    if not Stage.DEPLOYED <= sweep.state.stage < Stage.DESTROYED:
        return {}, None
    url, region = sweep.state.prometheus_url, sweep.plan.bucket_region
    try:
        with prometheus.client(access, aws, url=url, region=region) as client:
            return health(client, sweep.plan.experiment_id), None
    except (PrometheusError, UsageError) as error:
        return {}, str(error)


def _progress(sweep: Sweep) -> str | None:
    if not sweep.state.schedule or sweep.state.stage >= Stage.COLLECTED:
        return None
    experiment = experiments.load(sweep.experiment_file)
    runs = schedule.runs_of_labels(experiment, sweep.state.schedule)
    text, share, left = collecting.progress(experiment, runs, time.time_ns())
    return f"{text}, {share:.0%} done, {duration(left)} to go"


def _show(document: dict[str, Any], console: Console) -> None:
    report = reporter(console)
    report(f"{document['experiment_id']}: {document['stage']}, state in {document['folder']}")
    if document["progress"]:
        report(document["progress"])
    if document["prometheus"]["url"]:
        report(f"Prometheus: {document['prometheus']['problem'] or document['prometheus']['url']}")
    if document["probes"]:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("region", "zone", "type", "instance", "EC2", "Prometheus"):
            table.add_column(name)
        for probe in document["probes"]:
            columns = ("region", "az_id", "instance_type", "instance_id", "ec2", "prometheus")
            table.add_row(*(Text(printable(probe[column] or "?")) for column in columns))
        console.print(table)
    for each in document["other_instances"]:
        role = each["role"] or "of unknown role"
        report(f"Also there: {each['instance_id']} in {each['region']}, {role}, {each['ec2']}")
    for each in document["dropped"]:
        report(f"Dropped: {each['candidate']}: {each['reason']}")
    if document["archive"]:
        report(f"Archive: {document['archive']['file']} and {document['archive']['uri']}")
