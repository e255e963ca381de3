"""What an exchange lists, from a saved answer of its `exchangeInfo` endpoint.

Binance acknowledges subscriptions to symbols that do not exist and never sends anything.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Spot's answer of 2026 has 20 MB.
MAX_BYTES: Final = 256 * 2**20
_TRADING: Final = "TRADING"


class ExchangeInfoError(Exception):
    """The file cannot be used, or lacks a symbol; the message is one sentence."""


def check_listed(path: Path, symbols: Sequence[str]) -> None:
    """Check that an exchange lists and trades symbols.

    Args:
        path: body of `GET /api/v3/exchangeInfo`, of `/fapi/v1` or `/dapi/v1`.
        symbols: as the exchange writes them.

    Raises:
        ExchangeInfoError: see there; names the nearest symbol that is listed.
    """
    listed = _load(path)
    for symbol in symbols:
        status = listed.get(symbol)
        if status is None:
            near = difflib.get_close_matches(symbol, listed, n=1, cutoff=0.5)
            hint = f"; the nearest name is {near[0]}" if near else ""
            raise ExchangeInfoError(
                f"symbol {symbol} is none of the {len(listed)} in {path}{hint}."
            )
        if status not in ("", _TRADING):
            raise ExchangeInfoError(
                f"symbol {symbol} is listed in {path} but not traded: its status is {status}."
            )


def _load(path: Path) -> Mapping[str, str]:
    """The status of each symbol, empty where there is none.

    Raises:
        ExchangeInfoError: unreadable, too large, or not an `exchangeInfo`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ExchangeInfoError(f"{path}: cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise ExchangeInfoError(f"{path}: is larger than {MAX_BYTES // 2**20} MiB.")
    try:
        document: Any = json.loads(content)
        # Spot and USD-M have `status`, COIN-M `contractStatus`.
        found = {
            str(entry["symbol"]): str(entry.get("status", entry.get("contractStatus", "")))
            for entry in document["symbols"]
        }
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise ExchangeInfoError(
            f"{path}: is not an exchangeInfo; save the body of GET /api/v3/exchangeInfo."
        ) from error
    if not found:
        raise ExchangeInfoError(f"{path}: lists no symbol.")
    return found
