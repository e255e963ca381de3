"""The checks before a sweep can start; they create and change nothing."""

from __future__ import annotations

import re
import socket
import ssl
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from latency_sweep.collector.aws.instance_clocks import clock_table
from latency_sweep.collector.aws.session import (
    AWS_ERRORS,
    HOME_REGION,
    Aws,
    AwsError,
    ask_regions,
    error_code,
    explain,
)
from latency_sweep.collector.errors import SweepError
from latency_sweep.contract.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from latency_sweep.collector.aws.cost import Estimate
    from latency_sweep.collector.aws.instance_clocks import ClockTable

# Public parameters that name the newest Amazon Linux 2023 image; Terraform reads the same.
IMAGE_PARAMETER: Final = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}"

# Quota "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", counted in vCPUs.
_STANDARD_QUOTA: Final = "L-1216C47A"
_STANDARD_CLASSES: Final = frozenset("acdhimrtz")
_CONNECT_WITHIN_SEC: Final = 10.0
_COUNTED_STATES: Final = ["pending", "running"]

# By region and instance type, ids of the zones that have it.
Offered: TypeAlias = dict[str, dict[str, tuple[str, ...]]]


class CheckOutcome(StrEnum):
    """How a check ended."""

    PASS = "PASS"  # noqa: S105 - no password
    NOTE = "NOTE"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One check and its result.

    Attributes:
        what: is checked.
        where: AWS region, or empty.
        outcome: only FAIL prevents a sweep.
        detail: the answer, and how to fix it, in one sentence or a few words.
    """

    what: str
    where: str
    outcome: CheckOutcome
    detail: str


class PreflightError(SweepError):
    """A check failed; nothing was created."""

    code = ExitCode.PREFLIGHT_FAILED


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a sweep needs.

    Attributes:
        regions: AWS regions.
        architectures: `x86_64` or `arm64` of each instance type.
        az_ids: by region, zones asked for; empty for any.
        replicas: instances of each candidate.
        bucket: S3 bucket, or None if none is needed yet.
        endpoint: WebSocket address of the exchange.
    """

    regions: tuple[str, ...]
    architectures: Mapping[str, str]
    az_ids: Mapping[str, Sequence[str]]
    replicas: int
    bucket: str | None
    endpoint: str


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """The results of all checks.

    Attributes:
        account: number of the AWS account, or None if there are no credentials.
        checks: in the order in which they are shown.
        offered: by region and instance type, ids of the zones that have it.
        estimate: what the sweep will cost.
    """

    account: str | None
    checks: tuple[Check, ...]
    offered: Offered
    estimate: Estimate

    @property
    def failures(self) -> tuple[Check, ...]:
        """What prevents the sweep."""
        return tuple(check for check in self.checks if check.outcome is CheckOutcome.FAIL)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "ok": not self.failures,
            "account": self.account,
            "checks": [
                {
                    "what": check.what,
                    "region": check.where or None,
                    "outcome": check.outcome.value,
                    "detail": check.detail,
                }
                for check in self.checks
            ],
            "offered": {
                region: {name: list(zones) for name, zones in types.items()}
                for region, types in self.offered.items()
            },
            "estimate": self.estimate.document(),
        }

    def require(self) -> None:
        """Raise if a check failed.

        Raises:
            PreflightError: with every reason.
        """
        if self.failures:
            reasons = "\n".join(
                f"  {check.what}{f' in {check.where}' if check.where else ''}: {check.detail}"
                for check in self.failures
            )
            raise PreflightError(f"Preflight failed; nothing was created:\n{reasons}")


def inspect(
    aws: Aws, wanted: Wanted, *, estimate: Callable[[Offered], Estimate]
) -> PreflightReport:
    """Run all checks; a failure is in the report, not raised.

    Args:
        aws: the session.
        wanted: what the sweep needs.
        estimate: its cost, given what AWS offers.

    Raises:
        AwsError: what answers is not AWS, or the configuration cannot be used.
    """
    try:
        identity = aws.sts().get_caller_identity()
        account, arn = identity["Account"], identity["Arn"]
    except KeyError as error:
        raise AwsError(explain(error)) from error
    except AWS_ERRORS as error:
        failed = Check("credentials", "", CheckOutcome.FAIL, explain(error))
        # Without credentials every other check would fail for the same reason.
        without = (failed, _reachable(wanted.endpoint))
        return PreflightReport(None, without, {}, estimate({}))
    checks = [
        Check("credentials", "", CheckOutcome.PASS, f"account {account}, {arn}"),
        _reachable(wanted.endpoint),
    ]
    if wanted.bucket is not None:
        checks.append(_bucket(aws, wanted.bucket))
    enabled, disabled = _enabled(aws, wanted.regions)
    checks += disabled
    answers = ask_regions(enabled, lambda region: _in_region(aws, region, wanted))
    checks += [
        Check("region", region, CheckOutcome.FAIL, str(error))
        for region, error in answers.failed.items()
    ]
    for of_region, _ in answers.found.values():
        checks += of_region
    table = clock_table()
    checks += [
        Check(
            "clock",
            "",
            CheckOutcome.PASS if table.offers_phc(name) else CheckOutcome.NOTE,
            f"{name}: {d}",
        )
        for name in wanted.architectures
        for d in [table.describe(name)]
    ]
    offered = {region: zones for region, (_, zones) in answers.found.items()}
    return PreflightReport(account, tuple(checks), offered, estimate(offered))


