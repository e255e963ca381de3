"""EC2 tags by which probes are found; whoever creates an instance sets them."""

from __future__ import annotations

from typing import Final

PROJECT: Final = "Project"
EXPERIMENT: Final = "Experiment"
MANAGED_BY: Final = "ManagedBy"
# Local stack only: the port on 127.0.0.1 at which the instance's probe listens.
PROBE_PORT: Final = "ProbePort"

# Value of the `Project` tag.
PROJECT_NAME: Final = "binance-latency-sweep"
