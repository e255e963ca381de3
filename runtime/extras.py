"""The extras of this distribution, and the sentence that tells a user which one is missing.

`pip install binance-latency-sweep` installs what `probe` needs; the other commands need an extra.
"""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec
from typing import Final

DISTRIBUTION: Final = "binance-latency-sweep"


class Extra(StrEnum):
    """`pyproject.toml` defines them, and `CONTAINS` which contains which."""

    MONITOR = "monitor"
    EXPORT = "export"
    ANALYSIS = "analysis"
    SWEEP = "sweep"
    LOCAL = "local"


# What each adds, by import name.
MODULES: Final = {
    Extra.MONITOR: ("jinja2",),
    Extra.EXPORT: ("grafana_foundation_sdk",),
    Extra.ANALYSIS: ("pandas", "pyarrow", "requests", "scipy"),
    Extra.SWEEP: ("boto3", "cryptography"),
    Extra.LOCAL: ("moto",),
}
# Each contains these, and what they contain.
CONTAINS: Final[dict[Extra, tuple[Extra, ...]]] = {
    Extra.MONITOR: (),
    Extra.EXPORT: (Extra.MONITOR,),
    Extra.ANALYSIS: (Extra.MONITOR,),
    Extra.SWEEP: (Extra.ANALYSIS, Extra.EXPORT),
    Extra.LOCAL: (Extra.SWEEP,),
}


class MissingExtraError(ImportError):
    """An extra is not installed; the message says in one sentence how to install it."""


def missing(extra: Extra) -> tuple[str, ...]:
    """The modules of an extra that cannot be imported; none of them is imported."""
    return tuple(name for part in _parts(extra) for name in MODULES[part] if not find_spec(name))


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


def _parts(extra: Extra) -> tuple[Extra, ...]:
    """An extra and what it contains, each once and after what it contains."""
    within = (part for contained in CONTAINS[extra] for part in _parts(contained))
    return tuple(dict.fromkeys((*within, extra)))
