"""Which addresses are counted as one client."""

from __future__ import annotations

import ipaddress
from typing import Final

# A host of IPv6 is usually given a whole network of this size, and may use any address in it.
_IPV6_PREFIX_BITS: Final = 64


def client_of(address: str) -> str:
    """The client behind a peer's address: the address of IPv4, the /64 network of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed, _IPV6_PREFIX_BITS), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)
