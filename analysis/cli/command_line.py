"""The command line of `analyze`: parses it into a record, and explains it in `--help`.

Imports nothing slow, so that help and errors about an option come at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.cli import recording_options
from latency_sweep.analysis.cli.label_option import add_label
from latency_sweep.analysis.cli.options import (
    AnalyzeOptions,
    CompareOptions,
    Destination,
    ExportOptions,
    FromArchive,
    FromJsonl,
    FromPrometheus,
    PricesOptions,
    RefreshOptions,
    ServerDoctorOptions,
    TwoCandidates,
    TwoSweeps,
)
from latency_sweep.analysis.evidence.label_names import LabelNames
from latency_sweep.analysis.report import formats
from latency_sweep.contract import exit_codes
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.markets import MARKETS
from latency_sweep.contract.program import program_version
from latency_sweep.contract.targets import CANDIDATE_LABELS
from latency_sweep.runtime import options as shared
from latency_sweep.runtime.options import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latency_sweep.analysis.cli.options import EvidenceSource, Options

_ANALYZE_EXAMPLES: Final = """\
examples:
  analyze --from-prometheus http://prometheus:9090
  analyze --from-prometheus http://prometheus:9090 --since 7d -o report.html
  analyze --from-prometheus http://prometheus:9090 -o report.txt -o report.html
  analyze --from-archive sweep.parquet --json
  analyze --from-recordings tokyo-a=a.gz tokyo-c=c.gz --clock-bound tokyo-a=50us

other commands, each with its own --help:
  analyze export     write the evidence to a file
  analyze compare    compare two sweeps or two candidates
  analyze prices     show the price table, or refresh it
  analyze doctor     say whether a Prometheus is fit, and what to do

"""
_EXPORT_EXAMPLES: Final = """\
example:
  analyze export --from-prometheus http://prometheus:9090 -o sweep.parquet

The file holds all evidence: analyze --from-archive sweep.parquet gives the same
verdict.

"""
_COMPARE_EXAMPLES: Final = """\
examples:
  two archives:
    analyze compare before.parquet after.parquet
  two experiments:
    analyze compare --from-prometheus http://prometheus:9090 sweep-1 sweep-2
  two candidates of one experiment:
    analyze compare --from-archive sweep.parquet \\
      eu-west-1/euw1-az1/c6i.large eu-west-1/euw1-az1/c6in.large
    analyze compare --from-prometheus http://prometheus:9090 \\
      --experiment-id sweep-1 --by region eu-west-1 eu-west-2

"""
_PRICES_EXAMPLES: Final = """\
examples:
  analyze prices
  analyze prices --refresh -o prices.yaml
  analyze prices --refresh -o prices.yaml --regions eu-west-1,eu-west-2 \\
    --instance-types c6i.large
  analyze --from-archive sweep.parquet --prices prices.yaml

"""
_DOCTOR_EXAMPLES: Final = """\
examples:
  analyze doctor --from-prometheus http://prometheus:9090
  analyze doctor --from-prometheus http://prometheus:9090 --json \\
    --label region=aws_region

"""
_READING: Final = (
    ExitCode.BAD_INPUT,
    ExitCode.NO_DATA,
    ExitCode.PROMETHEUS_FAILED,
    ExitCode.INTERNAL_ERROR,
    ExitCode.INTERRUPTED,
)
_ANALYZE_CODES: Final = (
    *_READING,
    ExitCode.SHORTLIST,
    ExitCode.TIE,
    ExitCode.INCONCLUSIVE,
    ExitCode.NONE_PASSES,
)
_PRICES_CODES: Final = (
    ExitCode.BAD_INPUT,
    ExitCode.AWS_FAILED,
    ExitCode.INTERNAL_ERROR,
    ExitCode.INTERRUPTED,
)

# What can be chosen in Prometheus and is settled in a file.
_SOURCES: Final = ("from_prometheus", "from_archive", "from_jsonl", "from_recordings")
_RANGE: Final = ("--experiment-id", "--since", "--until", "--market", "--streams", "--label")
_NOT_RECORDED: Final = ("--experiment-id", "--since", "--until", "--label", "--by")
_SELECTION: Final = (*_RANGE, "--by", "--symbols")
# What only a refresh of the prices needs.
_REFRESH: Final = ("--output-file", "--config", "--regions", "--instance-types")

_SUFFIXES: Final = {
    ".html": "html",
    ".htm": "html",
    ".json": "json",
    ".md": "markdown",
    ".csv": "csv",
    ".txt": "text",
}
# The random generator takes any size; a person means no more than this.
_MOST_DIGITS: Final = 18


def parse(argv: Sequence[str] | None = None) -> Options:
    """What the command line asks for.

    Args:
        argv: arguments without the program's name; those of the process if None.

    Raises:
        UsageError: options do not go together.
        SystemExit: help was asked for, or an option is not valid.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments.pop(0) if arguments and arguments[0] in _COMMANDS else ""
    return _COMMANDS.get(name, _parse_analyze)(arguments)


