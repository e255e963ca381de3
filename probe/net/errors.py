"""How connecting and connections fail.

ConnectFailed: no connection came about; says at which step.
Closed (not an exception): how an established connection ended.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from latency_sweep.contract.metrics import ConnectStep, ErrorKind, ReconnectReason
from latency_sweep.probe.net.limits import LimitExceededError
from latency_sweep.probe.net.receiving import TimestampsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.datastructures import Headers

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
        kind: the `kind` of error it is counted under.
    """

    def __init__(
        self,
        step: ConnectStep,
        detail: str,
        *,
        retry_after_sec: float | None = None,
        kind: ErrorKind | None = None,
    ) -> None:
        super().__init__(f"{step}: {detail}")
        self.step = step
        self.retry_after_sec = retry_after_sec
        self.kind = kind or _KINDS[step]


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended.

    Attributes:
        reason: the `reason` it is counted under.
        detail: close code and text, or the error.
        kind: the `kind` of error that it is counted under as well, or None.
        fault: of the program, for its traceback, or None.
    """

    reason: ReconnectReason
    detail: str
    kind: ErrorKind | None = None
    fault: Exception | None = None


def closed_by(error: Exception) -> Closed:
    """How a connection ends that exceeded a limit, or in which the program raised an exception."""
    if isinstance(error, LimitExceededError):
        return Closed(ReconnectReason.LIMIT_EXCEEDED, str(error), error.kind)
    detail = f"{type(error).__name__}: {error}"
    return Closed(ReconnectReason.INTERNAL_ERROR, detail, ErrorKind.INTERNAL, error)


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
    headers = error.response.headers
    return ConnectFailed(
        step,
        f"{detail}: {reason}" if reason else detail,
        retry_after_sec=retry_after_sec(headers),
        kind=ErrorKind.RETRY_AFTER if _delta_sec(headers) > LONGEST_BAN_SEC else None,
    )


def retry_after_sec(headers: Headers) -> float | None:
    """Seconds of a `Retry-After` header in its delta form, three days at most, or None.

    Of several the longest counts.
    """
    asked_sec = _delta_sec(headers)
    return min(asked_sec, LONGEST_BAN_SEC) if asked_sec >= 0 else None


def _delta_sec(headers: Headers) -> float:
    """What `Retry-After` headers ask for in their delta form; negative without one."""
    values = headers.get_all("Retry-After")  # `get` raises where there are several
    asked = (float(value) for value in values if value.isascii() and value.isdigit())
    return max(asked, default=-1.0)


def _one_line(body: bytes | bytearray) -> str:
    """The beginning of an answer as one line of printable characters."""
    text = body[:_SHOWN_BYTES].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
