"""Secrets of a sweep's scrapes, which the instances fetch from SSM Parameter Store.

The collector creates them before Terraform runs and deletes them afterwards, so that they are in no
state, user data or log. All probes share one certificate: their addresses are not known in advance,
and Prometheus verifies the name in it. The CA's key is discarded, so that it can sign nothing else.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final

from cryptography import x509

from latency_sweep.contract import tags
from latency_sweep.deploy.aws.monitor import SERVER_NAME
from latency_sweep.runtime import certificates

# Longer than any sweep: ttl_hours of Terraform is at most 30 days.
VALIDITY: Final = timedelta(days=31)
TOKEN_BYTES: Final = 32
NAMES: Final = ("ca.pem", "server.pem", "server.key", "token")


def path_of(experiment_id: str) -> str:
    """Path of a sweep's secrets; Terraform's output `secrets_path`."""
    return f"/{tags.PROJECT_NAME}/{experiment_id}/scrape"


def make() -> dict[str, str]:
    """New secrets by name; keys and certificates are PEM."""
    made = certificates.make(
        ca="Latency sweep CA",
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
