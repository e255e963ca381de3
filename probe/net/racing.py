"""Connecting to the first of a name's addresses that answers ("happy eyeballs", RFC 8305).

Attempts run side by side, so an address that never answers delays the others by a quarter of a
second instead of a timeout. Which addresses failed is remembered across attempts: a front end that
accepts TCP and then fails (in TLS, in the upgrade or at once after it) would win every race.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import time
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.probe.net import timestamped_socket
from latency_sweep.probe.net.capture import PacketCapture
from latency_sweep.probe.net.receiving import Receiving, Timestamps
from latency_sweep.probe.net.timestamps_check import poll_busily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from latency_sweep.runtime.logs import ContextLogger

    AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

# "Connection Attempt Delay", RFC 8305, section 5.
ATTEMPT_DELAY_SEC: Final = 0.25
# Long enough to try every address in turn; short enough that one lost packet does not keep a front
# end out of the measurement.
FAILURE_REMEMBERED_SEC: Final = 300.0
_MAX_REMEMBERED: Final = 1024


class AddressHistory:
    """Which addresses of one endpoint failed lately.

    Args:
        clock: seconds of a clock that is never set.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed_at: dict[str, float] = {}  # the oldest failure first

    def failed(self, address: str) -> None:
        """Note that an address did not answer, or gave no connection that lasted."""
        self._failed_at.pop(address, None)
        self._failed_at[address] = self._clock()
        while len(self._failed_at) > _MAX_REMEMBERED:
            del self._failed_at[next(iter(self._failed_at))]

    def order(self, addresses: Iterable[AddressInfo]) -> list[AddressInfo]:
        """The addresses in the order of their attempts.

        IPv6 and IPv4 alternate, beginning with the family of the first one (RFC 8305, section 4).
        Those that failed lately come last, the one that failed longest ago first.
        """
        oldest = self._clock() - FAILURE_REMEMBERED_SEC
        failed = {address: at for address, at in self._failed_at.items() if at > oldest}
        self._failed_at = failed
        return sorted(_interleaved(addresses), key=lambda info: failed.get(_text(info), -math.inf))


@dataclass(frozen=True, slots=True)
class ConnectedSocket:
    """A connected socket, the address it is connected to, and the capture of what it receives."""

    sock: socket.socket
    remote_address: str
    capture: PacketCapture | None

    def close(self) -> None:
        """Close the socket and end the capture."""
        self.sock.close()
        if self.capture is not None:
            self.capture.close()


async def race(
    addresses: Sequence[AddressInfo],
    receiving: Receiving,
    history: AddressHistory,
    log: ContextLogger,
) -> ConnectedSocket:
    """Connect to the first address that answers.

    A further attempt starts every `ATTEMPT_DELAY_SEC`, or as soon as one fails. The others are
    cancelled once one is connected, and all of them if this is.

    Args:
        addresses: as `socket.getaddrinfo` gives them.
        receiving: where timestamps come from, and whether to poll.
        history: orders the addresses, and is told which did not answer.
        log: told why an address did not do.

    Raises:
        OSError: every attempt failed; the last one's error.
        TimestampsError: what `receiving` asks for cannot be had.
    """
    loop = asyncio.get_running_loop()
    waiting = history.order(addresses)
    waiting.reverse()
    running: dict[asyncio.Task[ConnectedSocket], tuple[str, float]] = {}
    failure: OSError = OSError("the name has no address")
    winner: ConnectedSocket | None = None
    try:
        while winner is None and (waiting or running):
            if waiting:
                info = waiting.pop()
                task = loop.create_task(_attempt(info, receiving))
                running[task] = _text(info), loop.time()
            done, _ = await asyncio.wait(
                running,
                timeout=ATTEMPT_DELAY_SEC if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in [task for task in running if task in done]:
                address, _ = running.pop(task)
                try:
                    winner = task.result()
                    break
                except OSError as error:  # TimeoutError is one
                    failure = error
                    history.failed(address)
                    extra = {"remote": address, "error": str(error) or type(error).__name__}
                    log.debug("address does not answer", extra=extra)
    finally:
        now = loop.time()
        for address, started in running.values():
            if now - started >= ATTEMPT_DELAY_SEC:
                history.failed(address)
        await _cancel(running)
    if winner is None:
        raise failure
    return winner


async def _cancel(attempts: Iterable[asyncio.Task[ConnectedSocket]]) -> None:
    """Cancel attempts, and close the connections of those that succeeded meanwhile."""
    tasks = list(attempts)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, ConnectedSocket):
            result.close()


async def _attempt(info: AddressInfo, receiving: Receiving) -> ConnectedSocket:
    family, kind, protocol, _, address = info
    with contextlib.ExitStack() as opened:
        sock = opened.enter_context(socket.socket(family, kind, protocol))
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        timestamped_socket.enable_receive_timestamps(sock)
        if receiving.busy_poll_us:
            poll_busily(sock, receiving.busy_poll_us)
        capture = None
        if receiving.timestamps is Timestamps.CAPTURE:
            sock.bind(("", 0))  # the capture has to know our port before we connect
            capture = PacketCapture(address[0], address[1], sock.getsockname()[1])
            opened.callback(capture.close)
        await asyncio.get_running_loop().sock_connect(sock, address)
        opened.pop_all()
        return ConnectedSocket(sock, _text(info), capture)


def _interleaved(addresses: Iterable[AddressInfo]) -> list[AddressInfo]:
    by_family: dict[int, list[AddressInfo]] = {}
    for info in addresses:
        by_family.setdefault(info[0], []).append(info)
    turns = zip_longest(*by_family.values())
    return [info for info in chain.from_iterable(turns) if info is not None]


def _text(info: AddressInfo) -> str:
    return str(info[4][0])
