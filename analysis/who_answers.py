"""What answers at a URL that is no Prometheus: a probe, a Grafana, a proxy, another exporter."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from latency_sweep.analysis.prometheus_api import (
    AccessDeniedError,
    NotPrometheusError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latency_sweep.analysis.prometheus_api import Glance, PrometheusClient

# Programs that are found in front of others, as they call themselves in `Server` and `Via`.
_PROXIES: Final = re.compile(
    r"squid|tinyproxy|privoxy|haproxy|nginx|traefik|envoy|varnish|caddy|apache|awselb|cloudfront",
    re.IGNORECASE,
)
_BUILD_INFO: Final = re.compile(r"^([a-z][a-z0-9_]*?)_build_info(?:\{| )", re.MULTILINE)
_PROBE: Final = "feed_probe_info"
_EXPOSITION: Final = re.compile(r"^# TYPE \S+ \w+$", re.MULTILINE)


@contextmanager
def naming_what_answers(client: PrometheusClient) -> Iterator[None]:
    """Replace the error of a server that is no Prometheus by one that says what it is.

    Raises:
        NotPrometheusError: it is something that is known here; else what was raised inside.
    """
    try:
        yield
    except (NotPrometheusError, AccessDeniedError, UnreachableError) as error:
        found = identify(client)
        if found is None:
            raise
        raise NotPrometheusError(f"{client.url} {found}.") from error


def identify(client: PrometheusClient) -> str | None:
    """What answers, as the predicate of a sentence with the fix; None if that is not known."""
    parts = urlsplit(client.url)
    root = f"{parts.scheme}://{parts.netloc}"
    if parts.path and _is_api(client.glance("/api/v1/query?query=time()")):
        return f"is a page of a Prometheus whose API is at {root}; leave out {parts.path}"
    health = client.glance("/api/health")
    if health is not None and _is_grafana(health):
        return (
            "is a Grafana, not a Prometheus; give the URL of the Prometheus that it shows, or "
            f"{root}/api/datasources/proxy/uid/UID with the UID of that data source and a token"
        )
    shown = client.glance("/metrics")
    if shown is not None and _PROBE in shown.text:
        return (
            "is a probe of this project, not a Prometheus; give the URL of the Prometheus that "
            "scrapes it"
        )
    if shown is not None and shown.status == 200 and _EXPOSITION.search(shown.text):  # noqa: PLR2004
        build = _BUILD_INFO.search(shown.text)
        if build is None or build[1] != "prometheus":
            name = f" ({build[1]})" if build else ""
            return (
                f"is an exporter of metrics{name}, not a Prometheus; give the URL of the "
                "Prometheus that scrapes it"
            )
    return _proxy(client.glance(f"{parts.path}/api/v1/query?query=time()"))


def _is_api(found: Glance | None) -> bool:
    return found is not None and found.text.lstrip().startswith('{"status":"success"')


def _is_grafana(health: Glance) -> bool:
    try:
        document = json.loads(health.text)
    except ValueError:
        return False
    return isinstance(document, dict) and {"database", "version"} <= document.keys()


def _proxy(found: Glance | None) -> str | None:
    """A web server or proxy that answers itself instead of passing the request on."""
    if found is None or _is_api(found):
        return None
    told = [
        value
        for name, value in found.headers.items()
        if name.lower() in {"server", "via", "proxy-agent", "x-squid-error"}
    ]
    name = next((match[0] for value in told if (match := _PROXIES.search(value))), None)
    if name is None:
        return None
    return (
        f"is answered by a proxy or web server ({name}, HTTP {found.status}), which passes no "
        "query on to a Prometheus; give the path under which it serves one, such as "
        "https://HOST/prometheus, or the URL of the Prometheus itself"
    )
