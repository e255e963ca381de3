"""The places of the local stack: where each pretends to be, and how the feed reaches it."""

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


class PlacesError(Exception):
    """The places cannot be used; the message names the file, the key and the mend."""


class Place(BaseModel):
    """One place.

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
    feed: exchange.Place = exchange.Place()

    @property
    def name(self) -> str:
        """`ap-northeast-1a-c6in.large`; names its endpoint, its files and its process."""
        return f"{self.zone}-{self.instance_type}"


class Scenery(BaseModel):
    """A market and the places that watch it.

    Attributes:
        seed: the same seed gives the same market and the same random draws.
        symbols: how busily each symbol trades.
        places: at least one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    seed: Annotated[int, Field(ge=0)] = 1
    symbols: dict[exchange.SymbolName, exchange.Symbol] = {}
    places: Annotated[list[Place], Field(min_length=1)]


def load(path: Path = SHIPPED) -> Scenery:
    """Read and validate a file of places.

    Raises:
        PlacesError: unreadable, malformed, or a key missing, unknown or of a wrong value.
    """
    try:
        return Scenery.model_validate(bounded_yaml.load(path))
    except YamlError as error:
        raise PlacesError(str(error)) from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"]) or "file"
        raise PlacesError(f"{path}: {key}: {fault['msg'].lower()}.") from error


def check(scenery: Scenery, experiment: Experiment) -> None:
    """Check that places and experiment speak of the same regions, types and symbols.

    Raises:
        PlacesError: one sentence that names what has no counterpart.
    """
    names = [place.name for place in scenery.places]
    for name in names:
        if names.count(name) > 1:
            raise PlacesError(f"Place {name} stands twice; give each place its own.")
    for place in scenery.places:
        if place.region not in experiment.regions:
            raise PlacesError(f"Place {place.name}: the experiment has no region {place.region}.")
        if place.instance_type not in experiment.instance_types:
            raise PlacesError(
                f"Place {place.name}: the experiment has no instance type {place.instance_type}."
            )
