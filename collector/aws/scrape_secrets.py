"""The secrets of the scrapes: made for each sweep, kept in SSM Parameter Store only.

Probes serve metrics over TLS to clients with the token. Instances fetch what they need from their
own region when they start, so that no secret is in Terraform's state or in user data.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from latency_sweep.collector.aws import lifecycle_tags
from latency_sweep.collector.aws.session import AWS_ERRORS, Aws, AwsError, ask_regions, explain
from latency_sweep.contract import tags
from latency_sweep.deploy.aws.scrape_secrets import NAMES, make, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latency_sweep.collector.state import Plan


def ensure(aws: Aws, plan: Plan) -> None:
    """Have the same secrets in every region of a sweep; those that are there already stay.

    Raises:
        AwsError: Parameter Store refuses.
    """
    regions = _regions(plan)
    path = path_of(plan.experiment_id)
    try:
        values = _read(aws, regions[0], path)
        if set(values) != set(NAMES):
            values = make()
            _write(aws, regions[0], plan, values)
    except AWS_ERRORS as error:
        raise AwsError(explain(error, regions[0])) from error

    def copy(region: str) -> None:
        if _read(aws, region, path) != values:
            _write(aws, region, plan, values)

    for failure in ask_regions(regions[1:], copy).failed.values():
        raise failure


def remove(aws: Aws, plan: Plan) -> None:
    """Delete the secrets of a sweep from every region of it.

    Raises:
        AwsError: Parameter Store refuses.
    """
    path = path_of(plan.experiment_id)

    def delete(region: str) -> None:
        aws.ssm(region).delete_parameters(Names=[f"{path}/{name}" for name in NAMES])

    for failure in ask_regions(_regions(plan), delete).failed.values():
        raise failure


def _regions(plan: Plan) -> tuple[str, ...]:
    wanted: Iterable[str] = (*plan.regions, *([plan.monitor_region] if plan.monitor_region else []))
    return tuple(dict.fromkeys(wanted))


def _read(aws: Aws, region: str, path: str) -> dict[str, str]:
    answer = aws.ssm(region).get_parameters(
        Names=[f"{path}/{name}" for name in NAMES], WithDecryption=True
    )
    return {each["Name"].rpartition("/")[2]: each["Value"] for each in answer["Parameters"]}


def _write(aws: Aws, region: str, plan: Plan, values: dict[str, str]) -> None:
    client = aws.ssm(region)
    expires = datetime.now(UTC) + timedelta(hours=plan.ttl_hours)
    tag_values = {
        tags.PROJECT: tags.PROJECT_NAME,
        tags.EXPERIMENT: plan.experiment_id,
        tags.MANAGED_BY: "sweep",
        lifecycle_tags.EXPIRES_AT: expires.isoformat(timespec="seconds"),
    }
    for name, value in values.items():
        parameter = f"{path_of(plan.experiment_id)}/{name}"
        client.put_parameter(Name=parameter, Value=value, Type="SecureString", Overwrite=True)
        # AWS does not take tags together with permission to overwrite.
        client.add_tags_to_resource(
            ResourceType="Parameter",
            ResourceId=parameter,
            Tags=[{"Key": key, "Value": text} for key, text in tag_values.items()],
        )
