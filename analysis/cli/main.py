"""The `analyze` commands: run what the command line asks for."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, assert_never

from rich.console import Console
from rich.progress import Progress

from latency_sweep.analysis.cli import command_line
from latency_sweep.analysis.cli.access import access_of
from latency_sweep.analysis.cli.options import (
    AnalyzeOptions,
    CompareOptions,
    ExportOptions,
    FromArchive,
    FromJsonl,
    FromPrometheus,
    FromRecordings,
    PricesOptions,
    ServerDoctorOptions,
    TwoCandidates,
    TwoSweeps,
)
from latency_sweep.analysis.cli.verdict_codes import OF_VERDICT
from latency_sweep.analysis.decision.before_after import (
    CompareError,
    compare_candidates,
    compare_sweeps,
)
from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.doctor.checks import run_checks
from latency_sweep.analysis.doctor.facts import gather
from latency_sweep.analysis.evidence import archive, jsonl, recordings
from latency_sweep.analysis.evidence.archive import Archive, ArchiveError
from latency_sweep.analysis.evidence.collect import (
    EvidenceRequest,
    NoDataError,
    SelectionError,
    collect,
)
from latency_sweep.analysis.evidence.jsonl import JsonlError
from latency_sweep.analysis.evidence.places import AttributionError
from latency_sweep.analysis.evidence.recordings import RecordedEvidenceError
from latency_sweep.analysis.pricing.listing import listing
from latency_sweep.analysis.pricing.prices import (
    PriceListError,
    PricesError,
    default_path,
    load_prices,
)
from latency_sweep.analysis.prometheus_api import InvalidUrlError, PrometheusClient, PrometheusError
from latency_sweep.analysis.report.before_after import render_change
from latency_sweep.analysis.report.rendering import render
from latency_sweep.analysis.who_answers import naming_what_answers
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import ExperimentError, load
from latency_sweep.contract.program import report_internal_error
from latency_sweep.contract.recorded_frames import UnusableRecordingError
from latency_sweep.runtime import check_report, extras, standard_output
from latency_sweep.runtime.atomic_file import replacing
from latency_sweep.runtime.extras import Extra, MissingExtraError
from latency_sweep.runtime.options import UsageError
from latency_sweep.runtime.printable import printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from latency_sweep.analysis.cli.options import (
        Destination,
        EvidenceSource,
        Options,
        RefreshOptions,
    )
    from latency_sweep.contract.experiment import Experiment

_ERRORS: Final[dict[type[Exception], ExitCode]] = {
    UsageError: ExitCode.BAD_INPUT,
    MissingExtraError: ExitCode.BAD_INPUT,
    SelectionError: ExitCode.BAD_INPUT,
    AttributionError: ExitCode.BAD_INPUT,
    CompareError: ExitCode.BAD_INPUT,
    ArchiveError: ExitCode.BAD_INPUT,
    JsonlError: ExitCode.BAD_INPUT,
    UnusableRecordingError: ExitCode.BAD_INPUT,
    RecordedEvidenceError: ExitCode.NO_DATA,
    PriceListError: ExitCode.AWS_FAILED,  # before the class that it derives from
    PricesError: ExitCode.BAD_INPUT,
    ExperimentError: ExitCode.BAD_INPUT,
    InvalidUrlError: ExitCode.BAD_INPUT,
    NoDataError: ExitCode.NO_DATA,
    PrometheusError: ExitCode.PROMETHEUS_FAILED,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments without the program's name; those of the process if None.

    Returns:
        An `ExitCode`.
    """
    try:
        options = command_line.parse(argv)
    except UsageError as error:
        return report_error(error, ExitCode.BAD_INPUT)
    return run(options)


def run(options: Options) -> int:
    """Run what `command_line.parse` found; returns an `ExitCode`."""
    try:
        return _dispatch(options)
    except tuple(_ERRORS) as error:
        return report_error(
            error, next(c for kind, c in _ERRORS.items() if isinstance(error, kind))
        )
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort, reported as this program's fault
        return report_internal_error("analyze", error)


def _dispatch(options: Options) -> ExitCode:
    match options:
        case AnalyzeOptions():
            return analyze(options)
        case ExportOptions():
            return export(options)
        case CompareOptions():
            return compare(options)
        case PricesOptions():
            return prices(options)
        case ServerDoctorOptions():
            return doctor(options)
        case _:
            assert_never(options)


def analyze(options: AnalyzeOptions) -> ExitCode:
    """`analyze`: evidence from any source, the verdict in any format."""
    _check_writable(options.destinations)
    table = load_prices(options.prices)
    found = _read(options.source, options.config)
    verdict = decide(found.evidence, found.experiment, prices=table, seed=options.seed)
    for to in options.destinations:
        _deliver(to, render(verdict, found.evidence, to.format, color=_in_color(to.file)))
    return OF_VERDICT[verdict.kind]


def export(options: ExportOptions) -> ExitCode:
    """`analyze export`: the evidence from Prometheus into a file."""
    _check_file(options.file)
    found = _read(options.source, options.config)
    archive.write(options.file, found)
    runs, candidates = len(found.evidence.runs), len(found.evidence.candidates())
    _print(f"Wrote {runs} runs of {candidates} candidates to {options.file}.")
    return ExitCode.DONE


