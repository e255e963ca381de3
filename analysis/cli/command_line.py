"""The command line of `analyze`: its commands, their options and help, without what they do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.cli import options
from latency_sweep.analysis.report import formats
from latency_sweep.contract.program import program_version

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

ANALYZE: Final = "analyze"
EXPORT: Final = "export"
COMPARE: Final = "compare"
PRICES: Final = "prices"

_ANALYZE_EXAMPLES: Final = """\
examples:
  analyze --from-prometheus http://prometheus:9090
  analyze --from-prometheus http://prometheus:9090 --since 7d --by region -o report.html
  analyze --from-prometheus http://prometheus:9090 -o report.txt -o report.html -o report.json
  analyze --from-archive sweep.parquet --output json

other commands:
  analyze export     keep the evidence in a file (analyze export --help)
  analyze compare    what changed between two sweeps or places (analyze compare --help)
  analyze prices     the price table in use, or a fresh one from AWS (analyze prices --help)
"""
_EXPORT_EXAMPLES: Final = """\
example:
  analyze export --from-prometheus http://prometheus:9090 sweep.parquet

The file holds all evidence; `analyze --from-archive sweep.parquet` gives the identical verdict.
"""
_COMPARE_EXAMPLES: Final = """\
examples:
  two archives:
    analyze compare before.parquet after.parquet
  two experiments:
    analyze compare --from-prometheus http://prometheus:9090 sweep-1 sweep-2
  two places of one experiment:
    analyze compare --from-archive sweep.parquet eu-west-1/euw1-az1/c6i.large \\
      eu-west-1/euw1-az1/c6in.large
    analyze compare --from-prometheus http://prometheus:9090 --experiment sweep-1 --by region \\
      eu-west-1 eu-west-2
"""
_PRICES_EXAMPLES: Final = """\
examples:
  analyze prices
  analyze prices --refresh -o prices.yaml
  analyze prices --refresh -o prices.yaml --region eu-west-1,eu-west-2 --instance-type c6i.large
  analyze --from-archive sweep.parquet --prices prices.yaml
"""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for; `command` is its name.

    Args:
        argv: arguments without the program's name; those of the process if None.

    Raises:
        SystemExit: help was asked for, or something is not valid.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments.pop(0) if arguments and arguments[0] in _COMMANDS else ANALYZE
    given = _COMMANDS.get(name, _parse_analyze)(arguments)
    given.command = name
    return given


def _parse_analyze(arguments: Sequence[str]) -> argparse.Namespace:
    parser = options.parser(
        "analyze", "Decide which place sees the feeds soonest and most steadily.", _ANALYZE_EXAMPLES
    )
    parser.add_argument("--version", action="version", version=program_version())
    sources = options.add_evidence(parser).add_mutually_exclusive_group()
    sources.add_argument("--from-prometheus", metavar="URL", help="a Prometheus-compatible server")
    sources.add_argument(
        "--from-archive", metavar="FILE", type=Path, help="a file that `analyze export` wrote"
    )
    sources.add_argument(
        "--from-jsonl", metavar="FILE", type=Path, help="a result file of the first version"
    )
    options.add_output(parser, formats.REPORT)
    if arguments and not arguments[0].startswith("-"):
        known = ", ".join(_COMMANDS)
        parser.error(f"there is no command {arguments[0]!r}, only {known}, or none for the verdict")
    given = parser.parse_args(arguments)
    # Checked here, since argparse would complain of this before it does of what it does not know.
    if (given.from_prometheus, given.from_archive, given.from_jsonl) == (None, None, None):
        parser.error(
            "one of the arguments --from-prometheus --from-archive --from-jsonl is required"
        )
    return given


def _parse_export(arguments: Sequence[str]) -> argparse.Namespace:
    parser = options.parser(
        "analyze export", "Keep the evidence in one Parquet file.", _EXPORT_EXAMPLES
    )
    sources = options.add_evidence(parser)
    sources.add_argument(
        "--from-prometheus", metavar="URL", required=True, help="a Prometheus-compatible server"
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the Parquet file to write")
    return parser.parse_args(arguments)


def _parse_compare(arguments: Sequence[str]) -> argparse.Namespace:
    parser = options.parser(
        "analyze compare",
        "What changed from A to B: two archives, two experiments or two places.",
        _COMPARE_EXAMPLES,
    )
    sources = options.add_evidence(parser).add_mutually_exclusive_group()
    sources.add_argument(
        "--from-prometheus",
        metavar="URL",
        help="A and B are experiments there or, with --experiment, two places of that one",
    )
    sources.add_argument(
        "--from-archive", metavar="FILE", type=Path, help="A and B are two places in it"
    )
    parser.add_argument("before", metavar="A", help="an archive, an experiment or a place")
    parser.add_argument("after", metavar="B", help="another")
    options.add_output(parser, formats.CHANGE)
    return parser.parse_args(arguments)


def _parse_prices(arguments: Sequence[str]) -> argparse.Namespace:
    parser = options.parser(
        "analyze prices", "The price table in use, or a fresh one from AWS.", _PRICES_EXAMPLES
    )
    options.add_prices(parser)
    return parser.parse_args(arguments)


_COMMANDS: Final[dict[str, Callable[[Sequence[str]], argparse.Namespace]]] = {
    EXPORT: _parse_export,
    COMPARE: _parse_compare,
    PRICES: _parse_prices,
}