def _analyze_parser() -> argparse.ArgumentParser:
    parser = shared.parser(
        "analyze",
        "Find the candidate with the lowest and most stable feed latency.",
        _ANALYZE_EXAMPLES + exit_codes.table(*_ANALYZE_CODES, success="there is a winner"),
    )
    shared.add_version(parser, program_version())
    group = parser.add_argument_group("evidence")
    sources = group.add_mutually_exclusive_group()
    shared.add_from_prometheus(sources)
    _add_from_archive(sources)
    sources.add_argument(
        "--from-jsonl", metavar="FILE", type=Path, help="result file of the first version"
    )
    recording_options.add_from_recordings(group)
    recording_options.add_clock_bound(group)
    shared.add_stream(group)
    shared.add_config(group)
    _add_selection(parser)
    shared.add_prometheus_access(parser)
    _add_output(parser, formats.REPORT)
    return parser


def _parse_analyze(arguments: Sequence[str]) -> AnalyzeOptions:
    parser = _analyze_parser()
    if arguments and not arguments[0].startswith("-"):
        known = ", ".join(_COMMANDS)
        parser.error(f"unknown command {arguments[0]!r}; choose {known}, or none for the verdict")
    given = parser.parse_args(arguments)
    # Checked here: argparse would report this before an unknown option.
    sources = [name for name in _SOURCES if getattr(given, name) is not None]
    if len(sources) > 1:  # only of recordings; its usage is too long for an exclusive group
        first = sources[0].replace("_", "-")
        parser.error(f"argument --from-recordings: not allowed with argument --{first}")
    if not sources:
        flags = " ".join(f"--{name.replace('_', '-')}" for name in _SOURCES)
        parser.error(f"one of the arguments {flags} is required")
    return AnalyzeOptions(
        source=_source(given),
        config=given.config,
        destinations=_destinations(given, formats.REPORT),
        prices=given.prices,
        seed=given.seed,
    )


def _export_parser() -> argparse.ArgumentParser:
    parser = shared.parser(
        "analyze export",
        "Write the evidence to a Parquet file.",
        _EXPORT_EXAMPLES + exit_codes.table(*_READING),
    )
    group = parser.add_argument_group("evidence")
    shared.add_from_prometheus(group, required=True)
    shared.add_config(group)
    _add_selection(parser)
    shared.add_prometheus_access(parser)
    output = parser.add_argument_group("output")
    _add_output_file(output, "Parquet file to write", required=True)
    return parser


def _parse_export(arguments: Sequence[str]) -> ExportOptions:
    given = _export_parser().parse_args(arguments)
    return ExportOptions(
        source=_server(given, given.experiment_id), config=given.config, file=given.output_file
    )


def _compare_parser() -> argparse.ArgumentParser:
    parser = shared.parser(
        "analyze compare",
        "Compare B with A: two archives, two experiments or two candidates.",
        _COMPARE_EXAMPLES + exit_codes.table(*_READING),
    )
    parser.add_argument("before", metavar="A", help="archive, experiment or candidate")
    parser.add_argument("after", metavar="B", help="another of the same kind")
    group = parser.add_argument_group(
        "evidence",
        "Without a source, A and B are archives. In an archive, or with --experiment-id, they are "
        "two of its candidates; in Prometheus, two experiments.",
    )
    sources = group.add_mutually_exclusive_group()
    shared.add_from_prometheus(sources)
    _add_from_archive(sources)
    shared.add_config(group)
    _add_selection(parser)
    shared.add_prometheus_access(parser)
    _add_output(parser, formats.CHANGE)
    return parser


