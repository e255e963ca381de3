"""How connecting and connections fail.

ConnectFailed: no connection came about; says at which step.
Closed (not an exception): how an established connection ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.metrics import ConnectStep, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latency_sweep.contract.metrics import ReconnectReason

# Binance bans an address for two minutes to three days: more is a mistake, and would silence a
# probe for good.
LONGEST_BAN_SEC: Final = 3 * 24 * 3600.0
_KINDS = {
    ConnectStep.DNS: ErrorKind.CONNECT_FAILED,
    ConnectStep.TCP: ErrorKind.CONNECT_FAILED,
    ConnectStep.TLS: ErrorKind.TLS_FAILED,
    ConnectStep.UPGRADE: ErrorKind.UPGRADE_REJECTED,
}


class ConnectFailed(Exception):  # noqa: N818 - a state of the network, not a fault of ours
    """No connection came about.

    Attributes:
        step: the step that failed.
        retry_after_sec: what the server asked to wait, or None.
    """

    def __init__(
        self, step: ConnectStep, detail: str, *, retry_after_sec: float | None = None
    ) -> None:
        super().__init__(f"{step}: {detail}")
        self.step = step
        self.retry_after_sec = retry_after_sec

    @property
    def kind(self) -> ErrorKind:
        """The `kind` of error it is counted under."""
        return _KINDS[self.step]


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended.

    Attributes:
        reason: the `reason` it is counted under.
        detail: close code and text, or the error.
    """

    reason: ReconnectReason
    detail: str


def retry_after_sec(headers: Mapping[str, str]) -> float | None:
    """Seconds of a `Retry-After` header in its delta form, three days at most, or None."""
    value = headers.get("Retry-After", "")
    return min(float(value), LONGEST_BAN_SEC) if value.isascii() and value.isdigit() else None
