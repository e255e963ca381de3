"""The `sweep` commands: run what the command line asks for, errors in one line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, assert_never

from rich.console import Console

from latency_sweep.analysis.evidence.archive import ArchiveError
from latency_sweep.analysis.evidence.collect import NoDataError, SelectionError
from latency_sweep.analysis.evidence.places import AttributionError
from latency_sweep.analysis.pricing.prices import PriceListError, PricesError
from latency_sweep.analysis.prometheus_api import (
    InvalidAccessError,
    InvalidUrlError,
    PrometheusError,
)
from latency_sweep.collector.cli import (
    archive,
    collect,
    command_line,
    demo,
    deploy,
    destroy,
    export,
    preflight,
    reap,
    run,
    status,
    watch,
)
from latency_sweep.collector.cli.options import (
    ArchiveOptions,
    CollectOptions,
    DeployOptions,
    DestroyOptions,
    ExportFilesOptions,
    LocalSweepOptions,
    PreflightOptions,
    ReapOptions,
    StatusOptions,
    SweepRunOptions,
    WatchOptions,
)
from latency_sweep.collector.errors import SweepError
from latency_sweep.collector.watch.live import NothingThereError
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import ExperimentError
from latency_sweep.contract.program import report_internal_error
from latency_sweep.runtime import logs
from latency_sweep.runtime.extras import MissingExtraError
from latency_sweep.runtime.interruption import Interrupted, interruptible
from latency_sweep.runtime.options import UsageError
from latency_sweep.runtime.printable import printable_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.collector.cli.command_line import Invocation
    from latency_sweep.collector.cli.options import AwsOptions

_ERRORS: Final[dict[type[Exception], ExitCode]] = {
    UsageError: ExitCode.BAD_INPUT,
    ExperimentError: ExitCode.BAD_INPUT,
    PriceListError: ExitCode.AWS_FAILED,  # before the class that it derives from
    PricesError: ExitCode.BAD_INPUT,
    ArchiveError: ExitCode.BAD_INPUT,
    InvalidUrlError: ExitCode.BAD_INPUT,
    InvalidAccessError: ExitCode.BAD_INPUT,
    SelectionError: ExitCode.NO_DATA,
    AttributionError: ExitCode.BAD_INPUT,
    NoDataError: ExitCode.NO_DATA,
    NothingThereError: ExitCode.NO_DATA,
    PrometheusError: ExitCode.PROMETHEUS_FAILED,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    given = command_line.parse(argv)
    with logs.configured(given.log.format, given.log.level):
        return _run(given)


def _run(given: Invocation) -> int:
    name = given.command
    try:
        options = given.read()
        if isinstance(options, LocalSweepOptions | ExportFilesOptions):
            return _run_locally(options)
    except UsageError as error:
        return _report(name, str(error), ExitCode.BAD_INPUT)
    except MissingExtraError as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    with interruptible():
        try:
            return _dispatch(options, Console())
        except Interrupted as interrupted:
            print(f"sweep {name}: {_stopped(options)}", file=sys.stderr)
            return interrupted.exit_code
        except Exception as error:  # noqa: BLE001 - the last resort, this program's fault
            return _explain(name, error)


def _run_locally(options: LocalSweepOptions | ExportFilesOptions) -> int:
    """Run what needs no AWS; it reports its own errors and interruptions."""
    if isinstance(options, ExportFilesOptions):
        return export.run(lambda: options)
    return demo.run(options)


def _stopped(options: AwsOptions) -> str:
    """What an interruption leaves behind."""
    if isinstance(options, PreflightOptions | StatusOptions | WatchOptions):
        return "stopped; it changes nothing in AWS."
    return (
        "stopped; what runs in AWS keeps running. The same command resumes, "
        "sweep destroy removes it."
    )


def _explain(name: str, error: Exception) -> ExitCode:
    """Report an error in one line; its exit code."""
    if isinstance(error, SweepError):
        return _report(name, str(error), error.code)
    for kind, code in _ERRORS.items():
        if isinstance(error, kind):
            return _report(name, str(error), code)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return _report(name, f"{where}{error.strerror or error}.", ExitCode.BAD_INPUT)
    return report_internal_error(f"sweep {name}", error)


def _dispatch(options: AwsOptions, console: Console) -> int:  # noqa: PLR0911 - one for each
    match options:
        case PreflightOptions():
            return preflight.run(options, console)
        case DeployOptions():
            return deploy.run(options, console)
        case CollectOptions():
            return collect.run(options, console)
        case StatusOptions():
            return status.run(options, console)
        case ArchiveOptions():
            return archive.run(options, console)
        case DestroyOptions():
            return destroy.run(options, console)
        case ReapOptions():
            return reap.run(options, console)
        case SweepRunOptions():
            return run.run(options, console)
        case WatchOptions():
            return watch.run(options, console)
        case _:
            assert_never(options)


def _report(name: str, what: str, code: ExitCode) -> ExitCode:
    # Servers and AWS may say anything, escape sequences included.
    print(f"sweep {name}: {printable_lines(what)}", file=sys.stderr)
    return code
