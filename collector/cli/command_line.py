"""The command line of `sweep`: parses it into a record, and explains it in `--help`."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.cli.label_option import add_label
from latency_sweep.analysis.evidence.label_names import LabelNames
from latency_sweep.collector.cli import export_command_line
from latency_sweep.collector.cli.options import (
    ArchiveOptions,
    CollectOptions,
    Deployment,
    DeployOptions,
    DestroyOptions,
    LocalSweepOptions,
    PreflightOptions,
    PrometheusAccess,
    ReapOptions,
    StatusOptions,
    SweepRunOptions,
    SweepSelection,
    WatchOptions,
)
from latency_sweep.collector.lifecycle.planning import SweepRequest
from latency_sweep.contract import exit_codes
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.program import program_version
from latency_sweep.runtime import options as shared
from latency_sweep.runtime.options import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latency_sweep.collector.cli.options import Options
    from latency_sweep.runtime.options import LogOptions

SWEEPS: Final = Path("sweeps")
RESULTS: Final = Path("results")
READY_TIMEOUT_SEC: Final = 1800

_AZ_ID: Final = re.compile(r"[a-z0-9]+-az[0-9]+")
_WHEEL: Final = "binance_latency_sweep-0.1.0-py3-none-any.whl"
_ID: Final = "latency-sweep-20260131-060000"
_ANY: Final = (ExitCode.BAD_INPUT, ExitCode.INTERNAL_ERROR, ExitCode.TERMINATED)

_EXAMPLES: Final = """\
examples:
  sweep demo                       the whole sweep on this machine, no set-up
  sweep preflight --bucket my-bucket
                                   check and estimate a sweep in AWS
  sweep watch --from-prometheus http://prometheus:9090

Each command has its own --help.

"""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command line that could be parsed.

    Attributes:
        command: name of the command.
        read: makes the record of what it is asked for; raises UsageError if options do not go
            together.
        log: how to log.
    """

    command: str
    read: Callable[[], Options]
    log: LogOptions


def parse(argv: Sequence[str] | None = None) -> Invocation:
    """Parse a command line.

    Args:
        argv: arguments without the program's name; those of the process if None.

    Raises:
        SystemExit: help was asked for, or an option is not valid.
    """
    given = _parser().parse_args(argv)
    return Invocation(given.command, partial(given.read, given), shared.log_options(given))


def _parser() -> argparse.ArgumentParser:
    parser = shared.parser(
        "sweep",
        "Run a latency sweep: create probes, measure, collect the evidence, clean up.",
        _EXAMPLES + exit_codes.table(ExitCode.BAD_INPUT, ExitCode.INTERRUPTED),
    )
    shared.add_version(parser, program_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _add_demo,
        _add_preflight,
        _add_deploy,
        _add_collect,
        _add_status,
        _add_archive,
        _add_destroy,
        _add_reap,
        _add_run,
        _add_watch,
        export_command_line.add,
    ):
        add(commands)
    for command in commands.choices.values():
        shared.add_log(command)
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    *,
    summary: str,
    description: str,
    examples: str,
    codes: Sequence[ExitCode],
    read: Callable[[argparse.Namespace], Options],
    success: str = exit_codes.MEANINGS[ExitCode.DONE],
    ctrl_c: ExitCode = ExitCode.INTERRUPTED,
) -> argparse.ArgumentParser:
    """Add a command; `read` makes its record of what is parsed."""
    parser = shared.add_command(
        commands,
        name,
        summary=summary,
        description=description,
        epilog=f"examples:\n{examples}\n"
        + exit_codes.table(*codes, *_ANY, ctrl_c, success=success),
    )
    parser.set_defaults(read=read)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = _add(
        commands,
        "demo",
        summary="the whole sweep on this machine, with a simulated exchange",
        description="Start a simulated exchange, probes for six sites, a simulated EC2 and a real "
        "Prometheus on this machine; measure, analyze and stop everything again. Nothing leaves "
        "this machine, except to download Prometheus once; PROMETHEUS_BIN names one of yours.",
        examples="  sweep demo                     six simulated sites, about four minutes\n"
        "  sweep demo --runs 3            sooner, with less evidence\n"
        "  sweep demo --replay frames.dat.gz --speed 20\n"
        "                                 recorded frames through the same stack\n",
        codes=(
            ExitCode.TIE,
            ExitCode.SHORTLIST,
            ExitCode.INCONCLUSIVE,
            ExitCode.NONE_PASSES,
            ExitCode.NO_DATA,
            ExitCode.PROMETHEUS_FAILED,
            ExitCode.STACK_FAILED,
        ),
        success="there is a winner; with --replay, there is a report",
        read=_demo,
    )
    shared.add_config(demo, "default: the demo's own")
    demo.add_argument(
        "--sites", type=Path, metavar="FILE", help="file of simulated sites (default: six sites)"
    )
    demo.add_argument(
        "--runs",
        type=shared.positive_int,
        metavar="N",
        help="runs to measure (default: as many as the experiment needs)",
    )
    demo.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        default=RESULTS,
        help=f"where the report's folder is made (default: {RESULTS})",
    )
    demo.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="recorded frames to send, in the formats that docs/recordings.md lists",
    )
    shared.add_stream(demo)
    demo.add_argument(
        "--speed",
        type=shared.positive_float,
        metavar="X",
        help="with --replay: send X times faster; latencies stay the same (default: 1)",
    )
    demo.add_argument(
        "--ground-truth",
        action="store_true",
        help="also record what the exchange really sent, and when",
    )
    demo.add_argument(
        "--keep", action="store_true", help="leave the stack running after the report"
    )