def _parse_compare(arguments: Sequence[str]) -> CompareOptions:
    given = _compare_parser().parse_args(arguments)
    return CompareOptions(
        what=_subjects(given),
        config=given.config,
        destinations=_destinations(given, formats.CHANGE),
        prices=given.prices,
        seed=given.seed,
    )


def _subjects(given: argparse.Namespace) -> TwoSweeps | TwoCandidates:
    names = given.before, given.after
    if given.from_prometheus is not None:
        if given.experiment_id is not None:
            return TwoCandidates(_server(given, given.experiment_id), *names)
        return TwoSweeps(*(_server(given, name) for name in names))
    shared.refuse(given, _SELECTION, "--from-prometheus")
    if given.from_archive is not None:
        return TwoCandidates(FromArchive(given.from_archive), *names)
    return TwoSweeps(*(FromArchive(Path(name)) for name in names))


def _prices_parser() -> argparse.ArgumentParser:
    parser = shared.parser(
        "analyze prices",
        "Show the price table in use, or write a new one from AWS's price list.",
        _PRICES_EXAMPLES + exit_codes.table(*_PRICES_CODES),
    )
    shared.add_prices(parser)
    group = parser.add_argument_group("refreshing")
    group.add_argument(
        "--refresh",
        action="store_true",
        help="write a new table; needs AWS credentials with pricing:GetProducts",
    )
    _add_output_file(group, f"table to write ({shared.SHIPPED})")
    shared.add_config(group)
    group.add_argument(
        "--regions",
        metavar="NAMES",
        type=shared.names,
        default=(),
        help="comma-separated AWS regions (default: the experiment's)",
    )
    shared.add_instance_types(group)
    return parser


def _parse_prices(arguments: Sequence[str]) -> PricesOptions:
    given = _prices_parser().parse_args(arguments)
    if not given.refresh:
        shared.refuse(given, _REFRESH, "--refresh")
        return PricesOptions(given.prices, None)
    if given.prices is not None:
        raise UsageError("--prices only shows a table; name the one to write with -o.")
    refresh = RefreshOptions(
        file=given.output_file,
        config=given.config,
        regions=given.regions,
        instance_types=given.instance_types,
    )
    return PricesOptions(None, refresh)


def _doctor_parser() -> argparse.ArgumentParser:
    parser = shared.parser(
        "analyze doctor",
        "Check whether a Prometheus is fit to hold the evidence of a sweep, and say what to do.",
        _DOCTOR_EXAMPLES
        + exit_codes.table(
            ExitCode.CHECK_FAILED,
            ExitCode.BAD_INPUT,
            ExitCode.PROMETHEUS_FAILED,
            ExitCode.INTERNAL_ERROR,
            ExitCode.INTERRUPTED,
            success="no check failed (PASS, WARN or SKIP)",
        ),
    )
    shared.add_from_prometheus(parser, required=True)
    shared.add_config(parser)
    _add_selection(parser)
    shared.add_json(parser)
    shared.add_prometheus_access(parser)
    return parser


def _parse_doctor(arguments: Sequence[str]) -> ServerDoctorOptions:
    given = _doctor_parser().parse_args(arguments)
    return ServerDoctorOptions(
        source=_server(given, given.experiment_id), config=given.config, json=given.json
    )


_COMMANDS: Final[dict[str, Callable[[Sequence[str]], Options]]] = {
    "export": _parse_export,
    "compare": _parse_compare,
    "prices": _parse_prices,
    "doctor": _parse_doctor,
}


