"""Target labels: the instance that a series comes from, and the candidate it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

# Value of a label that a series does not have.
UNKNOWN: Final = "unknown"


class CandidateLabels(NamedTuple):
    """Where an instance runs and of which type it is."""

    region: str
    az_id: str
    instance_type: str

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Self:
        """Those of a series; `UNKNOWN` where it has none."""
        return cls(*(labels.get(name, UNKNOWN) for name in cls._fields))


class Target(NamedTuple):
    """One instance that Prometheus scrapes."""

    instance: str
    region: str
    az_id: str
    instance_type: str

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Self:
        """That of a series; `UNKNOWN` where a label is missing."""
        return cls(*(labels.get(name, UNKNOWN) for name in cls._fields))


# The labels that tell candidates apart, in the order of their names.
CANDIDATE_LABELS: Final = CandidateLabels._fields
