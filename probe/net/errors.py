"""How connecting and connections fail.

ConnectFailed: no connection came about; says at which step.
Closed (not an exception): how an established connection ended.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from latency_sweep.contract.metrics import ConnectStep, ErrorKind
from latency_sweep.probe.net.receiving import TimestampsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from latency_sweep.contract.metrics import ReconnectReason

# Binance bans an address for two minutes to three days. A server that asks for more is mistaken,
# and obeying it would stop a probe for good.
LONGEST_BAN_SEC: Final = 3 * 24 * 3600.0
# Of the reason that a server gives for refusing.
_SHOWN_BYTES: Final = 200

# The step at which connecting failed, and what that counts as.
_KINDS: Final = {
    ConnectStep.DNS: ErrorKind.CONNECT_FAILED,
    ConnectStep.TCP: ErrorKind.CONNECT_FAILED,
    ConnectStep.TLS: ErrorKind.TLS_FAILED,
    ConnectStep.UPGRADE: ErrorKind.UPGRADE_REJECTED,
    ConnectStep.SUBSCRIBE: ErrorKind.SUBSCRIBE_FAILED,
}
# What the steps raise when the network, the server or this host is at fault; anything else is a
# fault of the program. SSLError and gaierror are OSErrors.
_FAILURES: Final = (
    OSError,
    ValueError,  # a host that cannot be a name
    TimestampsError,
    InvalidURI,
    InvalidHandshake,
)


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


@contextmanager
def failing_at(step: ConnectStep, timeout_sec: float) -> Iterator[None]:
    """Turn what a step raises into `ConnectFailed`.

    Args:
        step: that is done inside.
        timeout_sec: limit of the step, for the sentence about a timeout.
    """
    try:
        yield
    except TimeoutError as error:
        raise ConnectFailed(step, f"no answer within {timeout_sec:g} s") from error
    except _FAILURES as error:
        raise connect_failed(step, error) from error


def connect_failed(step: ConnectStep, error: Exception) -> ConnectFailed:
    """The failure of a step that one of the exceptions above stands for."""
    detail = str(error)
    if not isinstance(error, InvalidStatus):
        return ConnectFailed(step, detail)
    reason = _one_line(error.response.body or b"")
    return ConnectFailed(
        step,
        f"{detail}: {reason}" if reason else detail,
        retry_after_sec=retry_after_sec(error.response.headers),
    )


def retry_after_sec(headers: Mapping[str, str]) -> float | None:
    """Seconds of a `Retry-After` header in its delta form, three days at most, or None."""
    value = headers.get("Retry-After", "")
    return min(float(value), LONGEST_BAN_SEC) if value.isascii() and value.isdigit() else None


def _one_line(body: bytes | bytearray) -> str:
    """The beginning of an answer as one line of printable characters."""
    text = body[:_SHOWN_BYTES].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
