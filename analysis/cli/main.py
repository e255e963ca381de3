"""The `analyze` command."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import Progress

from latency_sweep.analysis.cli import command_line, exit_codes, options
from latency_sweep.analysis.cli.exit_codes import ExitCode
from latency_sweep.analysis.cli.options import UsageError
from latency_sweep.analysis.decision.before_after import (
    CompareError,
    compare_candidates,
    compare_sweeps,
)
from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.evidence import archive, jsonl
from latency_sweep.analysis.evidence.archive import Archive, ArchiveError
from latency_sweep.analysis.evidence.collect import (
    EvidenceRequest,
    NoDataError,
    SelectionError,
    collect,
)
from latency_sweep.analysis.evidence.jsonl import JsonlError
from latency_sweep.analysis.pricing.listing import listing
from latency_sweep.analysis.pricing.prices import (
    PriceListError,
    PricesError,
    default_path,
    load_prices,
    pricing_client,
    refresh_prices,
)
from latency_sweep.analysis.prometheus_api import InvalidUrlError, PrometheusClient, PrometheusError
from latency_sweep.analysis.report.before_after import FORMATS as CHANGE_FORMATS
from latency_sweep.analysis.report.before_after import render_change
from latency_sweep.analysis.report.rendering import FORMATS, render
from latency_sweep.analysis.report.words.printable import printable
from latency_sweep.contract.experiment import ExperimentError, load
from latency_sweep.runtime import standard_output
from latency_sweep.runtime.atomic_file import replacing

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

_FAULTS: Final[dict[type[Exception], ExitCode]] = {
    UsageError: ExitCode.BAD_INPUT,
    SelectionError: ExitCode.BAD_INPUT,
    CompareError: ExitCode.BAD_INPUT,
    ArchiveError: ExitCode.BAD_INPUT,
    JsonlError: ExitCode.BAD_INPUT,
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
    return run(command_line.parse(argv))


def run(given: argparse.Namespace) -> int:
    """Run what `command_line.parse` found; returns an `ExitCode`."""
    try:
        return _RUNS[given.command](given)
    except tuple(_FAULTS) as error:
        return _complain(error, next(c for kind, c in _FAULTS.items() if isinstance(error, kind)))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort, reported as this program's fault
        traceback.print_exception(error, file=sys.stderr)
        return _complain(
            f"internal error: {error!r}; please report it with the lines above",
            ExitCode.INTERNAL_ERROR,
        )


def analyze(given: argparse.Namespace) -> ExitCode:
    """`analyze`: evidence from any source, the verdict in any format."""
    outputs = options.outputs(given, FORMATS)
    if given.from_prometheus is not None:
        found = _from_prometheus(given, given.experiment)
    elif given.from_archive is not None:
        found = _from_archive(given, given.from_archive)
    else:
        found = _from_jsonl(given)
    verdict = decide(
        found.evidence, found.experiment, prices=load_prices(given.prices), seed=given.seed
    )
    for file, output in outputs.items():
        _deliver(file, render(verdict, found.evidence, output, color=_in_color(file)), output)
    return exit_codes.OF_VERDICT[verdict.kind]


def export(given: argparse.Namespace) -> ExitCode:
    """`analyze export`: the evidence from Prometheus into a file."""
    folder = given.file.absolute().parent
    if not folder.is_dir():  # known before minutes of queries
        raise UsageError(f"{given.file}: there is no folder {folder}.")
    found = _from_prometheus(given, given.experiment)
    archive.write(given.file, found)
    runs, places = len(found.evidence.runs), len(found.evidence.candidates())
    _print(f"Wrote {runs} runs of {places} candidates to {given.file}.")
    return ExitCode.DECIDED


def compare(given: argparse.Namespace) -> ExitCode:
    """`analyze compare`: what changed between two sweeps, or differs between two places."""
    outputs = options.outputs(given, CHANGE_FORMATS)
    how: dict[str, Any] = {"prices": load_prices(given.prices), "seed": given.seed}
    names = given.before, given.after
    if given.from_archive is not None:
        change = compare_candidates(_from_archive(given, given.from_archive), *names, **how)
    elif given.from_prometheus is None:
        before, after = (_from_archive(given, Path(name)) for name in names)
        change = compare_sweeps(before, after, **how)
    elif given.experiment is not None:
        change = compare_candidates(_from_prometheus(given, given.experiment), *names, **how)
    else:
        before, after = (_from_prometheus(given, name) for name in names)
        change = compare_sweeps(before, after, **how)
    for file, output in outputs.items():
        _deliver(file, render_change(change, output, color=_in_color(file)), output)
    return ExitCode.DECIDED


def prices(given: argparse.Namespace) -> ExitCode:
    """`analyze prices`: show the price table in use, or write a fresh one from AWS's price list."""
    if not given.refresh:
        options.refuse(given, options.REFRESH_OPTIONS, "--refresh")
        _print(listing(load_prices(given.prices), given.prices or default_path()))
        return ExitCode.DECIDED
    if given.prices is not None:
        raise UsageError("--prices only shows a table; name the one to write with -o.")
    path = given.output_file or default_path()
    experiment = load(given.config)
    regions = given.region or tuple(experiment.regions)
    types = given.instance_type or tuple(experiment.instance_types)
    table = refresh_prices(path, regions, types, pricing_client())
    _print(listing(table, path, regions=regions, instance_types=types))
    return ExitCode.DECIDED


_RUNS: Final[dict[str, Callable[[argparse.Namespace], ExitCode]]] = {
    command_line.ANALYZE: analyze,
    command_line.EXPORT: export,
    command_line.COMPARE: compare,
    command_line.PRICES: prices,
}


def _from_prometheus(given: argparse.Namespace, name: str | None) -> Archive:
    options.check_range(given)
    experiment = load(given.config)
    request = EvidenceRequest(
        experiment=name,
        market=given.market,
        streams=given.stream,
        symbols=given.symbol,
        by=given.by,
        since=given.since,
        until=given.until,
    )
    access = options.access(given)
    with (
        PrometheusClient(given.from_prometheus, access, timeout_sec=given.timeout) as client,
        _progress() as progress,
    ):
        return Archive(collect(client, experiment, request, progress=progress), experiment)


def _from_archive(given: argparse.Namespace, path: Path) -> Archive:
    """An archive, evaluated under its own experiment or the one given."""
    options.refuse(given, options.SELECTION_OPTIONS, "--from-prometheus")
    found = archive.read(path)
    return found if given.config is None else Archive(found.evidence, load(given.config))


def _from_jsonl(given: argparse.Namespace) -> Archive:
    options.refuse(given, options.RANGE_OPTIONS, "--from-prometheus")
    experiment = load(given.config)
    evidence = jsonl.read(given.from_jsonl, experiment, symbols=given.symbol, by=given.by)
    return Archive(evidence, experiment)


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


def _deliver(path: Path | None, text: str, output: str) -> None:
    """Print a report, or write it to a file that appears complete or not at all."""
    if path is None:
        # Programs and browsers expect UTF-8, whatever a terminal can show.
        _print(text, encoding=None if output == "text" else "utf-8")
        return
    try:
        with replacing(path) as scratch:
            # A name that is no UTF-8 can only be the path of a file.
            scratch.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}.") from error


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


def _complain(what: object, code: ExitCode) -> ExitCode:
    # Servers and files may say anything, escape sequences included.
    lines = (printable(line) for line in str(what).splitlines())
    print("analyze: " + "\n".join(lines), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
