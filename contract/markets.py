"""The markets whose feeds can be measured."""

from __future__ import annotations

from typing import Final, Literal, get_args

MarketName = Literal["spot", "usdm", "coinm", "sbe"]
MARKETS: Final[tuple[str, ...]] = get_args(MarketName)
