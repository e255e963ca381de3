"""The command line of `sweep export`, which alone works without the packages of a sweep."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.collector.cli.options import ExportFilesOptions
from latency_sweep.collector.export.request import Discovery, ExportError, ExportKind, ProbeTarget
from latency_sweep.collector.export.request import matchers as label_matchers
from latency_sweep.contract import exit_codes, versions
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.metrics import JOB
from latency_sweep.prometheus.version import Version, VersionError
from latency_sweep.runtime import options as shared
from latency_sweep.runtime.options import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

_CODES: Final = (
    ExitCode.BAD_INPUT,
    ExitCode.INTERNAL_ERROR,
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
)
_KINDS: Final = """\
kinds:
  prometheus    configuration, scrape job, rules, runbook
  rules         recording rules and alerts, runbook
  dashboards    Grafana's JSON, runbook
  alertmanager  route, receivers to fill in, inhibitions
  compose       all of these, and a docker-compose.yml that runs them
  mixin         rules and dashboards as a jsonnet package

"""
_EXAMPLES: Final = """\
examples:
  sweep export rules -o latency --runbook-url https://wiki.example/latency
  sweep export prometheus -o latency --job binance \\
    --target 10.0.1.5:9090,region=eu-central-1,az_id=euc1-az2
  sweep export dashboards -o latency --datasource thanos

"""


def parse(argv: Sequence[str] | None = None) -> Callable[[], ExportFilesOptions]:
    """Parse `export ...`; returns what makes its record.

    Args:
        argv: arguments without the program's name; those of the process if None.

    Raises:
        SystemExit: help was asked for, or an option is not valid.
    """
    parser = shared.parser("sweep", "Files for monitoring that already runs.", "")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared.add_log(add(commands))
    return partial(read, parser.parse_args(argv))


def add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the command to a parser's commands."""
    parser = shared.add_command(
        commands,
        "export",
        summary="plain files for a Prometheus and a Grafana that already run",
        description="Write configuration, rules or dashboards with the thresholds of the "
        "experiment file. One command line works for every kind: an option that a kind has no use "
        "for is ignored. docs/existing-prometheus.md says how to use the files.",
        epilog=_KINDS
        + _EXAMPLES
        + exit_codes.table(*_CODES, success="the files are written, or were there already"),
    )
    parser.set_defaults(read=read)
    parser.add_argument(
        "kind", metavar="KIND", choices=[*ExportKind], help="one of the kinds below"
    )
    parser.add_argument(
        "-o",
        "--output-dir",
        metavar="DIR",
        type=Path,
        required=True,
        help="folder to write to, made if need be",
    )
    parser.add_argument("--force", action="store_true", help="replace files that were edited")
    shared.add_config(parser)
    shared.add_experiment_id(parser, "default: the experiment file's name", shared.experiment_id)
    _add_monitoring(parser)
    _add_scraping(parser)
    return parser


def _add_monitoring(to: argparse.ArgumentParser) -> None:
    group = to.add_argument_group("rules and dashboards")
    group.add_argument(
        "--selector",
        metavar="MATCHERS",
        help="label matchers of jobs in which every target is a probe, such as "
        "'job=~\"binance.*\"' (default: that of --job)",
    )
    group.add_argument(
        "--runbook-url",
        metavar="URL",
        help="where you publish the exported runbook.md; alerts link to its sections (default: the "
        "exported file, by a file: URL)",
    )
    group.add_argument(
        "--datasource",
        metavar="NAME",
        help="UID or name of the data source in Grafana (default: Grafana's)",
    )


def _add_scraping(to: argparse.ArgumentParser) -> None:
    group = to.add_argument_group("scraping")
    group.add_argument("--job", metavar="NAME", help=f"name of the scrape job (default: {JOB})")
    group.add_argument(
        "--discovery",
        choices=[*Discovery],
        default=Discovery.FILE,
        help="how Prometheus finds the probes (default: file, targets/probes.yml)",
    )
    group.add_argument(
        "--target",
        metavar="HOST:PORT[,LABEL=VALUE]",
        action="append",
        default=[],
        help="a probe, for static and file discovery, with its target labels; repeatable",
    )
    group.add_argument(
        "--prometheus-version",
        metavar="VERSION",
        default=versions.load().prometheus,
        help="of the Prometheus that reads the files (default: %(default)s)",
    )


def read(given: argparse.Namespace) -> ExportFilesOptions:
    """The record of what was parsed.

    Raises:
        UsageError: an option's value is not valid.
    """
    try:
        return ExportFilesOptions(
            kind=ExportKind(given.kind),
            folder=given.output_dir,
            force=given.force,
            config=given.config,
            experiment_id=given.experiment_id,
            job=given.job,
            selector=None if given.selector is None else label_matchers(given.selector),
            runbook_url=given.runbook_url,
            datasource=given.datasource,
            discovery=Discovery(given.discovery),
            targets=tuple(ProbeTarget.parse(text) for text in given.target),
            version=Version.parse(given.prometheus_version),
        )
    except (ExportError, VersionError) as error:
        raise UsageError(str(error)) from error
