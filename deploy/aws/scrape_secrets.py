"""Secrets of a sweep's scrapes, which the instances fetch from SSM Parameter Store.

The collector makes them before Terraform runs and removes them after it, so that they are in no
state, user data or log. All probes share one certificate: their addresses are not known beforehand,
and Prometheus checks the name in it. The authority's key is thrown away, so nothing else can be
signed by it.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final

from cryptography import x509

from latency_sweep.contract import tags
from latency_sweep.deploy.aws.monitor import SERVER_NAME
from latency_sweep.runtime import certificates

# No sweep lives longer: Terraform's ttl_hours ends at 30 days.
VALIDITY: Final = timedelta(days=31)
TOKEN_BYTES: Final = 32
NAMES: Final = ("ca.pem", "server.pem", "server.key", "token")


def path_of(experiment_id: str) -> str:
    """Where a sweep's secrets stand; Terraform's output `secrets_path`."""
    return f"/{tags.PROJECT_NAME}/{experiment_id}/scrape"


def make() -> dict[str, str]:
    """Fresh secrets by name; PEM where they are keys or certificates."""
    made = certificates.make(
        ca="Latency sweep authority",
        server=SERVER_NAME,
        names=[x509.DNSName(SERVER_NAME)],
        validity=VALIDITY,
    )
    return {
        "ca.pem": made.ca.decode(),
        "server.pem": made.certificate.decode(),
        "server.key": made.key.decode(),
        "token": secrets.token_urlsafe(TOKEN_BYTES),
    }
