"""How much of the probe's time and memory any client may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """Limits of the metrics endpoint. A Prometheus needs one connection and a request per scrape.

    Attributes:
        connections: open at the same time.
        reserved: of those, for authenticated clients only, where authentication is needed.
        connections_per_client: of those, from one client: an address of IPv4, a /64 of IPv6.
        new_per_sec: connections and, apart from them, requests per second from one client. Rejected
            requests are counted apart from accepted ones.
        burst: how many of either may come at once after a pause.
        request_line: bytes of `GET /metrics HTTP/1.1`.
        head: bytes of request line and headers.
        handshake_sec: for a TLS handshake.
        head_sec: from a connection, or the first byte of a later request, to the head's end.
        answer_sec: for making an answer and for taking it.
        idle_sec: between requests; longer than any sensible scrape interval, so that a scrape
            finds its connection open and needs no handshake.
        stranger_idle_sec: the same on connections of clients that have not authenticated, where
            authentication is needed.
        rejected_sec: before a request is told that there were too many.
    """

    connections: int = 256
    reserved: int = 32
    connections_per_client: int = 128
    new_per_sec: float = 50.0
    burst: int = 200
    request_line: int = 4096
    head: int = 16 * 1024
    handshake_sec: float = 5.0
    head_sec: float = 10.0
    answer_sec: float = 30.0
    idle_sec: float = 300.0
    stranger_idle_sec: float = 10.0
    rejected_sec: float = 1.0
