"""Configuration and flags of Prometheus, rendered for its version.

AWS and the local stack use the same template.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from latency_sweep.contract import tags
from latency_sweep.contract.metrics import JOB
from latency_sweep.prometheus.version import (
    MINIMUM,
    NATIVE_HISTOGRAMS_BY_CONFIG,
    Version,
    honours_ec2_endpoint,
)

RULES: Final = Path(__file__).parent / "rules" / "feed.yml"
ALERTS: Final = RULES.with_name("alerts.yml")

# EC2 metadata label (without its `__meta_ec2_`) and the target label it becomes.
_TARGET_LABELS: Final = (
    ("instance_id", "instance"),
    ("region", "region"),
    ("availability_zone_id", "az_id"),
    ("instance_type", "instance_type"),
    ("architecture", "architecture"),
    (f"tag_{tags.EXPERIMENT}", "experiment"),
)
_MAX_SCRAPE_TIMEOUT_SEC: Final = 10


class ConfigurationError(Exception):
    """The settings are not valid or not supported by this version; the message says why."""


@dataclass(frozen=True, slots=True)
class ScrapeSecurity:
    """TLS and authorization of the scrapes.

    Attributes:
        credentials_file: file on the Prometheus host with the bearer token of the probes.
        ca_file: CA of the probes' certificates.
        server_name: the name those certificates are issued to.
    """

    credentials_file: Path
    ca_file: Path
    server_name: str


@dataclass(frozen=True, slots=True)
class SimulatedEc2:
    """A simulated EC2 API. Its instances are scraped at 127.0.0.1, on the port of their tag.

    Attributes:
        endpoint: URL of the EC2 API.
        access_key: any text; prevents the use of real credentials.
        secret_key: likewise.
    """

    endpoint: str
    access_key: str = "simulated"
    secret_key: str = "simulated"  # noqa: S105 - the simulation accepts any


@dataclass(frozen=True, slots=True)
class RemoteWrite:
    """A remote-write store: Mimir, Thanos, Amazon Managed Prometheus, another Prometheus.

    Attributes:
        url: its remote-write endpoint.
        sigv4_region: sign requests for this AWS region with the credentials of the machine, as
            Amazon Managed Prometheus requires; None does not sign.
        sigv4_role_arn: role to assume for signing, or None.
        credentials_file: file on the Prometheus host with a bearer token, or None.
        username: for basic authentication, or None.
        password_file: file on the Prometheus host with its password.
        headers: further headers, such as the `X-Scope-OrgID` of Mimir's tenants.
        ca_file: certificates to trust instead of the system's, or None.
    """

    url: str
    sigv4_region: str | None = None
    sigv4_role_arn: str | None = None
    credentials_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    headers: tuple[tuple[str, str], ...] = ()
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """Settings that the configuration is rendered from.

    Attributes:
        version: of the Prometheus that reads it.
        experiment: value of the `Experiment` tag and of the target label.
        regions: AWS regions in which probes are discovered.
        scrape_interval_sec: seconds between scrapes and between rule evaluations.
        refresh_interval_sec: seconds between EC2 discoveries.
        port: port of the probes' metrics.
        security: TLS and authorization of scrapes; None for plain HTTP.
        simulated_ec2: the local stack's EC2; None for AWS.
        rule_files: recording and alerting rules.
        project: value of the `Project` tag.
        remote_write: stores that receive all samples.
        agent: agent mode: only scrape and remote write, no queries, no rules.
        external_labels: added to remote write, to tell replicas apart.
    """

    version: Version
    experiment: str
    regions: tuple[str, ...]
    scrape_interval_sec: int
    refresh_interval_sec: int = 60
    port: int = 9090
    security: ScrapeSecurity | None = None
    simulated_ec2: SimulatedEc2 | None = None
    rule_files: tuple[Path, ...] = (RULES, ALERTS)
    project: str = tags.PROJECT_NAME
    remote_write: tuple[RemoteWrite, ...] = ()
    agent: bool = False
    external_labels: tuple[tuple[str, str], ...] = ()

    @property
    def scrape_timeout_sec(self) -> int:
        """At most the interval, as Prometheus requires."""
        return min(self.scrape_interval_sec, _MAX_SCRAPE_TIMEOUT_SEC)


def render(settings: PrometheusSettings) -> str:
    """The configuration file's text.

    Raises:
        ConfigurationError: the version is too old or ignores the endpoint of the simulated EC2, or
            the remote-write settings are not valid.
    """
    _check(settings)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML, not HTML
        keep_trailing_newline=True,
    )
    return environment.get_template("prometheus.yml.j2").render(
        s=settings,
        job=JOB,
        tags=tags,
        target_labels=_TARGET_LABELS,
        by_config=settings.version >= NATIVE_HISTOGRAMS_BY_CONFIG,
    )


def flags(
    version: Version,
    *,
    config_file: Path,
    data: Path,
    listen: str,
    agent: bool = False,
    receiver: bool = False,
) -> list[str]:
    """Command-line flags of a Prometheus.

    Args:
        version: decides how native histograms are enabled.
        config_file: where `render`'s text was written.
        data: folder of the time-series database.
        listen: address and port of the API.
        agent: agent mode; for settings with `agent`.
        receiver: accept remote write.
    """
    features = [] if version >= NATIVE_HISTOGRAMS_BY_CONFIG else ["native-histograms"]
    return [
        f"--config.file={config_file}",
        *(
            ["--agent", f"--storage.agent.path={data}"]
            if agent
            else [f"--storage.tsdb.path={data}"]
        ),
        f"--web.listen-address={listen}",
        *(["--web.enable-remote-write-receiver"] if receiver else []),
        *(f"--enable-feature={feature}" for feature in features),
    ]


def _check(settings: PrometheusSettings) -> None:
    version = settings.version
    if version < MINIMUM:
        raise ConfigurationError(f"Prometheus {version} is too old; use {MINIMUM} or newer.")
    if settings.simulated_ec2 is not None and not honours_ec2_endpoint(version):
        raise ConfigurationError(
            f"Prometheus {version} ignores the endpoint of a simulated EC2 and would query AWS; "
            "use 3.5, 3.6, or 3.11 and newer."
        )
    if settings.agent and not settings.remote_write:
        raise ConfigurationError("Agent mode needs remote_write: an agent stores no data.")
    for store in settings.remote_write:
        _check_store(store)


def _check_store(store: RemoteWrite) -> None:
    credentials = (store.sigv4_region, store.credentials_file, store.username)
    if sum(each is not None for each in credentials) > 1:
        raise ConfigurationError(
            f"Remote write to {store.url}: use only one of SigV4, bearer token and basic auth."
        )
    if (store.username is None) != (store.password_file is None):
        raise ConfigurationError(
            f"Remote write to {store.url}: basic auth needs both username and password_file."
        )
    if store.sigv4_role_arn is not None and store.sigv4_region is None:
        raise ConfigurationError(f"Remote write to {store.url}: sigv4_role_arn needs sigv4_region.")