def _clock(table: ClockTable, instance_type: str) -> Check:
    outcome = CheckOutcome.PASS if table.offers_phc(instance_type) else CheckOutcome.NOTE
    return Check("clock", "", outcome, f"{instance_type}: {table.describe(instance_type)}")


def bucket_region(aws: Aws, bucket: str) -> str:
    """The region that a bucket is in.

    Raises:
        AwsError: it does not exist or may not be seen.
    """
    try:
        answer = aws.s3().head_bucket(Bucket=bucket)
    except AWS_ERRORS as error:
        if isinstance(error, ClientError):
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            moved = headers.get("x-amz-bucket-region")
            if error_code(error) == "301" and moved:
                return str(moved)
            if error_code(error) in {"404", "NoSuchBucket"}:
                raise AwsError(
                    f"There is no S3 bucket {bucket}; create it: "
                    f"aws s3 mb s3://{bucket} --region eu-central-1."
                ) from error
        raise AwsError(explain(error)) from error
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    return str(answer.get("BucketRegion") or headers.get("x-amz-bucket-region") or HOME_REGION)


def _bucket(aws: Aws, bucket: str) -> Check:
    try:
        region = bucket_region(aws, bucket)
    except AwsError as error:
        return Check("bucket", "", CheckOutcome.FAIL, str(error))
    return Check("bucket", region, CheckOutcome.PASS, f"{bucket} is there")


def _reachable(endpoint: str) -> Check:
    """Whether the exchange accepts a connection from this machine."""
    parts = urlsplit(endpoint)
    host, secure = parts.hostname or "", parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    try:
        with socket.create_connection((host, port), _CONNECT_WITHIN_SEC) as connection:
            if secure:
                with ssl.create_default_context().wrap_socket(connection, server_hostname=host):
                    pass
    except (OSError, UnicodeError) as error:
        detail = f"{host}:{port} cannot be reached from here: {error}"
        # Probes connect from their own regions, so that a firewall here does not matter.
        return Check("exchange", "", CheckOutcome.NOTE, detail)
    return Check("exchange", "", CheckOutcome.PASS, f"{host}:{port} accepts connections")


def _enabled(aws: Aws, regions: Sequence[str]) -> tuple[list[str], list[Check]]:
    """The regions that can be used, and a failed check for each that cannot."""
    try:
        answer = aws.ec2(HOME_REGION).describe_regions(AllRegions=True)
    except AWS_ERRORS as error:
        return [], [Check("regions", "", CheckOutcome.FAIL, explain(error, HOME_REGION))]
    try:
        states = {
            region["RegionName"]: region.get("OptInStatus", "") for region in answer["Regions"]
        }
    except KeyError as error:
        raise AwsError(explain(error, HOME_REGION)) from error
    enabled, failed = [], []
    for region in regions:
        match states.get(region):
            case None:
                detail = "AWS has no such region; correct it in the experiment file"
            case "not-opted-in":
                detail = "not enabled; enable it under Account, AWS Regions, or leave it out"
            case _:
                enabled.append(region)
                continue
        failed.append(Check("region", region, CheckOutcome.FAIL, detail))
    return enabled, failed


def _in_region(
    aws: Aws, region: str, wanted: Wanted
) -> tuple[list[Check], dict[str, tuple[str, ...]]]:
    offered, checks = _offered(aws, region, wanted)
    usable = {
        name: [z for z in zones if z in wanted.az_ids.get(region, zones)]
        for name, zones in offered.items()
    }
    # Terraform puts every type in each zone asked for, or in one zone of its choice.
    counts = {
        name: wanted.replicas * (len(zones) if region in wanted.az_ids else 1)
        for name, zones in usable.items()
        if zones
    }
    checks.append(_guarded("quota", region, lambda: _quota(aws, region, counts)))
    checks += [
        _guarded("image", region, lambda a=architecture: _image(aws, region, a))  # type: ignore[misc]
        for architecture in sorted({wanted.architectures[name] for name in counts})
    ]
    return checks, {name: tuple(zones) for name, zones in usable.items()}


