"""The markets that the exchange can serve, by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from deploy.local.exchange.sbe import SBE
from deploy.local.exchange.spot import SPOT
from deploy.local.exchange.usdm import USDM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy.local.exchange.config import MarketName
    from deploy.local.exchange.rules import Rules

RULES: Final[Mapping[MarketName, Rules]] = MappingProxyType(
    {"spot": SPOT, "usdm": USDM, "sbe": SBE}
)
