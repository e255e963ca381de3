"""`probe`, `sweep` and `analyze` speak one vocabulary; only their parsers know `Namespace`."""

from __future__ import annotations

import argparse
import ast
import re
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.cli import command_line as analyze
from latency_sweep.collector.cli import command_line as sweep
from latency_sweep.contract.exit_codes import MEANINGS, ExitCode
from latency_sweep.probe import command_line as probe
from tests.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES = (
    *("analysis", "collector", "contract", "deploy", "grafana", "lab", "nativehist", "probe"),
    *("prometheus", "requirements", "runtime", "benchmarks"),
)
# The modules that parse: what they hand on is a record.
MAY_NAME_NAMESPACE = {
    "analysis/cli/command_line.py",
    "collector/cli/command_line.py",
    "collector/cli/export_command_line.py",
    "probe/options.py",
    "runtime/options.py",
}
# The same flag at both ends of one connection: tokens that a server accepts, a token that is sent.
TWO_ENDS = "--bearer-token-file"


def parsers() -> list[tuple[str, argparse.ArgumentParser]]:
    roots = [
        ("analyze", analyze._analyze_parser()),
        ("analyze export", analyze._export_parser()),
        ("analyze compare", analyze._compare_parser()),
        ("analyze prices", analyze._prices_parser()),
        ("analyze doctor", analyze._doctor_parser()),
        ("probe", probe._parser()),
        ("sweep", sweep._parser()),
    ]
    found = []
    while roots:
        name, parser = roots.pop()
        found.append((name, parser))
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                roots += [(f"{name} {command}", child) for command, child in action.choices.items()]
    return found


def meaning(action: argparse.Action) -> str:
    """The help without the default of the command and the probe's variable."""
    return re.sub(r" [(\[].*", "", action.help or "")


def test_a_flag_has_one_meaning_in_all_commands() -> None:
    metavars: dict[str, set[object]] = defaultdict(set)
    meanings: dict[str, set[str]] = defaultdict(set)
    seen: dict[str, list[str]] = defaultdict(list)
    for name, parser in parsers():
        for action in parser._actions:
            for flag in action.option_strings:
                metavars[flag].add(action.metavar)
                meanings[flag].add(meaning(action))
                seen[flag].append(name)
    del meanings[TWO_ENDS]
    # What is written differs: a report, an archive, a price table. FILE it is everywhere, and DIR
    # where it is several files.
    metavars["-o"] -= {"DIR"}
    for flag in ("-o", "--output-file"):
        del meanings[flag]
    assert {flag: found for flag, found in metavars.items() if len(found) > 1} == {}
    assert {flag: found for flag, found in meanings.items() if len(found) > 1} == {}
    assert {"probe doctor", "sweep status", "analyze"} <= set(seen["--json"])
    assert {"sweep watch", "sweep collect", "analyze compare"} <= set(seen["--from-prometheus"])


@pytest.mark.parametrize(("name", "parser"), parsers(), ids=lambda value: str(value)[:20])
def test_help_lists_codes_of_the_table_and_fits(
    name: str, parser: argparse.ArgumentParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = parser.format_help()
    listed = re.findall(r"^ +(\d+)  (.+)$", text.partition("exit codes:\n")[2], re.MULTILINE)
    assert listed[0][0] == "0"
    assert listed[1:] == [(str(c), MEANINGS[ExitCode(int(c))]) for c, _ in listed[1:]]
    assert [line for line in text.splitlines() if len(line) > 80] == [], name


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def names_namespace(file: Path) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr == "Namespace")
        or (isinstance(node, ast.Name) and node.id == "Namespace")
        or (isinstance(node, ast.ImportFrom) and any(a.name == "Namespace" for a in node.names))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    )


def test_only_parsers_name_argparse_s_namespace() -> None:
    found = {str(file.relative_to(ROOT)) for file in modules() if names_namespace(file)}
    assert found == MAY_NAME_NAMESPACE


def test_a_parsed_command_line_does_not_leave_the_function_that_parsed_it() -> None:
    """Small programs, `python -m ...`, parse in one function and use what they find there."""
    handed_on = []
    for file in modules():
        path = str(file.relative_to(ROOT))
        if path in MAY_NAME_NAMESPACE or path == "probe/command_line.py":
            continue
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                handed_on += [f"{path}:{line}" for line in _handed_on(function)]
    assert handed_on == []


def _handed_on(function: ast.FunctionDef) -> Iterator[int]:
    parsed = {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr in {"parse_args", "parse_known_args"}
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") != "vars":
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            for argument in arguments:
                if isinstance(argument, ast.Name) and argument.id in parsed:
                    yield node.lineno
        returned = node.value if isinstance(node, ast.Return) else None
        if isinstance(returned, ast.Name) and returned.id in parsed:
            yield returned.lineno