def _guarded(what: str, region: str, check: Callable[[], Check]) -> Check:
    """A check whose own failure does not hide the region's other answers."""
    try:
        return check()
    except AWS_ERRORS as error:
        return Check(what, region, CheckOutcome.FAIL, explain(error, region))


def _offered(
    aws: Aws, region: str, wanted: Wanted
) -> tuple[dict[str, tuple[str, ...]], list[Check]]:
    zones: dict[str, list[str]] = {name: [] for name in wanted.architectures}
    pages = (
        aws.ec2(region)
        .get_paginator("describe_instance_type_offerings")
        .paginate(
            LocationType="availability-zone-id",
            Filters=[{"Name": "instance-type", "Values": sorted(zones)}],
        )
    )
    for page in pages:
        for offering in page["InstanceTypeOfferings"]:
            zones[offering["InstanceType"]].append(offering["Location"])
    offered = {name: tuple(sorted(found)) for name, found in zones.items()}
    asked = wanted.az_ids.get(region)
    checks = []
    for name, found in offered.items():
        missing = [zone for zone in asked or () if zone not in found]
        if not found:
            detail = f"{name} is not offered in this region; it is dropped"
            checks.append(Check("instance type", region, CheckOutcome.NOTE, detail))
        elif missing:
            detail = f"{name} is not offered in {', '.join(missing)}; it has {', '.join(found)}"
            checks.append(Check("instance type", region, CheckOutcome.NOTE, detail))
        else:
            detail = f"{name} in {', '.join(found)}"
            checks.append(Check("instance type", region, CheckOutcome.PASS, detail))
    if not any(z in (asked or z) for found in offered.values() for z in found):
        detail = "none of the instance types is offered; choose others or remove the region"
        checks.append(Check("instance type", region, CheckOutcome.FAIL, detail))
    return offered, checks


def _quota(aws: Aws, region: str, counts: Mapping[str, int]) -> Check:
    """Whether the quota of vCPUs has room for the probes of a region."""
    running: Counter[str] = Counter()
    pages = (
        aws.ec2(region)
        .get_paginator("describe_instances")
        .paginate(Filters=[{"Name": "instance-state-name", "Values": _COUNTED_STATES}])
    )
    for page in pages:
        running.update(
            str(instance["InstanceType"])
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
            if instance.get("InstanceLifecycle") != "spot"
        )
    vcpus = _vcpus(aws, region, {*running, *counts})
    used = sum(n * vcpus[name] for name, n in running.items() if _is_standard(name))
    needed = sum(n * vcpus[name] for name, n in counts.items() if _is_standard(name))
    quota = _quota_value(aws, region)
    left = quota - used
    detail = f"{needed} vCPUs needed, {left:g} of {quota:g} left"
    if needed > left:
        return Check(
            "quota",
            region,
            CheckOutcome.FAIL,
            f"{detail}; request more of {_STANDARD_QUOTA} in Service Quotas, or use fewer probes",
        )
    return Check("quota", region, CheckOutcome.PASS, detail)


def _quota_value(aws: Aws, region: str) -> float:
    client = aws.quotas(region)
    request = {"ServiceCode": "ec2", "QuotaCode": _STANDARD_QUOTA}
    try:
        answer = client.get_service_quota(**request)
    except ClientError as error:
        # An account that never had its quota changed may have AWS's default only.
        if error_code(error) != "NoSuchResourceException":
            raise
        return float(client.get_aws_default_service_quota(**request)["Quota"]["Value"])
    return float(answer["Quota"]["Value"])


def _vcpus(aws: Aws, region: str, types: set[str]) -> dict[str, int]:
    if not types:
        return {}
    found: dict[str, int] = dict.fromkeys(types, 0)
    pages = (
        aws.ec2(region)
        .get_paginator("describe_instance_types")
        .paginate(Filters=[{"Name": "instance-type", "Values": sorted(types)}])
    )
    for page in pages:
        for each in page["InstanceTypes"]:
            found[each["InstanceType"]] = each["VCpuInfo"]["DefaultVCpus"]
    return found


def _is_standard(instance_type: str) -> bool:
    """Whether a type counts against the quota of standard instances: c6i, not inf2 or dl1."""
    letters = re.match("[a-z]*", instance_type)
    return letters is not None and letters[0] in _STANDARD_CLASSES


def _image(aws: Aws, region: str, architecture: str) -> Check:
    name = IMAGE_PARAMETER.format(architecture)
    try:
        image = aws.ssm(region).get_parameter(Name=name)["Parameter"]["Value"]
    except ClientError as error:
        if error_code(error) != "ParameterNotFound":
            raise
        return Check("image", region, CheckOutcome.FAIL, f"SSM has no parameter {name} here")
    return Check("image", region, CheckOutcome.PASS, f"{architecture}: {image}")
