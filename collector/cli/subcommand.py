"""How a subcommand is explained and run: help with examples and codes, errors in one line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from rich.console import Console

from latency_sweep.analysis.cli.options import UsageError
from latency_sweep.analysis.evidence.archive import ArchiveError
from latency_sweep.analysis.evidence.collect import NoDataError, SelectionError
from latency_sweep.analysis.pricing.prices import PricesError
from latency_sweep.analysis.prometheus_api import (
    InvalidAccessError,
    InvalidUrlError,
    PrometheusError,
)
from latency_sweep.collector.errors import ExitCode, SweepError, table
from latency_sweep.contract.experiment import ExperimentError
from latency_sweep.runtime.help import HelpFormatter
from latency_sweep.runtime.interruption import Interrupted, interruptible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_FAULTS: Final[dict[type[Exception], ExitCode]] = {
    UsageError: ExitCode.BAD_INPUT,
    ExperimentError: ExitCode.BAD_INPUT,
    PricesError: ExitCode.BAD_INPUT,
    ArchiveError: ExitCode.BAD_INPUT,
    InvalidUrlError: ExitCode.BAD_INPUT,
    InvalidAccessError: ExitCode.BAD_INPUT,
    SelectionError: ExitCode.NO_DATA,
    NoDataError: ExitCode.NO_DATA,
    PrometheusError: ExitCode.PROMETHEUS_FAILED,
}


def add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    *,
    summary: str,
    description: str,
    examples: str,
    codes: tuple[ExitCode, ...],
    run: Callable[[argparse.Namespace, Console], ExitCode],
) -> argparse.ArgumentParser:
    """Add a subcommand; its options are added to the parser that is returned.

    Args:
        commands: the parser's subcommands.
        name: of this one.
        summary: for the list of commands.
        description: for its own help.
        examples: command lines, one per line, indented by two spaces.
        codes: exit codes it can end with, beside those of a signal.
        run: does it; may raise any of the errors named here, which become one line and a code.
    """
    signals = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}\nexit codes:\n{table((ExitCode.DONE, *codes, *signals))}",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=lambda arguments: _guarded(name, run, arguments))
    return parser


def _guarded(
    name: str, run: Callable[[argparse.Namespace, Console], ExitCode], arguments: argparse.Namespace
) -> int:
    with interruptible():
        try:
            return run(arguments, Console())
        except SweepError as error:
            return _complain(name, str(error), error.code)
        except tuple(_FAULTS) as error:
            code = next(code for kind, code in _FAULTS.items() if isinstance(error, kind))
            return _complain(name, str(error), code)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            complaint = f"{where}{error.strerror or error}."
            return _complain(name, complaint, ExitCode.BAD_INPUT)
        except Interrupted as interrupted:
            print(
                f"sweep {name}: stopped; what runs in AWS goes on running. The same command goes "
                "on from here, sweep destroy ends it.",
                file=sys.stderr,
            )
            return interrupted.exit_code


def _complain(name: str, what: str, code: ExitCode) -> ExitCode:
    print(f"sweep {name}: {what}", file=sys.stderr)
    return code