def _demo(given: argparse.Namespace) -> LocalSweepOptions:
    if given.replay is not None and given.runs is not None:
        raise UsageError("--runs is for the simulated market; a recording is one run.")
    if given.replay is None:
        shared.refuse(given, ("--speed", "--stream"), "--replay")
    return LocalSweepOptions(
        config=given.config,
        sites=given.sites,
        runs=given.runs,
        results=given.results,
        replay=given.replay,
        streams=given.stream,
        speed=given.speed,
        ground_truth=given.ground_truth,
        keep=given.keep,
    )


def _add_preflight(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "preflight",
        summary="check credentials, quotas, types and prices; creates nothing",
        description="Check in all regions whether a sweep can start, and estimate its cost. All "
        "requests are free of charge and change nothing.",
        examples="  sweep preflight --bucket my-bucket\n"
        "  sweep preflight --phase 2 --runs 3 --strata low,high,peak --json\n"
        "  sweep preflight --refresh-prices prices.yaml\n",
        codes=(ExitCode.PREFLIGHT_FAILED, ExitCode.AWS_FAILED),
        read=_preflight,
    )
    _add_request(parser)
    parser.add_argument("--bucket", metavar="NAME", help=_BUCKET_HELP)
    parser.add_argument("--monitor-region", metavar="REGION", help=_MONITOR_REGION_HELP)
    parser.add_argument("--monitor-cidr", metavar="CIDR", help=_MONITOR_CIDR_HELP)
    parser.add_argument(
        "--refresh-prices",
        metavar="FILE",
        type=Path,
        help="write a price table from AWS's price list, and use it",
    )
    parser.add_argument(
        "--exchange-info", metavar="FILE", type=Path, help=shared.EXCHANGE_INFO_HELP
    )
    shared.add_json(parser)


def _preflight(given: argparse.Namespace) -> PreflightOptions:
    return PreflightOptions(
        request=_request(given),
        bucket=given.bucket,
        monitor_region=given.monitor_region,
        monitor_cidr=given.monitor_cidr,
        prices=given.prices,
        refresh_prices=given.refresh_prices,
        exchange_info=given.exchange_info,
        json=given.json,
    )


