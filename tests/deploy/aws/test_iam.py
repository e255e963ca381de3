"""The IAM policies: valid, narrow, and enough for what the collector asks of AWS."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore import xform_name

from tests.deploy.aws.paths import AWS, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

POLICIES = sorted((AWS / "iam").glob("*.json"))
# Services that the collector's `Aws` has clients of, and IAM's prefix of each.
SERVICES = {
    "ec2": "ec2",
    "ssm": "ssm",
    "sts": "sts",
    "service-quotas": "servicequotas",
    "pricing": "pricing",
    "resourcegroupstaggingapi": "tag",
}
# Calls of boto3 to S3 that IAM knows by another name.
S3 = {
    "upload_file": "s3:PutObject",
    "head_object": "s3:GetObject",
    "head_bucket": "s3:ListBucket",
}


def _statements(path: Path) -> list[dict[str, Any]]:
    document = json.loads(path.read_text())
    assert document["Version"] == "2012-10-17"
    statements: list[dict[str, Any]] = document["Statement"]
    return statements


def _actions(statement: dict[str, Any]) -> list[str]:
    actions = statement["Action"]
    return [actions] if isinstance(actions, str) else actions


def _asked_of_aws() -> set[str]:
    """IAM actions of the boto3 calls in the collector's and the deployment's sources."""
    session = botocore.session.get_session()
    by_method: dict[str, str] = dict(S3)
    for service, prefix in SERVICES.items():
        for operation in session.get_service_model(service).operation_names:
            by_method.setdefault(xform_name(operation), f"{prefix}:{operation}")
    found: set[str] = set()
    sources = [*(REPOSITORY / "collector").rglob("*.py"), *AWS.glob("*.py")]
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            names = [node.func.attr]
            if node.func.attr == "get_paginator" and isinstance(node.args[0], ast.Constant):
                names = [str(node.args[0].value)]
            found.update(by_method[name] for name in names if name in by_method)
    return found


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_policy_has_no_wildcard_action(path: Path) -> None:
    for statement in _statements(path):
        assert "NotAction" not in statement
        assert not [action for action in _actions(statement) if "*" in action]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_policy_names_only_actions_of_its_services(path: Path) -> None:
    """A misspelt action is no error to AWS; it just grants nothing."""
    session = botocore.session.get_session()
    models = {prefix: service for service, prefix in SERVICES.items()}
    models |= {"iam": "iam", "logs": "logs"}
    # Not operations of the API, but actions of IAM.
    alone = {"iam:PassRole"}
    for statement in _statements(path):
        for action in _actions(statement):
            prefix, _, operation = action.partition(":")
            if prefix == "s3" or action in alone:
                continue
            assert operation in session.get_service_model(models[prefix]).operation_names, action


def test_everything_that_is_allowed_everywhere_only_looks() -> None:
    for path in POLICIES:
        for statement in _statements(path):
            if statement["Effect"] == "Allow" and statement.get("Resource") == "*":
                looks = all(
                    action.split(":")[1].startswith(("Describe", "Get", "List"))
                    for action in _actions(statement)
                )
                assert looks or "Condition" in statement, statement["Sid"]


def test_operator_may_do_all_that_the_collector_does() -> None:
    allowed = {
        action
        for statement in _statements(AWS / "iam/operator.json")
        for action in _actions(statement)
    }
    asked = _asked_of_aws()
    assert len(asked) > 10
    assert asked <= allowed


def test_monitor_may_only_find_probes() -> None:
    (statement,) = _statements(AWS / "iam/monitor.json")
    assert _actions(statement) == ["ec2:DescribeAvailabilityZones", "ec2:DescribeInstances"]


def test_instances_are_denied_the_parameters_of_others() -> None:
    (statement,) = _statements(AWS / "iam/own-parameters.json")
    assert statement["Effect"] == "Deny"
    assert any(resource.endswith("${secrets_path}/*") for resource in statement["NotResource"])
