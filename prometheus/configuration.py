"""Prometheus' configuration and flags, rendered for the version at hand.

The same template serves AWS and the local stack.
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
    """What is asked for does not work with this version; the message says what does."""


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
    """An EC2 on this machine. Its instances are reached at 127.0.0.1 and their port tag.

    Attributes:
        endpoint: URL of the EC2 API.
        access_key: any text; keeps the real credentials of this machine out of it.
        secret_key: likewise.
    """

    endpoint: str
    access_key: str = "simulated"
    secret_key: str = "simulated"  # noqa: S105 - the simulation takes any


@dataclass(frozen=True, slots=True)
class RemoteWrite:
    """A store that receives every sample: Mimir, Thanos, Amazon Managed Prometheus, another server.

    Attributes:
        url: where it takes remote write requests.
        sigv4_region: sign requests for this AWS region, as Amazon Managed Prometheus demands, with
            the credentials of the machine; None does not sign.
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
    """All that the configuration depends on.

    Attributes:
        version: the Prometheus that will read it.
        experiment: value of the `Experiment` tag and of the target label.
        regions: AWS regions in which probes are looked for.
        scrape_interval_sec: seconds between scrapes and between rule evaluations.
        refresh_interval_sec: seconds between looks at EC2.
        port: port of the probes' metrics.
        security: TLS and authorization of scrapes; None for plain HTTP.
        simulated_ec2: the local stack's EC2; None for AWS.
        rule_files: recording and alerting rules.
        project: value of the `Project` tag.
        remote_write: stores that receive everything as well.
        agent: only scrape and send on: no queries, no rules, hardly any memory.
        external_labels: added to what is sent on, to tell replicas apart.
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
        """No longer than the interval, as Prometheus demands."""
        return min(self.scrape_interval_sec, _MAX_SCRAPE_TIMEOUT_SEC)


def render(settings: PrometheusSettings) -> str:
    """The configuration file's text.

    Raises:
        ConfigurationError: the version is too old or ignores the simulated EC2's address, or what
            is asked of remote write cannot work.
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
        version: decides how native histograms are switched on.
        config_file: where `render`'s text was written.
        data: folder of the time-series database.
        listen: address and port of the API.
        agent: run as an agent; fits settings with `agent`.
        receiver: take remote write requests.
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
            f"Prometheus {version} ignores the address of a simulated EC2 and would ask AWS; "
            "use 3.5, 3.6 or 3.11 and newer."
        )
    if settings.agent and not settings.remote_write:
        raise ConfigurationError("An agent keeps nothing: name a store for its remote write.")
    for store in settings.remote_write:
        _check_store(store)


def _check_store(store: RemoteWrite) -> None:
    credentials = (store.sigv4_region, store.credentials_file, store.username)
    if sum(each is not None for each in credentials) > 1:
        raise ConfigurationError(
            f"Remote write to {store.url}: choose one of SigV4, a bearer token and a user name."
        )
    if (store.username is None) != (store.password_file is None):
        raise ConfigurationError(
            f"Remote write to {store.url}: user name and password file need one another."
        )
    if store.sigv4_role_arn is not None and store.sigv4_region is None:
        raise ConfigurationError(f"Remote write to {store.url}: a role needs a region to sign for.")
