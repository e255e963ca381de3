"""The sweep's Prometheus: its address, its token, and the tunnel to it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from latency_sweep.analysis.cli.access import access_of
from latency_sweep.analysis.prometheus_api import PrometheusClient
from latency_sweep.collector.aws import tunnel
from latency_sweep.collector.aws.session import AWS_ERRORS, HOME_REGION, Aws, AwsError, explain
from latency_sweep.runtime.options import UsageError
from latency_sweep.runtime.progress import reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from latency_sweep.collector.cli.options import PrometheusAccess
    from latency_sweep.collector.state import Sweep


@contextmanager
def reached(
    access: PrometheusAccess, sweep: Sweep, aws: Aws, console: Console
) -> Iterator[PrometheusClient]:
    """The central Prometheus; one on an instance of the sweep is reached through a tunnel.

    Raises:
        TunnelError: there is no tunnel.
        UsageError, AwsError, InvalidUrlError: see `client`.
    """
    url, region = sweep.state.prometheus_url, sweep.plan.bucket_region
    given = access.server.url or sweep.plan.prometheus_url
    with ExitStack() as opened:
        if given is None and sweep.state.monitor is not None:
            forwarding = tunnel.Tunnel(
                sweep.state.monitor, folder=sweep.folder, report=reporter(console)
            )
            url = opened.enter_context(forwarding).url
        yield opened.enter_context(client(access, aws, url=url, region=region))


def client(
    access: PrometheusAccess, aws: Aws, *, url: str | None, region: str = HOME_REGION
) -> PrometheusClient:
    """A client of the central Prometheus.

    Args:
        access: what the user gave.
        aws: for a token kept in SSM.
        url: where it is, unless the user gave another address.
        region: where SSM is asked if the parameter names no region.

    Raises:
        UsageError: there is no address, or a file cannot be read.
        AwsError: SSM does not give the token.
        InvalidUrlError: the address is no URL.
    """
    server = access.server
    address = server.url or url
    if not address:
        raise UsageError("The address of Prometheus is unknown; give it with --from-prometheus.")
    token = _token(aws, access.token_parameter, region)
    return PrometheusClient(
        address, access_of(server, bearer_token=token), timeout_sec=server.timeout_sec
    )


def _token(aws: Aws, parameter: str | None, region: str) -> str | None:
    """The token in an SSM parameter, `[REGION:]NAME`."""
    if parameter is None:
        return None
    before, colon, name = parameter.rpartition(":")
    where = before if colon else region
    try:
        answer = aws.ssm(where).get_parameter(Name=name, WithDecryption=True)
    except AWS_ERRORS as error:
        raise AwsError(f"SSM parameter {name}: {explain(error, where)}") from error
    return answer["Parameter"]["Value"].strip()
