"""The sites of the local stack: which region each simulates, and how the feed reaches it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latency_sweep.contract import bounded_yaml
from latency_sweep.contract.bounded_yaml import YamlError
from latency_sweep.lab.exchange import config as exchange

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Experiment

SHIPPED: Final = Path(__file__).with_name("sites.yaml")


class SitesError(Exception):
    """The sites cannot be used; the message names the file, the key and the fix."""


class LocalSite(BaseModel):
    """One site.

    Attributes:
        region: AWS region, one of the experiment's.
        zone: name of its availability zone.
        instance_type: EC2 instance type, one of the experiment's.
        feed: latency and faults of the simulated exchange's feed there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    region: str
    zone: str
    instance_type: str
    feed: exchange.SiteConfig = exchange.SiteConfig()

    @property
    def name(self) -> str:
        """`ap-northeast-1a-c6in.large`; names its endpoint, its files and its process."""
        return f"{self.zone}-{self.instance_type}"


class Scenario(BaseModel):
    """A market and the sites that watch it.

    Attributes:
        seed: the same seed gives the same market and the same random draws.
        symbols: how busily each symbol trades.
        sites: at least one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    seed: Annotated[int, Field(ge=0)] = 1
    symbols: dict[exchange.SymbolName, exchange.Symbol] = {}
    sites: Annotated[list[LocalSite], Field(min_length=1)]


def load(path: Path = SHIPPED) -> Scenario:
    """Read and validate a file of sites.

    Raises:
        SitesError: unreadable, malformed, or a key missing, unknown or of a wrong value.
    """
    try:
        return Scenario.model_validate(bounded_yaml.load(path))
    except YamlError as error:
        raise SitesError(str(error)) from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"]) or "file"
        raise SitesError(f"{path}: {key}: {fault['msg'].lower()}.") from error


def check(scenario: Scenario, experiment: Experiment) -> None:
    """Check that sites and experiment name the same regions, types and symbols.

    Raises:
        SitesError: one sentence that names what is missing in the experiment.
    """
    names = [site.name for site in scenario.sites]
    for name in names:
        if names.count(name) > 1:
            raise SitesError(
                f"Site {name} is listed twice; give each site its own region, zone and type."
            )
    for site in scenario.sites:
        if site.region not in experiment.regions:
            raise SitesError(f"Site {site.name}: the experiment has no region {site.region}.")
        if site.instance_type not in experiment.instance_types:
            raise SitesError(
                f"Site {site.name}: the experiment has no instance type {site.instance_type}."
            )
