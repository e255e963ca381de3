"""A shell and a folder that are set up for other programs than ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Each would break a process that heeds it.
VARIABLES = {
    "AWS_CA_BUNDLE": "/none",
    "AWS_PROFILE": "none",
    "AWS_CONFIG_FILE": "/none",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "https_proxy": "http://127.0.0.1:1",
    "NO_PROXY": "",
    "SSL_CERT_FILE": "/none",
    "SSL_CERT_DIR": "/none",
    "REQUESTS_CA_BUNDLE": "/none",
    "PROMETHEUS_MULTIPROC_DIR": "/none",
    "PYTHONPATH": ".",
    "PROBE_SYMBOLS": "none",
    "MOTO_AMIS_PATH": "/none",
}
NAMES = (
    *("analysis", "collector", "contract", "deploy", "grafana", "lab", "nativehist", "probe"),
    *("prometheus", "runtime"),
)


def write_modules(folder: Path) -> Path:
    """Modules with the names of our folders, which raise when imported; returns the folder."""
    for name in NAMES:
        text = f"raise RuntimeError('{name} was imported from the working directory')\n"
        (folder / f"{name}.py").write_text(text)
    return folder
