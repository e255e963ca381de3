"""How much of the probe's time and memory any client may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """Limits of the metrics endpoint. A Prometheus needs one connection and a request per scrape.

    Attributes:
        connections: open at the same time.
        connections_per_address: of those, from one address.
        new_per_sec: connections and, apart from them, requests per second from one address.
        burst: how many of either may come at once after a pause.
        request_line: bytes of `GET /metrics HTTP/1.1`.
        head: bytes of request line and headers.
        handshake_sec: for a TLS handshake.
        head_sec: from a connection, or the first byte of a later request, to the head's end.
        answer_sec: for making an answer and for taking it.
        idle_sec: between requests; longer than any sensible scrape interval, so that a scrape
            finds its connection open and needs no handshake.
    """

    connections: int = 256
    connections_per_address: int = 128
    new_per_sec: float = 50.0
    burst: int = 200
    request_line: int = 4096
    head: int = 16 * 1024
    handshake_sec: float = 5.0
    head_sec: float = 10.0
    answer_sec: float = 30.0
    idle_sec: float = 300.0