def compare(options: CompareOptions) -> ExitCode:
    """`analyze compare`: what changed between two sweeps, or differs between two candidates."""
    _check_writable(options.destinations)
    how: dict[str, Any] = {"prices": load_prices(options.prices), "seed": options.seed}
    match options.what:
        case TwoSweeps(before, after):
            sweeps = (_read(source, options.config) for source in (before, after))
            change = compare_sweeps(*sweeps, **how)
        case TwoCandidates(source, before, after):
            change = compare_candidates(_read(source, options.config), before, after, **how)
        case _:
            assert_never(options.what)
    for to in options.destinations:
        _deliver(to, render_change(change, to.format, color=_in_color(to.file)))
    return ExitCode.DONE


def prices(options: PricesOptions) -> ExitCode:
    """`analyze prices`: show the price table in use, or write a fresh one from AWS's price list."""
    if options.refresh is not None:
        return _refresh_prices(options.refresh)
    _print(listing(load_prices(options.prices), options.prices or default_path()))
    return ExitCode.DONE


def _refresh_prices(options: RefreshOptions) -> ExitCode:
    extras.require(Extra.SWEEP, "analyze prices --refresh")
    from latency_sweep.analysis.pricing.aws_price_list import (  # noqa: PLC0415 - needs boto3
        pricing_client,
        refresh_prices,
    )

    path = options.file or default_path()
    experiment = load(options.config)
    regions = options.regions or tuple(experiment.regions)
    types = options.instance_types or tuple(experiment.instance_types)
    table = refresh_prices(path, regions, types, pricing_client())
    _print(listing(table, path, regions=regions, instance_types=types))
    return ExitCode.DONE


def _read(source: EvidenceSource, config: Path | None) -> Archive:
    """Evidence and the experiment to evaluate it under: an archive has its own."""
    match source:
        case FromPrometheus():
            return _from_prometheus(source, load(config))
        case FromArchive():
            found = archive.read(source.file)
            return found if config is None else Archive(found.evidence, load(config))
        case FromJsonl():
            experiment = load(config)
            evidence = jsonl.read(source.file, experiment, symbols=source.symbols, by=source.by)
            return Archive(evidence, experiment)
        case FromRecordings():
            experiment = load(config)
            evidence = recordings.read(
                source.hosts,
                experiment,
                market=source.market,
                raw_streams=source.raw_streams,
                streams=source.streams,
                symbols=source.symbols,
            )
            return Archive(evidence, experiment)
        case _:
            assert_never(source)


def doctor(options: ServerDoctorOptions) -> ExitCode:
    """`analyze doctor`: whether a Prometheus is fit to hold the evidence."""
    experiment, server = load(options.config), options.source.server
    assert server.url is not None
    with (
        PrometheusClient(server.url, access_of(server), timeout_sec=server.timeout_sec) as client,
        naming_what_answers(client),
    ):
        facts = gather(client, experiment, _request(options.source))
    results = run_checks(facts, experiment, options.source.by)
    fit = check_report.show(results, program="analyze", as_json=options.json)
    return ExitCode.DONE if fit else ExitCode.CHECK_FAILED


def _request(source: FromPrometheus) -> EvidenceRequest:
    return EvidenceRequest(
        experiment=source.experiment_id,
        market=source.market,
        streams=source.streams,
        symbols=source.symbols,
        by=source.by,
        since=source.since,
        until=source.until,
        names=source.names,
    )


def _from_prometheus(source: FromPrometheus, experiment: Experiment) -> Archive:
    server = source.server
    assert server.url is not None
    with (
        PrometheusClient(server.url, access_of(server), timeout_sec=server.timeout_sec) as client,
        _progress() as progress,
        naming_what_answers(client),
    ):
        return Archive(collect(client, experiment, _request(source), progress=progress), experiment)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal's standard error, nothing elsewhere."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Reading runs", total=None)
        yield lambda done, everything: bar.update(task, completed=done, total=everything)


def _in_color(path: Path | None) -> bool:
    """Only on a terminal, and not against the user's wish (https://no-color.org)."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return path is None and on_terminal and not os.environ.get("NO_COLOR")


def _check_writable(destinations: Iterable[Destination]) -> None:
    for to in destinations:
        if to.file is not None:
            _check_file(to.file)


def _check_file(file: Path) -> None:
    """Find a file that cannot be written before minutes of queries.

    Raises:
        UsageError: it is a folder, or to be in one that does not exist.
    """
    if file.is_dir():
        raise UsageError(f"{file}: cannot be written: Is a directory.")
    folder = file.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{file}: there is no folder {folder}.")


def _deliver(to: Destination, text: str) -> None:
    """Print a report, or write it to a file that appears complete or not at all."""
    if to.file is None:
        # Programs and browsers expect UTF-8, whatever a terminal can show.
        _print(text, encoding=None if to.format == "text" else "utf-8")
        return
    try:
        with replacing(to.file) as scratch:
            # A name that is no UTF-8 can only be the path of a file.
            scratch.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{to.file}: cannot be written: {error.strerror}.") from error


def _print(text: str, *, encoding: str | None = None) -> None:
    """Write to standard output; a reader that has seen enough is no error.

    Args:
        text: what to write; a line end is added where there is none.
        encoding: to write it in; that of the terminal, with `?` for what it lacks, if None.

    Raises:
        UsageError: it cannot be written, since a disk is full for instance.
    """
    whole = text if text.endswith("\n") else f"{text}\n"
    error = standard_output.write(whole, encoding=encoding)
    if error is not None and not isinstance(error, BrokenPipeError):
        raise UsageError(f"Standard output: cannot be written: {error.strerror}.") from error


def report_error(what: object, code: ExitCode) -> ExitCode:
    """Print a sentence on standard error; returns the code."""
    # Servers and files may say anything, escape sequences included.
    print(f"analyze: {printable_lines(str(what))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
