"""The `probe` command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import ExperimentError
from latency_sweep.contract.program import report_internal_error
from latency_sweep.probe import app, command_line, try_command
from latency_sweep.probe.command_line import DoctorOptions, ProbeRunOptions, TryOptions
from latency_sweep.probe.doctor import command as doctor
from latency_sweep.probe.http.errors import WebConfigError
from latency_sweep.probe.serving.server import ListenError
from latency_sweep.probe.settings import SettingsError
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = command_line.parse(argv)
    try:
        if isinstance(options, DoctorOptions):
            return doctor.run(options)
        return _try(options) if isinstance(options, TryOptions) else _run(options)
    except Exception as error:  # noqa: BLE001 - the last resort, reported as this program's fault
        return report_internal_error("probe", error)


def _run(options: ProbeRunOptions) -> ExitCode:
    try:
        settings = options.settings()
        with logs.configured(settings.log_format, settings.log_level):
            app.run(settings)
    except (ExperimentError, SettingsError, WebConfigError) as error:
        return _report(error, ExitCode.BAD_INPUT)
    except ListenError as error:
        return _report(error, ExitCode.CANNOT_LISTEN)
    return ExitCode.DONE


def _try(options: TryOptions) -> ExitCode:
    try:
        settings = options.settings()
        with logs.configured(settings.log_format, settings.log_level):
            return try_command.run(options, settings)
    except (ExperimentError, SettingsError) as error:
        return _report(error, ExitCode.BAD_INPUT)


def _report(error: Exception, code: ExitCode) -> ExitCode:
    print(f"probe: {error}", file=sys.stderr)
    return code
