"""The versions of what this project runs, `versions.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field

FILE: Final = Path(__file__).with_name("versions.yaml")

Release = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]


class Versions(BaseModel):
    """What `versions.yaml` holds.

    Attributes:
        prometheus: release that the demo, the Compose file and the monitor on AWS run.
        node_exporter: release on the instances.
        alertmanager: release on the monitor.
        grafana: release on the monitor and in the Compose file.
        python_image: tag of the image that the Dockerfile starts from.
        terraform: versions of Terraform and OpenTofu that the modules work with.
        aws_provider: versions of Terraform's provider for AWS, likewise.
        actions: version of each action of the hosted CI, by its name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    prometheus: Release
    node_exporter: Release
    alertmanager: Release
    grafana: Release
    python_image: str
    terraform: str
    aws_provider: str
    actions: dict[str, str]


def load() -> Versions:
    """Read the file that is shipped with this package."""
    return Versions.model_validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))
