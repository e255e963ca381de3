"""What the machine that runs the tests allows."""

from __future__ import annotations

from probe.net.capture import Capture
from probe.net.receiving import StampsError


def may_capture() -> bool:
    """Whether packets may be captured: CAP_NET_RAW."""
    try:
        Capture("127.0.0.1", 1, 1).close()
    except StampsError:
        return False
    return True
