"""The options that several subcommands share: how they are written and what they mean."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.cli import options as analysis_options
from latency_sweep.analysis.prometheus_api import PrometheusClient
from latency_sweep.collector.aws.access import AWS_ERRORS, HOME_REGION, Aws, AwsError, explain
from latency_sweep.collector.lifecycle.planning import Request

if TYPE_CHECKING:
    from latency_sweep.analysis.prometheus_api import Access

SWEEPS: Final = Path("sweeps")

_AZ_ID: Final = re.compile(r"[a-z0-9]+-az[0-9]+")
_EXPERIMENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def add_request(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to sweep."""
    group = parser.add_argument_group("what to sweep")
    group.add_argument(
        "--config", metavar="FILE", type=Path, help="the experiment; the shipped one if absent"
    )
    group.add_argument(
        "--phase",
        metavar="N",
        type=positive,
        default=1,
        help="1 for Europe, 2 for Europe and the rest of the world (default: 1)",
    )
    group.add_argument(
        "--instance-types", metavar="NAMES", type=names, default=(), help="with commas; all"
    )
    group.add_argument(
        "--az-ids",
        metavar="REGION=IDS",
        type=_zones,
        action="append",
        default=[],
        help="zones of a region, as eu-west-1=euw1-az1,euw1-az2; repeatable; else one is chosen",
    )
    group.add_argument(
        "--replicas", metavar="N", type=positive, default=1, help="instances of each place (1)"
    )
    group.add_argument(
        "--warmup", metavar="TIME", type=seconds, help="of each run, as 300 or 5m; the experiment's"
    )
    group.add_argument(
        "--duration", metavar="TIME", type=seconds, help="measured time of each run, as 1h"
    )
    group.add_argument(
        "--runs", metavar="N", type=positive, help="runs, or runs per stratum; the experiment's"
    )
    group.add_argument(
        "--strata",
        metavar="NAMES",
        type=names,
        default=(),
        help="time strata to measure in, as low,high,peak; any time of day if absent",
    )
    group.add_argument(
        "--prices", metavar="FILE", type=Path, help="price table instead of the shipped one"
    )


def add_creation(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to create it."""
    group = parser.add_argument_group("how to create it")
    group.add_argument(
        "--bucket", metavar="NAME", help="S3 bucket for state, wheel and archive; exists already"
    )
    group.add_argument(
        "--wheel",
        metavar="FILE|URI",
        help="what probes install: a wheel on this machine, an s3:// or https:// address of one, "
        "or binance-latency-sweep==VERSION",
    )
    group.add_argument(
        "--monitor-region", metavar="REGION", help="where the central Prometheus is made"
    )
    group.add_argument(
        "--monitor-cidr",
        metavar="CIDR",
        help="use your Prometheus, which scrapes from this address; needs --prometheus-url",
    )
    group.add_argument(
        "--ttl-hours", metavar="N", type=positive, help="forgotten after that; from the duration"
    )
    group.add_argument(
        "--max-usd", metavar="USD", type=_amount, help="refuse to begin a sweep that costs more"
    )
    group.add_argument(
        "--var-file", metavar="FILE", type=Path, help="further variables for Terraform"
    )
    add_terraform(parser)


def add_terraform(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the Terraform program."""
    parser.add_argument(
        "--terraform",
        metavar="PROGRAM",
        type=Path,
        help="terraform or tofu; else $SWEEP_TERRAFORM, else what is on PATH",
    )


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which sweep is meant."""
    parser.add_argument(
        "--experiment-id",
        metavar="NAME",
        type=experiment_id,
        help="which sweep; the unfinished one if absent",
    )
    parser.add_argument(
        "--sweeps",
        metavar="DIR",
        type=Path,
        default=SWEEPS,
        help=f"folder in which each sweep has its own (default: {SWEEPS})",
    )


def add_access(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to get into Prometheus."""
    group = parser.add_argument_group("access to Prometheus")
    group.add_argument(
        "--prometheus-url", metavar="URL", help="where this machine reaches it; Terraform's answer"
    )
    group.add_argument(
        "--bearer-token-file",
        metavar="FILE",
        type=Path,
        help=f"else ${analysis_options.TOKEN_VARIABLE}",
    )
    group.add_argument(
        "--token-parameter",
        metavar="[REGION:]NAME",
        help="SSM parameter that holds the token, in the bucket's region if none is given",
    )
    group.add_argument("--username", metavar="NAME", help="for basic authentication")
    group.add_argument(
        "--password-file",
        metavar="FILE",
        type=Path,
        help=f"else ${analysis_options.PASSWORD_VARIABLE}",
    )
    group.add_argument("--ca-file", metavar="FILE", type=Path, help="certificates to trust")


def request_of(given: argparse.Namespace) -> Request:
    """What `add_request`'s options ask for."""
    return Request(
        config=given.config,
        phase=given.phase,
        instance_types=given.instance_types,
        az_ids=dict(given.az_ids),
        replicas=given.replicas,
        warmup_sec=given.warmup,
        duration_sec=given.duration,
        runs=given.runs,
        strata=given.strata,
    )


def prometheus(
    given: argparse.Namespace, aws: Aws, *, url: str | None, region: str = HOME_REGION
) -> PrometheusClient:
    """The central Prometheus.

    Args:
        given: the parsed command line.
        aws: for a token kept in SSM.
        url: where it is, unless the command line says otherwise.
        region: where SSM is asked if the command line does not say.

    Raises:
        UsageError: there is no address, or a file cannot be read.
        AwsError: SSM does not give the token.
        InvalidUrlError: the address is no URL.
    """
    address = given.prometheus_url or url
    if not address:
        raise analysis_options.UsageError(
            "It is not known where Prometheus is; name it with --prometheus-url."
        )
    return PrometheusClient(address, _access(given, aws, region))


def _access(given: argparse.Namespace, aws: Aws, region: str) -> Access:
    # Options that only `analyze` has.
    whole = argparse.Namespace(**{**vars(given), "header": [], "client_cert": None})
    whole.client_key = None
    access = analysis_options.access(whole)
    if given.token_parameter is None:
        return access
    before, colon, name = given.token_parameter.partition(":")
    return replace(
        access,
        bearer_token=_parameter(
            aws, before if colon else region, name if colon else given.token_parameter
        ),
    )


def _parameter(aws: Aws, region: str, name: str) -> str:
    try:
        answer = aws.ssm(region).get_parameter(Name=name, WithDecryption=True)
    except AWS_ERRORS as error:
        raise AwsError(f"SSM parameter {name}: {explain(error, region)}") from error
    return answer["Parameter"]["Value"].strip()


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return analysis_options.names(text)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def seconds(text: str) -> int:
    """Whole seconds of a duration such as 300, 5m or 1h."""
    plain = text.isascii() and text.isdigit()
    found = analysis_options.duration(f"{text}s" if plain else text)
    number = found.total_seconds() if found is not None else 0.0
    if number < 1 or not number.is_integer():
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 300, 5m or 1h")
    return int(number)


def experiment_id(text: str) -> str:
    """A name that works as a tag, a label and a folder."""
    if not _EXPERIMENT_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not 1 to 63 letters, digits, dots, dashes or underscores"
        )
    return text


def _zones(text: str) -> tuple[str, tuple[str, ...]]:
    region, _, listed = text.partition("=")
    zones = tuple(listed.split(","))
    if not region or not all(_AZ_ID.fullmatch(zone) for zone in zones):
        raise argparse.ArgumentTypeError(f"{text!r} is not written like eu-west-1=euw1-az1")
    return region, zones


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount in USD")
    return number
