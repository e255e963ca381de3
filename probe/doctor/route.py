"""Checks of the network path to the exchange: names, addresses, TLS."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from latency_sweep.runtime.check_result import CheckResult, CheckStatus, duration, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

_DNS: Final = "DNS"
_ROUTE: Final = "route to exchange"
_TLS: Final = "TLS"
_TIMEOUT_SEC: Final = 5.0
_SLOW_DNS_SEC: Final = 0.2
_EXPIRES_SOON_DAYS: Final = 7
_DAY_SEC: Final = 86_400
_PORTS: Final = {"ws": 80, "wss": 443}

Address = tuple[socket.AddressFamily, tuple[str, int]]


async def check_endpoint(
    url: str, tls: ssl.SSLContext, *, pinned: str | None = None
) -> list[CheckResult]:
    """Resolve the endpoint's host, connect to each of its addresses, and shake hands with one.

    Args:
        url: WebSocket URL of the endpoint.
        tls: CAs to trust.
        pinned: the only address to use, or None for all that the host's name has.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    dns, addresses = await check_dns(pinned or host, port)
    route, nearest = await check_route(addresses)
    if parts.scheme == "ws":
        return [dns, route, CheckResult(_TLS, CheckStatus.SKIP, "the endpoint is plain", "")]
    return [dns, route, await check_tls(host, nearest, tls)]


async def check_dns(host: str, port: int) -> tuple[CheckResult, list[Address]]:
    """Whether the host has addresses, and how long asking takes."""
    expected = f"an address within {duration(_SLOW_DNS_SEC)}"
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    try:
        async with asyncio.timeout(_TIMEOUT_SEC):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        reason = _reason(error)
        action = "Check the endpoint's host name and the resolver in /etc/resolv.conf."
        return CheckResult(_DNS, CheckStatus.FAIL, f"{host}: {reason}", expected, action), []
    took = time.perf_counter() - started
    # A set, in the order of the answer: resolvers repeat addresses.
    addresses: list[Address] = list(
        dict.fromkeys((family, (str(bound[0]), port)) for family, _, _, _, bound in found)
    )
    shown = f"{host}: {plural(len(addresses), 'address')} in {duration(took)}"
    if took <= _SLOW_DNS_SEC:
        return CheckResult(_DNS, CheckStatus.PASS, shown, expected), addresses
    action = "Use a closer resolver: every reconnection waits for it."
    return CheckResult(_DNS, CheckStatus.WARN, shown, expected, action), addresses


async def check_route(addresses: Sequence[Address]) -> tuple[CheckResult, Address | None]:
    """Time a TCP connection to each address; also returns the nearest."""
    expected = "every address connects"
    if not addresses:
        return CheckResult(_ROUTE, CheckStatus.SKIP, "no address", expected), None
    times: dict[Address, float] = {}
    failures: list[str] = []
    for address in addresses:
        started = time.perf_counter()
        try:
            sock = await _connect(address)
        except (OSError, TimeoutError) as error:
            failures.append(f"{address[1][0]}: {_reason(error)}")
        else:
            times[address] = time.perf_counter() - started
            sock.close()
    action = "Check the security group, the network ACL and the route table for this port."
    if not times:
        found = f"none of {len(addresses)}; {failures[0]}"
        return CheckResult(_ROUTE, CheckStatus.FAIL, found, expected, action), None
    nearest = min(times, key=lambda address: times[address])
    found = f"{len(times)} of {plural(len(addresses), 'address')}, {duration(min(times.values()))}"
    if len(times) > 1:
        found += f" to {duration(max(times.values()))}"
    if not failures:
        return CheckResult(_ROUTE, CheckStatus.PASS, found, expected), nearest
    families = {family for family, _ in times}
    unreached = {family for family, _ in addresses} - families
    if unreached == {socket.AF_INET6}:
        action = "This host has no IPv6 route, so the endpoint's IPv6 addresses are not used."
    return CheckResult(
        _ROUTE, CheckStatus.WARN, f"{found}; {failures[0]}", expected, action
    ), nearest


async def check_tls(host: str, address: Address | None, tls: ssl.SSLContext) -> CheckResult:
    """Shake hands, verify the certificate and see how long it is valid."""
    expected = f"verified, > {_EXPIRES_SOON_DAYS} days valid"
    if address is None:
        return CheckResult(_TLS, CheckStatus.SKIP, "no connection", expected)
    try:
        sock = await _connect(address)
        started = time.perf_counter()
        async with asyncio.timeout(_TIMEOUT_SEC):
            _, writer = await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        action = "Check the host's clock, its trusted CAs, and --ca-file."
        return CheckResult(
            _TLS, CheckStatus.FAIL, f"certificate: {error.verify_message}", expected, action
        )
    except (OSError, TimeoutError) as error:
        action = "Check that nothing on the path intercepts or blocks TLS."
        return CheckResult(_TLS, CheckStatus.FAIL, _reason(error), expected, action)
    took = time.perf_counter() - started
    tls_object: ssl.SSLObject = writer.get_extra_info("ssl_object")
    certificate = tls_object.getpeercert()
    assert certificate, "a verified peer has a certificate"
    expires_sec = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    writer.transport.abort()
    days = int((expires_sec - time.time()) // _DAY_SEC)
    found = f"{tls_object.version()} in {duration(took)}, valid {plural(days, 'day')} more"
    if days > _EXPIRES_SOON_DAYS:
        return CheckResult(_TLS, CheckStatus.PASS, found, expected)
    action = "Ask the endpoint's operator to renew it."
    return CheckResult(_TLS, CheckStatus.WARN, found, expected, action)


async def _connect(address: Address) -> socket.socket:
    family, target = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - the argument has no name
        async with asyncio.timeout(_TIMEOUT_SEC):
            await asyncio.get_running_loop().sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {duration(_TIMEOUT_SEC)}"
    # Names and TLS have error numbers of their own.
    others = (socket.gaierror, ssl.SSLError)
    if isinstance(error, OSError) and not isinstance(error, others) and error.errno:
        return os.strerror(error.errno)  # without the address, which asyncio repeats
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
