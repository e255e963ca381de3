"""`sweep demo`: a whole sweep on this machine, from the simulated exchange to the verdict."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import requests
from rich.console import Console

from latency_sweep.analysis.cli.verdict_codes import OF_VERDICT
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import ExperimentError
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.lab.binaries.prometheus_binary import PrometheusUnavailableError, find_or_fetch
from latency_sweep.lab.exchange.sources.replay import ReplayError
from latency_sweep.lab.local import recording
from latency_sweep.lab.local.environment import clean_environment
from latency_sweep.lab.local.plan import DemoOptions, DemoPlan, ResultsError, demo_plan, replay_plan
from latency_sweep.lab.local.recording import RecordingError, first_run
from latency_sweep.lab.local.replay_lateness import lateness_sentences
from latency_sweep.lab.local.sites import SitesError
from latency_sweep.lab.local.stack import Stack, console_command, running_stack
from latency_sweep.lab.local.watch import schedule, settled_at_ns, watch
from latency_sweep.prometheus.rules.generate import RulesError
from latency_sweep.runtime.child import Child, ChildError
from latency_sweep.runtime.interruption import Interrupted, interruptible
from latency_sweep.runtime.progress import ProgressDisplay, reporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.contract.timeline import Run
    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.lab.local.recording import RecordingSummary

# A replay is told when to begin before anything is started, so it must be guessed how long that
# takes: first as on an idle machine, then with plenty of time.
_REPLAY_LEADS_SEC: Final = (20, 90)
# Suffixes of the reports, which tell `analyze` their formats; the one for people first.
_REPORTS: Final = (".txt", ".html", ".md", ".json")
_ANALYSIS_WITHIN_SEC: Final = 300.0
# Exit codes of `analyze` that are no verdict, and whose message is the last line of its log.
_EXPLAINED: Final = (
    ExitCode.BAD_INPUT,
    ExitCode.NO_DATA,
    ExitCode.PROMETHEUS_FAILED,
)
_PROBE_PREFIX: Final = "probe: "
_IDLE_SEC: Final = 0.5


class DemoError(Exception):
    """The demo cannot go on; the message is one sentence."""


class BadInputError(Exception):
    """What the user gave cannot be used; the message is one sentence that names it."""


class _TooLateError(Exception):
    """The run that a recording was to be measured in had begun before the stack was up."""


class AnalysisError(Exception):
    """`analyze` came to no verdict; the message quotes it.

    Attributes:
        code: the exit code that tells so.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def run(options: DemoOptions, console: Console | None = None, errors: Console | None = None) -> int:
    """Run the demo and return its exit code. Call it from the main thread.

    Args:
        options: what the user asked for.
        console: where progress and report go; standard output if None.
        errors: where the one sentence of an error goes; standard error if None.
    """
    console = console or Console()
    report_error = reporter(errors or Console(stderr=True))
    with interruptible():
        try:
            return _run(options, console)
        except (
            BadInputError,
            ExperimentError,
            SitesError,
            PrometheusUnavailableError,
            RecordingError,
            ReplayError,
            ResultsError,
            RulesError,
        ) as error:
            code, message = int(ExitCode.BAD_INPUT), str(error)
        except AnalysisError as error:
            code, message = error.code, str(error)
        except (ChildError, DemoError) as error:
            code, message = int(ExitCode.STACK_FAILED), str(error)
        except OSError as error:
            # Writing to a full disk names no file; what is written goes to the results.
            where, what = error.filename or options.results, error.strerror or error
            code, message = int(ExitCode.STACK_FAILED), f"{where}: {what}."
        except Interrupted as interrupted:
            code, message = interrupted.exit_code, "stopped; nothing is left running."
        report_error(f"sweep demo: {message}")
    return code


def _run(options: DemoOptions, console: Console) -> int:
    # What is wrong with the user's files is known before anything is downloaded.
    if options.replay is None:
        plan = demo_plan(options)
        return _measure(plan, options, find_or_fetch(report=reporter(console)), console)
    recorded = recording.inspect(options.replay, speed=options.speed, streams=options.streams)
    binaries = find_or_fetch(report=reporter(console))
    for lead_sec in _REPLAY_LEADS_SEC:
        try:
            plan = replay_plan(options, recorded, lead_sec=lead_sec)
            _measure(plan, options, binaries, console, recorded)
        except _TooLateError:
            reporter(console)("Starting took longer than expected; retrying with more time ...")
        else:
            # A recording is one run of one site: it can be measured, but it cannot decide.
            return ExitCode.DONE
    raise DemoError("This machine is too busy to start everything in time; try again later.")


