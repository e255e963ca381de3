"""What the target labels of the contract are called on a server that somebody else configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from latency_sweep.contract.targets import CANDIDATE_LABELS, UNKNOWN, CandidateLabels, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EXPERIMENT: Final = "experiment"
# What `--label NAME=LABEL` may map.
MAPPED: Final = (*Target._fields, EXPERIMENT)


@dataclass(frozen=True, slots=True)
class LabelNames:
    """The label that holds each of `MAPPED`, one field for each; by default of the same name."""

    instance: str = "instance"
    region: str = "region"
    az_id: str = "az_id"
    instance_type: str = "instance_type"
    experiment: str = EXPERIMENT

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """From pairs of a name of `MAPPED` and the label that holds it; the last of a name wins."""
        return cls(**dict(pairs))

    def get(self, name: str) -> str:
        """The label that holds one of `MAPPED`."""
        found = getattr(self, name)
        assert isinstance(found, str)
        return found

    @property
    def targets(self) -> tuple[str, ...]:
        """Labels that hold the fields of `Target`, in their order."""
        return tuple(self.get(name) for name in Target._fields)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Labels that hold the fields of `CandidateLabels`, in their order."""
        return tuple(self.get(name) for name in CANDIDATE_LABELS)

    def target(self, labels: Mapping[str, str]) -> Target:
        """The target that a series' labels name; `UNKNOWN` where one is missing."""
        return Target(*(labels.get(label) or UNKNOWN for label in self.targets))

    def candidate(self, labels: Mapping[str, str]) -> CandidateLabels:
        """The candidate that a series' labels name; `UNKNOWN` where one is missing."""
        return CandidateLabels(*(labels.get(label) or UNKNOWN for label in self.candidates))
