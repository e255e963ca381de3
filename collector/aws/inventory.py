"""What exists in AWS with this project's tags, in every region."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.collector.aws import lifecycle_tags
from latency_sweep.collector.aws.session import Aws, AwsError, ask_regions
from latency_sweep.contract import tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SEPARATOR: Final = re.compile("[/:]")
# Instances in these states are gone; EC2 goes on listing them for about an hour.
_GONE: Final = frozenset({"terminated"})
# The tagging API also goes on listing what was deleted. What EC2 itself answers for is left to it.
_ANSWERED_BY_EC2: Final = frozenset(
    {"instance", "volume", "security-group", "network-interface", "placement-group", "key-pair"}
)


@dataclass(frozen=True, slots=True)
class Resource:
    """Something in AWS that carries this project's tag.

    Attributes:
        region: AWS region.
        kind: as in its ARN, such as `instance` or `security-group`; with the service's name in
            front where that is not EC2.
        id: its id.
        experiment: value of the `Experiment` tag, or empty.
        role: value of the `Role` tag, or empty.
        state: of an instance, volume or interface; empty for what has none.
        expires_at: value of the `ExpiresAt` tag, or None without a valid one.
    """

    region: str
    kind: str
    id: str
    experiment: str
    role: str
    state: str
    expires_at: datetime | None

    def expired(self, now: datetime) -> bool:
        """Whether it should be gone by now."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found.

    Attributes:
        resources: sorted by region, kind and id.
        failed: the regions that could not be queried, and why.
    """

    resources: tuple[Resource, ...]
    failed: dict[str, AwsError]


def take(aws: Aws, regions: Iterable[str], *, experiment: str | None = None) -> Inventory:
    """Look for everything tagged as this project's, or as one experiment's.

    Args:
        aws: the session.
        regions: where to look.
        experiment: value of the `Experiment` tag; None for all.
    """
    answers = ask_regions(regions, lambda region: _in_region(aws, region, experiment))
    found = [resource for resources in answers.found.values() for resource in resources]
    found.sort(key=lambda resource: (resource.region, resource.kind, resource.id))
    return Inventory(tuple(found), answers.failed)


def instances(aws: Aws, regions: Iterable[str], *, experiment: str | None = None) -> Inventory:
    """Like `take`, but instances only, which is quicker."""
    answers = ask_regions(
        regions, lambda region: list(_instances(aws, region, _filters(experiment)))
    )
    found = [resource for resources in answers.found.values() for resource in resources]
    found.sort(key=lambda resource: (resource.region, resource.id))
    return Inventory(tuple(found), answers.failed)


def _in_region(aws: Aws, region: str, experiment: str | None) -> list[Resource]:
    filters = _filters(experiment)
    return [
        *_instances(aws, region, filters),
        *_others_of_ec2(aws, region, filters),
        *_of_other_services(aws, region, experiment),
    ]


def _filters(experiment: str | None) -> list[Any]:
    wanted = [{"Name": f"tag:{tags.PROJECT}", "Values": [tags.PROJECT_NAME]}]
    if experiment is not None:
        wanted.append({"Name": f"tag:{tags.EXPERIMENT}", "Values": [experiment]})
    return wanted


def _instances(aws: Aws, region: str, filters: list[Any]) -> Iterator[Resource]:
    for page in aws.ec2(region).get_paginator("describe_instances").paginate(Filters=filters):
        for reservation in page["Reservations"]:
            for instance in reservation["Instances"]:
                state = str(instance["State"]["Name"])
                if state not in _GONE:
                    yield _resource(
                        region, "instance", instance["InstanceId"], instance.get("Tags"), state
                    )


def _others_of_ec2(aws: Aws, region: str, filters: list[Any]) -> Iterator[Resource]:
    client = aws.ec2(region)
    for volumes in client.get_paginator("describe_volumes").paginate(Filters=filters):
        for volume in volumes["Volumes"]:
            yield _resource(
                region, "volume", volume["VolumeId"], volume.get("Tags"), volume["State"]
            )
    for interfaces in client.get_paginator("describe_network_interfaces").paginate(Filters=filters):
        for interface in interfaces["NetworkInterfaces"]:
            yield _resource(
                region,
                "network-interface",
                interface["NetworkInterfaceId"],
                interface.get("TagSet"),
                interface.get("Status", ""),
            )
    for groups in client.get_paginator("describe_security_groups").paginate(Filters=filters):
        for group in groups["SecurityGroups"]:
            yield _resource(region, "security-group", group["GroupId"], group.get("Tags"))
    for placement in client.describe_placement_groups(Filters=filters)["PlacementGroups"]:
        if placement.get("State") not in {"deleting", "deleted"}:
            name = placement["GroupName"]
            yield _resource(region, "placement-group", name, placement.get("Tags"))
    for key in client.describe_key_pairs(Filters=filters)["KeyPairs"]:
        yield _resource(region, "key-pair", key["KeyPairId"], key.get("Tags"))


def _of_other_services(aws: Aws, region: str, experiment: str | None) -> Iterator[Resource]:
    wanted: list[Any] = [{"Key": tags.PROJECT, "Values": [tags.PROJECT_NAME]}]
    if experiment is not None:
        wanted.append({"Key": tags.EXPERIMENT, "Values": [experiment]})
    pages = aws.tagging(region).get_paginator("get_resources").paginate(TagFilters=wanted)
    for page in pages:
        for mapping in page["ResourceTagMappingList"]:
            _, _, service, _, _, name = mapping["ResourceARN"].split(":", 5)
            # `instance/i-1`, `log-group:/sweep/probe`, or only a name.
            kind, _, identifier = _SEPARATOR.sub("\n", name, count=1).rpartition("\n")
            if service == "ec2" and kind in _ANSWERED_BY_EC2:
                continue
            yield _resource(region, f"{service} {kind}".rstrip(), identifier, mapping.get("Tags"))


def _resource(
    region: str, kind: str, identifier: str, tag_list: Sequence[Any] | None, state: str = ""
) -> Resource:
    values = {tag["Key"]: tag["Value"] for tag in tag_list or ()}
    return Resource(
        region=region,
        kind=kind,
        id=identifier,
        experiment=values.get(tags.EXPERIMENT, ""),
        role=values.get(lifecycle_tags.ROLE, ""),
        state=state,
        expires_at=_moment(values.get(lifecycle_tags.EXPIRES_AT, "")),
    )


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