def _measure(
    plan: DemoPlan,
    options: DemoOptions,
    binaries: Binaries,
    console: Console,
    recorded: RecordingSummary | None = None,
) -> int:
    """Start the stack, wait for the runs, analyse, stop; the exit code of `analyze`."""
    report = reporter(console)
    try:
        with running_stack(plan.setup, binaries, report=report) as stack:
            runs = _runs(plan)
            report(_introduction(stack, runs))
            watch(stack, runs, ProgressDisplay(console))
            code = _analyze(stack, runs, console)
            if recorded is not None:
                _tell_lateness(stack, recorded, report)
            if options.keep:
                _keep(stack, console)
    except ChildError as error:
        if error.exit_code == ExitCode.BAD_INPUT and error.last_line.startswith(_PROBE_PREFIX):
            # All that a probe is given by the user is the experiment.
            reason = error.last_line.removeprefix(_PROBE_PREFIX)
            raise BadInputError(f"{options.config}: {reason}") from error
        raise
    return code


def _tell_lateness(stack: Stack, recorded: RecordingSummary, report: Callable[[str], None]) -> None:
    """Say what this machine added to the recorded latencies."""
    try:
        stats = stack.exchange.stats()
    except requests.RequestException:
        report("How late frames left is not known: the exchange did not answer.")
        return
    ratio = stack.setup.experiment.decision.equivalence_ratio
    for sentence in lateness_sentences(stats, recorded.p99_sec, ratio):
        report(sentence)


def _runs(plan: DemoPlan) -> list[Run]:
    timeline = Timeline.of(plan.setup.experiment.timing)
    now_ns = time.time_ns()
    first = plan.first or first_run(timeline, now_ns)
    if now_ns >= first.measure_start_ns:
        raise _TooLateError
    return schedule(timeline, first, plan.runs)


def _introduction(stack: Stack, runs: list[Run]) -> str:
    minutes = (settled_at_ns(stack, runs[-1]) - time.time_ns()) / NS_PER_SEC / 60
    count, timing = len(runs), stack.setup.experiment.timing
    return (
        f"{len(stack.probes)} site{'s' if len(stack.probes) > 1 else ''}, "
        f"{count} run{'s' if count > 1 else ''} of {timing.measurement_sec} s; "
        f"the report will be ready in about {math.ceil(minutes)} min. "
        f"Prometheus: {stack.prometheus.url}"
    )


def _analyze(stack: Stack, runs: list[Run], console: Console) -> int:
    """Run `analyze`, print the report for people, return the exit code.

    Raises:
        AnalysisError: it did not come to a verdict.
    """
    reporter(console)("Analyzing ...")
    report, *others = (stack.setup.folder / f"report{suffix}" for suffix in _REPORTS)
    command = [
        console_command("analyze"),
        *("--from-prometheus", stack.prometheus.url),
        *("--config", str(stack.setup.experiment_file)),
        *("--since", str(runs[0].start_ns // NS_PER_SEC)),
        *("--until", str(runs[-1].end_ns // NS_PER_SEC)),
        *(part for file in (report, *others) for part in ("-o", str(file))),
    ]
    environment = clean_environment()
    with Child("analyze", command, folder=stack.setup.logs, environment=environment) as child:
        code = child.wait(within_sec=_ANALYSIS_WITHIN_SEC)
    if code not in OF_VERDICT.values():
        raise _no_verdict(code, child)
    reporter(console)("\n" + report.read_text(encoding="utf-8"))
    # The verdict stands at the top of the report, which may have scrolled away.
    verdict = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))
    reporter(console)(f"{verdict['kind'].replace('_', ' ').capitalize()}: {verdict['sentence']}")
    beside = ", ".join(file.suffix for file in others)
    reporter(console)(f"Report: {_shortest(report)} (also {beside})")
    return code


def _no_verdict(code: int, child: Child) -> AnalysisError:
    if code in _EXPLAINED and child.last_line():
        return AnalysisError(child.last_line(), code)
    known = code == ExitCode.INTERNAL_ERROR
    message = f"analyze ended with exit code {code}; {child.evidence()}"
    return AnalysisError(message, code if known else ExitCode.STACK_FAILED)


def _keep(stack: Stack, console: Console) -> None:
    """Leave the stack running until interrupted."""
    try:
        reporter(console)(f"Prometheus: {stack.prometheus.url}")
        for probe in stack.probes:
            reporter(console)(f"Probe {probe.site.name}: {probe.url}")
        reporter(console)("The stack is left running; Ctrl-C stops it.")
        while True:
            stack.check()
            time.sleep(_IDLE_SEC)
    except Interrupted:
        pass  # that is how it is meant to end


def _shortest(path: Path) -> Path:
    """A path as the user would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
