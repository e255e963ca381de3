"""Which clock an instance type can have, from a dated table."""

from __future__ import annotations

from datetime import date as Date  # noqa: N812, TC003 - a field is called so; pydantic reads it
from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict

_US_PER_SEC = 1e6
# Terraform reads it too: the PHC is enabled on these types only.
_TABLE = resources.files("latency_sweep.contract") / "instance_clocks.yaml"


class ClockTable(BaseModel):
    """Which types offer the PHC, as of when and according to whom; see the table itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: Date
    source: str
    phc_families: frozenset[str]
    phc_error_sec: float
    ntp_error_sec: float

    def offers_phc(self, instance_type: str) -> bool:
        """Whether the type can read the hardware clock of its network card."""
        return instance_type.partition(".")[0] in self.phc_families

    def describe(self, instance_type: str) -> str:
        """The clock a type can have and how far it is off, for people."""
        if self.offers_phc(instance_type):
            bound = self.phc_error_sec * _US_PER_SEC
            return f"PHC in a precision-time placement group, typically within {bound:g} us"
        bound = self.ntp_error_sec * _US_PER_SEC
        return f"no PHC on the list of {self.date}; Amazon NTP, typically within {bound:g} us"


@cache
def clock_table() -> ClockTable:
    """The shipped table."""
    return ClockTable.model_validate(yaml.safe_load(_TABLE.read_text(encoding="utf-8")))