def _add_deploy(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "deploy",
        summary="create the probes and the central Prometheus in AWS",
        description="Run the checks of preflight, then create the probes with Terraform. A "
        "candidate that AWS has no capacity for is dropped with a note.",
        examples=f"  sweep deploy --bucket my-bucket \\\n    --wheel dist/{_WHEEL}\n"
        "  sweep deploy --phase 2 --strata low,high,peak --bucket my-bucket \\\n"
        "    --wheel s3://my-bucket/probe.whl\n"
        "  sweep deploy                   resume the sweep that was interrupted\n",
        codes=(ExitCode.PREFLIGHT_FAILED, ExitCode.AWS_FAILED, ExitCode.TERRAFORM_FAILED),
        read=lambda given: DeployOptions(_selection(given), _deployment(given)),
    )
    _add_sweep(parser)
    _add_request(parser)
    _add_deployment(parser)
    shared.add_from_prometheus(parser, default=_TUNNEL)


def _add_collect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "collect",
        summary="wait for the probes and for the requested runs",
        description="Wait until Prometheus sees every probe measuring, then until the last run is "
        "over. Probes measure by the clock: this can be stopped and started again at any time.",
        examples="  sweep collect\n"
        "  sweep collect --from-prometheus http://127.0.0.1:9090\n"
        "  sweep collect --token-parameter eu-west-1:/sweep/prometheus-token\n",
        codes=(ExitCode.PROMETHEUS_FAILED, ExitCode.AWS_FAILED, ExitCode.NOT_READY),
        read=lambda given: CollectOptions(
            _selection(given), _prometheus(given), given.ready_timeout
        ),
    )
    _add_sweep(parser)
    _add_ready_timeout(parser)
    _add_prometheus(parser)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "status",
        summary="show how far a sweep is, and what exists of it in AWS",
        description="Compare the sweep's state with the instances in EC2 and with what Prometheus "
        "sees of them. Changes nothing.",
        examples=f"  sweep status\n  sweep status --experiment-id {_ID} --json\n",
        codes=(ExitCode.AWS_FAILED,),
        read=lambda given: StatusOptions(_selection(given), _prometheus(given), given.json),
    )
    _add_sweep(parser)
    shared.add_json(parser)
    _add_prometheus(parser)


def _add_archive(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "archive",
        summary="save the evidence on this machine and in S3",
        description="Write all evidence of the sweep's finished runs to its folder, in the format "
        "of analyze export, and a verified copy to its bucket.",
        examples=f"  sweep archive\n  sweep archive --experiment-id {_ID}\n"
        f"  analyze --from-archive sweeps/{_ID}/evidence.parquet\n",
        codes=(ExitCode.NO_DATA, ExitCode.PROMETHEUS_FAILED, ExitCode.AWS_FAILED),
        read=lambda given: ArchiveOptions(_selection(given), _prometheus(given)),
    )
    _add_sweep(parser)
    _add_prometheus(parser)


def _add_destroy(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "destroy",
        summary="remove the sweep from AWS and verify that nothing remains",
        description="Destroy what Terraform created, then search every region of the account for "
        "resources with the sweep's tags, and list what remains.",
        examples=f"  sweep destroy\n  sweep destroy --experiment-id {_ID} --discard-evidence\n",
        codes=(ExitCode.AWS_FAILED, ExitCode.TERRAFORM_FAILED, ExitCode.LEFTOVERS),
        read=lambda given: DestroyOptions(
            _selection(given), given.terraform, given.discard_evidence
        ),
    )
    _add_sweep(parser)
    _add_terraform(parser)
    parser.add_argument(
        "--discard-evidence",
        action="store_true",
        help="destroy even if the evidence is not archived",
    )


