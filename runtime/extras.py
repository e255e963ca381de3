"""The extras of this distribution, and the sentence that tells a user which one is missing.

`pip install binance-latency-sweep` installs what `probe` needs; the other commands need an extra.
"""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec
from typing import Final

DISTRIBUTION: Final = "binance-latency-sweep"


class Extra(StrEnum):
    """Each contains the one before it; `pyproject.toml` defines them."""

    MONITOR = "monitor"
    ANALYSIS = "analysis"
    SWEEP = "sweep"
    LOCAL = "local"


# What each adds, by import name.
MODULES: Final = {
    Extra.MONITOR: ("jinja2",),
    Extra.ANALYSIS: ("pandas", "pyarrow", "requests", "scipy"),
    Extra.SWEEP: ("boto3", "cryptography"),
    Extra.LOCAL: ("moto",),
}


class MissingExtraError(ImportError):
    """An extra is not installed; the message says in one sentence how to install it."""


def missing(extra: Extra) -> tuple[str, ...]:
    """The modules of an extra that cannot be imported; none of them is imported."""
    order = list(Extra)
    wanted = [name for part in order[: order.index(extra) + 1] for name in MODULES[part]]
    return tuple(name for name in wanted if find_spec(name) is None)


def require(extra: Extra, what: str) -> None:
    """Make sure that an extra is installed, before anything is started.

    Args:
        extra: which.
        what: the command or function that needs it, as the user calls it.

    Raises:
        MissingExtraError: it is not.
    """
    if names := missing(extra):
        raise MissingExtraError(
            f"`{what}` needs the extra `{extra}` ({', '.join(names)} missing); "
            f"install it with: pip install '{DISTRIBUTION}[{extra}]'"
        )
