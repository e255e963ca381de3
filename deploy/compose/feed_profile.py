"""The two feeds that docker-compose.yml can measure, each with its experiment and its sites."""

from __future__ import annotations

import argparse
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.contract import experiment
from latency_sweep.lab.local import plan
from latency_sweep.lab.local.ec2 import Machine

if TYPE_CHECKING:
    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.lab.local.sites import Scenario

SITES: Final = Path(__file__).with_name("sites.yaml")


class FeedProfile(StrEnum):
    """What the probes subscribe to; also the profile that starts them."""

    SIMULATION = "simulation"
    BINANCE = "binance"

    @classmethod
    def active(cls, profiles: str) -> FeedProfile:
        """The one feed among the active profiles, `simulation,analyze`; an argparse type.

        Raises:
            argparse.ArgumentTypeError: there is none, or both.
        """
        found = set(cls) & set(profiles.split(","))
        if len(found) != 1:
            raise argparse.ArgumentTypeError(
                f"the profiles {profiles!r} need one feed: {' or '.join(cls)}"
            )
        return cls(found.pop())

    def experiment(self) -> Experiment:
        """The experiment, with a name per feed: simulated evidence never mixes with real.

        Raises:
            ExperimentError: the shipped experiment cannot be read.
        """
        source = plan.EXPERIMENT if self is FeedProfile.SIMULATION else None
        return experiment.load(source).model_copy(update={"name": f"compose-{self}"})

    def machines(self, scenario: Scenario, *, first_port: int, region: str) -> list[Machine]:
        """The instances of the probes, in the order of their ports.

        Args:
            scenario: the simulated sites.
            first_port: metrics port of the first probe.
            region: AWS region of the one probe of the real feed.
        """
        types = self.experiment().instance_types
        if self is FeedProfile.BINANCE:
            name = next(iter(types))
            return [Machine(region, f"{region}a", name, types[name].architecture, first_port)]
        return [
            Machine(
                site.region,
                site.zone,
                site.instance_type,
                types[site.instance_type].architecture,
                first_port + number,
            )
            for number, site in enumerate(scenario.sites)
        ]
