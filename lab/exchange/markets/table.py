"""The markets that the exchange can serve, by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from latency_sweep.lab.exchange.markets.coinm import COINM
from latency_sweep.lab.exchange.markets.sbe import SBE
from latency_sweep.lab.exchange.markets.spot import SPOT
from latency_sweep.lab.exchange.markets.usdm import USDM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latency_sweep.lab.exchange.config import MarketName
    from latency_sweep.lab.exchange.markets.rules import Rules

RULES: Final[Mapping[MarketName, Rules]] = MappingProxyType(
    {"spot": SPOT, "usdm": USDM, "coinm": COINM, "sbe": SBE}
)
