"""`sweep export`: plain files for monitoring that already runs. Needs the extra `export` only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from latency_sweep.collector.errors import SweepError
from latency_sweep.collector.export.request import ExportKind, ExportRequest
from latency_sweep.contract import experiment as experiments
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import ExperimentError
from latency_sweep.contract.program import report_internal_error
from latency_sweep.runtime import extras, standard_output
from latency_sweep.runtime.extras import Extra
from latency_sweep.runtime.interruption import Interrupted, interruptible
from latency_sweep.runtime.options import UsageError
from latency_sweep.runtime.printable import printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latency_sweep.collector.cli.options import ExportFilesOptions

_NAME: Final = "sweep export"
_WITH_RUNBOOK: Final = {kind for kind in ExportKind if kind is not ExportKind.ALERTMANAGER}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sweep export ...` without what the other commands need; returns its exit code."""
    from latency_sweep.collector.cli import export_command_line  # noqa: PLC0415 - parses

    return run(export_command_line.parse(argv))


def run(read: Callable[[], ExportFilesOptions]) -> int:
    """Write the files and tell which; returns the exit code.

    Args:
        read: makes the record of what is asked for; may raise UsageError.
    """
    with interruptible():
        try:
            _export(read())
        except Interrupted as interrupted:
            return interrupted.exit_code
        except SweepError as error:
            return _report(str(error), error.code)
        except (UsageError, ExperimentError) as error:
            return _report(str(error), ExitCode.BAD_INPUT)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return _report(f"{where}{error.strerror or error}.", ExitCode.BAD_INPUT)
        except Exception as error:  # noqa: BLE001 - the last resort, this program's fault
            return report_internal_error(_NAME, error)
    return ExitCode.DONE


def _export(options: ExportFilesOptions) -> None:
    extras.require(Extra.EXPORT, _NAME)
    from latency_sweep.collector.export import writing  # noqa: PLC0415 - needs the extra

    request = ExportRequest(
        experiment=experiments.load(options.config),
        version=options.version,
        folder=options.folder.absolute(),
        experiment_id=options.experiment_id,
        job=options.job,
        selector=options.selector,
        runbook_url=options.runbook_url,
        datasource=options.datasource,
        discovery=options.discovery,
        targets=options.targets,
    )
    texts = writing.files(options.kind, request)
    paths = writing.write(texts, options.folder, force=options.force)
    standard_output.write("".join(f"{path}\n" for path in paths))
    if options.runbook_url is None and options.kind in _WITH_RUNBOOK:
        print(
            f"{_NAME}: the links to the runbook are those of this machine's file; publish "
            "runbook.md and give its address with --runbook-url.",
            file=sys.stderr,
        )


def _report(what: str, code: ExitCode) -> ExitCode:
    print(f"{_NAME}: {printable_lines(what)}", file=sys.stderr)
    return code
