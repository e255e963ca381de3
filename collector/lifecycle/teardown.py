"""Removes a sweep from AWS, and verifies that nothing is left of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from botocore.exceptions import WaiterError

from latency_sweep.collector.aws import inventory, scrape_secrets
from latency_sweep.collector.aws.session import AWS_ERRORS, Aws, AwsError, explain
from latency_sweep.collector.errors import SweepError
from latency_sweep.collector.lifecycle.deploying import backend
from latency_sweep.collector.state import Stage, Sweep
from latency_sweep.contract.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latency_sweep.collector.aws.inventory import Inventory, Resource
    from latency_sweep.collector.aws.terraform import Terraform

GONE_WITHIN_SEC: Final = 600.0

_ASK_EVERY_SEC: Final = 5.0
# What others depend on goes last.
_ORDER: Final = (
    "instance",
    "network-interface",
    "volume",
    "security-group",
    "placement-group",
    "key-pair",
    "ssm parameter",
)


class UnarchivedError(SweepError):
    """The evidence would be lost."""


class LeftoversError(SweepError):
    """Something is left, or a region could not be searched; the message lists it."""

    code = ExitCode.LEFTOVERS


def destroy(
    sweep: Sweep,
    terraform: Terraform,
    aws: Aws,
    *,
    discard_evidence: bool,
    report: Callable[[str], None],
    gone_within_sec: float = GONE_WITHIN_SEC,
) -> None:
    """Remove everything of a sweep, then look for leftovers in every region.

    Args:
        sweep: which one.
        terraform: that created it.
        aws: the session.
        discard_evidence: destroy even though measurements are not archived.
        report: called with each step, in one line.
        gone_within_sec: how long to wait until EC2 no longer lists anything.

    Raises:
        UnarchivedError: runs were measured and are not archived.
        TerraformError: it failed.
        LeftoversError: something is left, or a region could not be searched.
        AwsError: AWS does not list its regions.
    """
    if Stage.READY <= sweep.state.stage < Stage.ARCHIVED and not discard_evidence:
        raise UnarchivedError(
            f"The evidence of {sweep.plan.experiment_id} is not archived; run sweep archive "
            "first, or add --discard-evidence."
        )
    if terraform.variables_file.exists():
        terraform.init(backend(sweep.plan, locks=terraform.locks_in_s3()))
        terraform.destroy(extra_file=sweep.plan.terraform_variables, report=report)
    scrape_secrets.remove(aws, sweep.plan)
    verify_gone(aws, sweep.plan.experiment_id, report=report, within_sec=gone_within_sec)
    sweep.reach(Stage.DESTROYED)


def verify_gone(
    aws: Aws,
    experiment: str,
    *,
    report: Callable[[str], None],
    within_sec: float = GONE_WITHIN_SEC,
) -> None:
    """Look in every region for anything with a sweep's tags, until nothing is listed any more.

    Raises:
        LeftoversError: something is left when time is up, or a region could not be searched.
        AwsError: AWS does not list its regions.
    """
    regions = aws.enabled_regions()
    deadline = time.monotonic() + within_sec
    while True:
        found = inventory.take(aws, regions, experiment=experiment)
        # Terminating takes a minute; anything else will not go by itself.
        going = [each for each in found.resources if each.state == "shutting-down"]
        if not going or time.monotonic() > deadline:
            break
        time.sleep(_ASK_EVERY_SEC)
    if found.resources or found.failed:
        raise LeftoversError(_leftovers(found, experiment))
    report(f"Nothing tagged {experiment} is left in any of {len(regions)} regions.")


def remove(
    aws: Aws, resources: Sequence[Resource], *, report: Callable[[str], None]
) -> tuple[tuple[Resource, str], ...]:
    """Delete resources, those first that others depend on.

    Returns:
        What could not be deleted, and why.
    """
    failed: list[tuple[Resource, str]] = []
    for kind in _ORDER:
        of_kind = [each for each in resources if each.kind == kind]
        for region in sorted({each.region for each in of_kind}):
            for each in of_kind:
                if each.region != region:
                    continue
                try:
                    _delete(aws, each)
                except AWS_ERRORS as error:
                    failed.append((each, explain(error, region)))
                else:
                    report(f"Deleted {each.kind} {each.id} in {region}.")
            if kind == "instance":
                _wait_until_terminated(aws, region, [e.id for e in of_kind if e.region == region])
    others = [each for each in resources if each.kind not in _ORDER]
    failed += [(each, "sweep does not delete this kind; delete it by hand") for each in others]
    return tuple(failed)


def describe(resource: Resource) -> str:
    """One line about a resource."""
    experiment = f" of {resource.experiment}" if resource.experiment else ""
    state = f", {resource.state}" if resource.state else ""
    expiry = f", expires {resource.expires_at:%Y-%m-%d %H:%M} UTC" if resource.expires_at else ""
    return f"{resource.region}: {resource.kind} {resource.id}{experiment}{state}{expiry}"


def _delete(aws: Aws, resource: Resource) -> None:
    if resource.kind == "ssm parameter":
        aws.ssm(resource.region).delete_parameter(Name=f"/{resource.id}")
        return
    client = aws.ec2(resource.region)
    match resource.kind:
        case "instance":
            client.terminate_instances(InstanceIds=[resource.id])
        case "network-interface":
            client.delete_network_interface(NetworkInterfaceId=resource.id)
        case "volume":
            client.delete_volume(VolumeId=resource.id)
        case "security-group":
            client.delete_security_group(GroupId=resource.id)
        case "placement-group":
            client.delete_placement_group(GroupName=resource.id)
        case _:
            client.delete_key_pair(KeyPairId=resource.id)


def _wait_until_terminated(aws: Aws, region: str, identifiers: list[str]) -> None:
    """Wait, because groups and volumes cannot be deleted before."""
    waiter = aws.ec2(region).get_waiter("instance_terminated")
    try:
        waiter.wait(
            InstanceIds=identifiers,
            WaiterConfig={
                "Delay": int(_ASK_EVERY_SEC),
                "MaxAttempts": int(GONE_WITHIN_SEC / _ASK_EVERY_SEC),
            },
        )
    except WaiterError as error:
        raise AwsError(f"Instances in {region} do not end: {error}.") from error


def _leftovers(found: Inventory, experiment: str) -> str:
    lines = [f"  {describe(each)}" for each in found.resources]
    lines += [f"  {region}: {error}" for region, error in found.failed.items()]
    what = "Some resources remain" if found.resources else "Some regions could not be searched"
    return (
        f"{what}; fix the cause, then run sweep destroy again, or "
        f"sweep reap --experiment-id {experiment} --yes:\n" + "\n".join(lines)
    )
