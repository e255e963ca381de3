"""`probe doctor`: run the checks and print what they found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.probe.doctor.checks import run_checks
from latency_sweep.runtime import check_report

if TYPE_CHECKING:
    from latency_sweep.probe.command_line import DoctorOptions


def run(options: DoctorOptions) -> ExitCode:
    """Run all checks and print them; returns the exit code."""
    results = run_checks(options.settings, watch_sec=options.watch_sec)
    fit = check_report.show(results, program="probe", as_json=options.json)
    return ExitCode.DONE if fit else ExitCode.CHECK_FAILED
