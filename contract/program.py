"""The name and version of this program, for whoever has to say what made a file."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

DISTRIBUTION: Final = "binance-latency-sweep"


def program_version() -> str:
    """The version of this program; `unknown` in a checkout that is not installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
