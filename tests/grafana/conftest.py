"""Lets the SDK in: it warns against the dashboard model that every Grafana can read."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # Issued by the bodies of its classes, so once, by whoever imports them first.
    warnings.filterwarnings("ignore", "Prefer using", DeprecationWarning)
    import grafana_foundation_sdk.cog.plugins  # noqa: F401 - imported for its effect

    import latency_sweep.grafana.boards  # noqa: F401 - imported for its effect