def _add_reap(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "reap",
        summary="list, and with --yes delete, expired resources in AWS",
        description="Search every region for resources with this project's tags whose ExpiresAt "
        "has passed, or that belong to one sweep. Needs no state file. Deletes only with --yes.",
        examples="  sweep reap                     list expired resources in every region\n"
        f"  sweep reap --yes               delete them\n  sweep reap --experiment-id {_ID} --yes\n",
        codes=(ExitCode.AWS_FAILED, ExitCode.LEFTOVERS),
        read=lambda given: ReapOptions(given.experiment_id, given.yes, given.json),
    )
    shared.add_experiment_id(
        parser,
        "all its resources, expired or not; default: expired ones of all",
        shared.experiment_id,
    )
    parser.add_argument("--yes", action="store_true", help="delete what is listed")
    shared.add_json(parser)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "run",
        summary="the whole sweep in AWS: preflight, deploy, collect, archive, destroy",
        description="Check, create, measure, archive the evidence and remove everything. If it is "
        "stopped or killed at any point, the same command resumes.",
        examples=f"  sweep run --bucket my-bucket \\\n    --wheel dist/{_WHEEL}\n"
        "  sweep run --phase 2 --runs 3 --strata low,high,peak --bucket my-bucket \\\n"
        "    --wheel s3://my-bucket/probe.whl\n"
        "  sweep run                      resume the sweep that was interrupted\n",
        codes=(
            ExitCode.NO_DATA,
            ExitCode.PROMETHEUS_FAILED,
            ExitCode.PREFLIGHT_FAILED,
            ExitCode.AWS_FAILED,
            ExitCode.TERRAFORM_FAILED,
            ExitCode.NOT_READY,
            ExitCode.LEFTOVERS,
        ),
        read=lambda given: SweepRunOptions(
            _selection(given), _deployment(given), _prometheus(given), given.ready_timeout
        ),
    )
    _add_sweep(parser)
    _add_request(parser)
    _add_deployment(parser)
    _add_ready_timeout(parser)
    _add_prometheus(parser)


def _add_watch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "watch",
        summary="a live table of the candidates of a running sweep",
        description="Show latency, loss, reconnects, clock and phase of every candidate, from the "
        "sweep's Prometheus, and mark what exceeds a constraint of the experiment. q or Ctrl-C "
        "leaves the live table. Colors follow NO_COLOR.",
        examples="  sweep watch --from-prometheus http://prometheus:9090\n"
        "  sweep watch --from-prometheus https://prometheus.example \\\n"
        "    --bearer-token-file token\n"
        "  sweep watch --from-prometheus http://prometheus:9090 --once --json\n",
        codes=(ExitCode.NO_DATA, ExitCode.PROMETHEUS_FAILED),
        success="shown; also after q or Ctrl-C",
        ctrl_c=ExitCode.DONE,
        read=_watch,
    )
    shared.add_from_prometheus(parser, required=True)
    shared.add_config(parser)
    shared.add_experiment_id(parser, "default: the experiment file's name")
    add_label(parser)
    parser.add_argument("--once", action="store_true", help="print the table once and exit")
    shared.add_json(parser)
    shared.add_prometheus_access(parser)


def _watch(given: argparse.Namespace) -> WatchOptions:
    if given.json and not given.once:
        raise UsageError("--json only works with --once.")
    return WatchOptions(
        server=shared.prometheus_options(given),
        config=given.config,
        experiment_id=given.experiment_id,
        names=LabelNames.of(given.label),
        once=given.once,
        json=given.json,
    )


_BUCKET_HELP: Final = "existing S3 bucket for state, wheel and archive"
_MONITOR_REGION_HELP: Final = (
    "region of the central Prometheus (default: the first region of the sweep)"
)
_MONITOR_CIDR_HELP: Final = "use an existing Prometheus that scrapes from this address"
_TUNNEL: Final = "default: the sweep's own, through a tunnel"


