"""Creates what a sweep needs in AWS, dropping candidates that AWS has no capacity for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latency_sweep.collector.aws import inventory, lifecycle_tags, scrape_secrets
from latency_sweep.collector.aws.capacity import shortages
from latency_sweep.collector.aws.session import AWS_ERRORS, Aws, AwsError, explain
from latency_sweep.collector.aws.terraform import ApplyError
from latency_sweep.collector.lifecycle.archiving import PREFIX
from latency_sweep.collector.state import MonitorHost, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.collector.aws.inventory import Resource
    from latency_sweep.collector.aws.terraform import Terraform
    from latency_sweep.collector.state import Plan, Sweep


def deploy(sweep: Sweep, terraform: Terraform, aws: Aws, *, report: Callable[[str], None]) -> None:
    """Create everything, or complete what an earlier attempt left half done.

    Candidates that AWS has no capacity for are dropped with a note, and the rest is tried again.

    Raises:
        TerraformError: anything else went wrong.
        AwsError: EC2 cannot list instances.
    """
    scrape_secrets.ensure(aws, sweep.plan)
    terraform.init(backend(sweep.plan, locks=terraform.locks_in_s3()))
    while True:
        try:
            terraform.apply(
                variables(sweep), extra_file=sweep.plan.terraform_variables, report=report
            )
            break
        except ApplyError as error:
            dropped, nothing_else = shortages(error.diagnostics)
            known = {each.candidate for each in sweep.state.dropped}
            fresh = tuple(each for each in dropped if each.candidate not in known)
            if not fresh or not nothing_else:
                raise
            for each in fresh:
                report(f"Note: {each.candidate} is dropped: {each.reason}")
            sweep.save(dropped=(*sweep.state.dropped, *fresh))
    outputs = terraform.outputs()
    known_instances = {probe.instance_id for probe in outputs.probes}
    remove_strays(aws, sweep.plan, known_instances, report=report)
    monitor = outputs.monitor
    sweep.reach(
        Stage.DEPLOYED,
        probes=outputs.probes,
        prometheus_url=sweep.plan.prometheus_url or outputs.prometheus_url,
        monitor=None
        if monitor is None
        else MonitorHost(region=monitor.region, instance_id=monitor.instance_id),
        grafana_url=outputs.grafana_url,
    )
    if monitor is not None and sweep.plan.prometheus_url is None:
        report(f"To reach Prometheus yourself: {monitor.prometheus_tunnel}")
    report(f"{len(outputs.probes)} probes in {len({p.region for p in outputs.probes})} regions.")


def backend(plan: Plan, *, locks: bool) -> dict[str, str]:
    """Where Terraform keeps the state of a sweep."""
    return {
        "bucket": plan.bucket,
        "key": f"{PREFIX}/{plan.experiment_id}/terraform.tfstate",
        "region": plan.bucket_region,
        "encrypt": "true",
        **({"use_lockfile": "true"} if locks else {}),
    }


def variables(sweep: Sweep) -> dict[str, Any]:
    """The variables of the root module."""
    plan = sweep.plan
    monitor: dict[str, Any] = {"mode": "create", "region": plan.monitor_region}
    if plan.monitor_cidr is not None:
        monitor = {
            "mode": "existing",
            "cidr": plan.monitor_cidr,
            "prometheus_url": plan.prometheus_url,
        }
    return {
        "experiment_file": str(sweep.experiment_file.absolute()),
        "experiment_id": plan.experiment_id,
        "phases": list(range(1, plan.phase + 1)),
        "instance_types": list(plan.instance_types),
        "replicas": plan.replicas,
        "az_ids": {region: list(zones) for region, zones in plan.az_ids.items()},
        "excluded_candidates": [each.candidate for each in sweep.state.dropped],
        "ttl_hours": plan.ttl_hours,
        "wheel_uri": plan.wheel_uri,
        "wheel_sha256": plan.wheel_sha256,
        "monitor": monitor,
    }


def remove_strays(
    aws: Aws, plan: Plan, known: set[str], *, report: Callable[[str], None]
) -> tuple[Resource, ...]:
    """Terminate probes of this sweep that Terraform does not know.

    They exist if Terraform was killed between creating an instance and saving that it did; left
    alone, a candidate would be measured twice.

    Returns:
        Those that were terminated.

    Raises:
        AwsError: a region cannot be queried.
    """
    found = inventory.instances(aws, plan.regions, experiment=plan.experiment_id)
    for error in found.failed.values():
        raise error
    strays = tuple(
        each
        for each in found.resources
        if each.role == lifecycle_tags.ROLE_PROBE
        and each.id not in known
        and each.state != "shutting-down"
    )
    for stray in strays:
        report(f"Note: {stray.id} in {stray.region} is unknown to Terraform and is terminated.")
        try:
            aws.ec2(stray.region).terminate_instances(InstanceIds=[stray.id])
        except AWS_ERRORS as error:
            raise AwsError(explain(error, stray.region)) from error
    return strays