def _add_from_archive(to: argparse._ActionsContainer) -> None:
    to.add_argument(
        "--from-archive", metavar="FILE", type=Path, help="file that analyze export wrote"
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("selection")
    shared.add_experiment_id(group, "default: the only one there is")
    group.add_argument(
        "--since", metavar="TIME", type=shared.moment, help=f"start: {shared.MOMENT_HELP}"
    )
    group.add_argument("--until", metavar="TIME", type=shared.moment, help="end, likewise")
    group.add_argument(
        "--by",
        metavar="LABELS",
        type=_dimensions,
        default=(),
        help=f"labels that define a candidate (default: {','.join(CANDIDATE_LABELS)})",
    )
    add_label(group)
    group.add_argument(
        "--market",
        choices=MARKETS,
        help=f"{shared.MARKET_HELP} (default: the experiment's)",
    )
    group.add_argument(
        "--streams",
        metavar="NAMES",
        type=shared.names,
        default=(),
        help=f"{shared.STREAMS_HELP} (default: the experiment's evidence_streams)",
    )
    group.add_argument(
        "--symbols",
        metavar="NAMES",
        type=shared.names,
        default=(),
        help=f"{shared.SYMBOLS_HELP} (default: all)",
    )


def _add_output(parser: argparse.ArgumentParser, choices: Sequence[str]) -> None:
    group = parser.add_argument_group("output")
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--output",
        choices=choices,
        help="format (default: by the suffix of -o, else text)",
    )
    shared.add_json(either)
    group.add_argument(
        "-o",
        "--output-file",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="file to write; repeatable, for one report in several formats",
    )
    shared.add_prices(group)
    group.add_argument(
        "--seed",
        metavar="N",
        type=_seed,
        default=0,
        help="seed of the bootstrap; the same seed gives the same result (default: 0)",
    )


def _add_output_file(to: argparse._ActionsContainer, what: str, *, required: bool = False) -> None:
    to.add_argument("-o", "--output-file", metavar="FILE", type=Path, required=required, help=what)


def _source(given: argparse.Namespace) -> EvidenceSource:
    if given.from_recordings is not None:
        shared.refuse(given, _NOT_RECORDED, "--from-prometheus")
        return recording_options.from_recordings(
            given.from_recordings,
            given.clock_bound or (),
            market=given.market,
            raw_streams=given.stream,
            streams=given.streams,
            symbols=given.symbols,
        )
    shared.refuse(given, recording_options.FLAGS, "--from-recordings")
    if given.from_prometheus is not None:
        return _server(given, given.experiment_id)
    if given.from_archive is not None:
        shared.refuse(given, _SELECTION, "--from-prometheus")
        return FromArchive(given.from_archive)
    shared.refuse(given, _RANGE, "--from-prometheus")
    return FromJsonl(given.from_jsonl, by=given.by, symbols=given.symbols)


def _server(given: argparse.Namespace, experiment_id: str | None) -> FromPrometheus:
    """A server and the part of its evidence that is asked for.

    Raises:
        UsageError: the range of time holds nothing.
    """
    if None not in {given.since, given.until} and given.since >= given.until:
        raise UsageError("--since must be earlier than --until.")
    return FromPrometheus(
        server=shared.prometheus_options(given),
        experiment_id=experiment_id,
        since=given.since,
        until=given.until,
        by=given.by,
        market=given.market,
        streams=given.streams,
        symbols=given.symbols,
        names=LabelNames.of(given.label),
    )


def _destinations(given: argparse.Namespace, choices: Sequence[str]) -> tuple[Destination, ...]:
    """Each file with its format, by `--output` or by its suffix; and standard output.

    Raises:
        UsageError: a suffix is that of a format that this command does not have, or there are
            several files and `--output`.
    """
    files: list[Path] = given.output_file
    if given.output and len(files) > 1:
        raise UsageError("--output is for one -o; of several, each has the format of its suffix.")
    found = []
    for file in files:
        chosen = given.output or _SUFFIXES.get(file.suffix.lower(), "text")
        if chosen not in choices:
            raise UsageError(
                f"{file}: this report has no format {chosen}; choose --output "
                f"{' or '.join(choices)}."
            )
        found.append(Destination(file, chosen))
    if given.json:
        found.append(Destination(None, "json"))
    return tuple(found) or (Destination(None, given.output or "text"),)


def _dimensions(text: str) -> tuple[str, ...]:
    """Labels that define a candidate, in the usual order, so that it has one name only."""
    found = shared.names(text)
    for name in found:
        if name not in CANDIDATE_LABELS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(CANDIDATE_LABELS)}")
    return tuple(name for name in CANDIDATE_LABELS if name in found)


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number from 0 on with at most {_MOST_DIGITS} digits"
        )
    return int(text)