def _add_request(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to measure."""
    group = parser.add_argument_group("what to measure")
    shared.add_config(group)
    group.add_argument(
        "--phase",
        metavar="N",
        type=shared.positive_int,
        default=1,
        help="1 for Europe, 2 for Europe and the rest of the world (default: 1)",
    )
    shared.add_instance_types(group)
    group.add_argument(
        "--az-ids",
        metavar="REGION=IDS",
        type=_zones,
        action="append",
        default=[],
        help="availability zones of a region, as eu-west-1=euw1-az1,euw1-az2; repeatable "
        "(default: one zone that AWS chooses)",
    )
    group.add_argument(
        "--replicas",
        metavar="N",
        type=shared.positive_int,
        default=1,
        help="instances of each candidate (default: 1)",
    )
    group.add_argument(
        "--warmup",
        metavar="DURATION",
        type=shared.seconds,
        help="warm-up of each run, as 300 or 5m (default: the experiment's)",
    )
    group.add_argument(
        "--duration",
        metavar="DURATION",
        type=shared.seconds,
        help="measurement of each run, as 1h (default: the experiment's)",
    )
    group.add_argument(
        "--runs",
        metavar="N",
        type=shared.positive_int,
        help="runs to measure (per stratum with --strata; default: the experiment's)",
    )
    group.add_argument(
        "--strata",
        metavar="NAMES",
        type=shared.names,
        default=(),
        help="comma-separated time strata, as low,high,peak (default: any time of day)",
    )
    shared.add_prices(group)


def _request(given: argparse.Namespace) -> SweepRequest:
    return SweepRequest(
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


def _add_deployment(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to create it."""
    group = parser.add_argument_group("how to create it")
    group.add_argument("--bucket", metavar="NAME", help=_BUCKET_HELP)
    group.add_argument(
        "--wheel",
        metavar="FILE|URI",
        help="what the probes install: a wheel on this machine, an s3:// or https:// URL of one, "
        "or binance-latency-sweep==VERSION",
    )
    group.add_argument("--monitor-region", metavar="REGION", help=_MONITOR_REGION_HELP)
    group.add_argument(
        "--monitor-cidr", metavar="CIDR", help=f"{_MONITOR_CIDR_HELP} (needs --from-prometheus)"
    )
    group.add_argument(
        "--ttl-hours",
        metavar="N",
        type=shared.positive_int,
        help="hours after which the resources expire (default: from the duration)",
    )
    group.add_argument(
        "--max-usd", metavar="USD", type=_amount, help="do not start a sweep that costs more"
    )
    group.add_argument(
        "--var-file", metavar="FILE", type=Path, help="further variables for Terraform"
    )
    _add_terraform(group)


def _deployment(given: argparse.Namespace) -> Deployment:
    return Deployment(
        request=_request(given),
        bucket=given.bucket,
        wheel=given.wheel,
        monitor_region=given.monitor_region,
        monitor_cidr=given.monitor_cidr,
        prometheus_url=given.from_prometheus,
        ttl_hours=given.ttl_hours,
        max_usd=given.max_usd,
        var_file=given.var_file,
        prices=given.prices,
        terraform=given.terraform,
    )


def _add_terraform(to: argparse._ActionsContainer) -> None:
    to.add_argument(
        "--terraform",
        metavar="PROGRAM",
        type=Path,
        help="terraform or tofu (default: $SWEEP_TERRAFORM, else the one on PATH)",
    )


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which sweep is meant."""
    shared.add_experiment_id(parser, "default: that of the unfinished sweep", shared.experiment_id)
    parser.add_argument(
        "--sweeps",
        metavar="DIR",
        type=Path,
        default=SWEEPS,
        help=f"folder that holds the folder of each sweep (default: {SWEEPS})",
    )


def _selection(given: argparse.Namespace) -> SweepSelection:
    return SweepSelection(given.sweeps, given.experiment_id)


def _add_prometheus(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to reach the sweep's Prometheus."""
    shared.add_from_prometheus(parser, default=_TUNNEL)
    group = shared.add_prometheus_access(parser)
    group.add_argument(
        "--token-parameter",
        metavar="[REGION:]NAME",
        help="SSM parameter with the bearer token (default region: the bucket's)",
    )


def _prometheus(given: argparse.Namespace) -> PrometheusAccess:
    return PrometheusAccess(shared.prometheus_options(given), given.token_parameter)


def _add_ready_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ready-timeout",
        metavar="DURATION",
        type=shared.seconds,
        default=READY_TIMEOUT_SEC,
        help="how long to wait for the probes (default: 30m)",
    )


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
