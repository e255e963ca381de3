"""ARCHITECTURE.md, import-linter's contract and the folders show the same floors."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import grimp
import pytest
from importlinter.contracts.layers import LayersContract

from tests.repository import ROOT

PACKAGE: Final = "latency_sweep"
PAGE: Final = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
DEMO_IMPORT: Final = r"latency_sweep\.collector\.cli\.\w+ -> latency_sweep\.lab\.local\.\*"
LINT_IMPORTS: Final = Path(sys.executable).with_name("lint-imports")


def the_contract() -> dict[str, Any]:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = document["tool"]["importlinter"]["contracts"]
    (found,) = (c for c in contracts if c.get("containers") == [PACKAGE])
    assert isinstance(found, dict)
    return found


FLOORS: Final = [floor.split(" | ") for floor in the_contract()["layers"]]
# Two folders on one floor may not import each other either.
UPWARD: Final = [(lower[0], upper[0]) for upper, lower in pairwise(FLOORS)]
SIDEWAYS: Final = [(floor[0], floor[-1]) for floor in FLOORS if len(floor) > 1]


def rows() -> dict[str, list[str]]:
    """The table of folders: each folder and the files to read first."""
    found = re.findall(r"^\| `([\w/]+)/` \|[^|]*\| ([^|]*) \|$", PAGE, re.MULTILINE)
    return {folder: re.findall(r"`([^`]+)`", files) for folder, files in found}


def is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def test_the_picture_is_the_contract() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line.strip("│").split("│")] for line in lines] == FLOORS


def test_every_folder_that_the_package_links_to_is_on_a_floor() -> None:
    links = {each.name for each in (ROOT / "src" / PACKAGE).iterdir() if each.is_symlink()}
    assert {package.partition(".")[0] for floor in FLOORS for package in floor} == links
    for link in links:
        assert (ROOT / "src" / PACKAGE / link).resolve() == ROOT / link


def test_the_table_names_every_package_and_what_to_read_first() -> None:
    tops = {package.partition(".")[0] for floor in FLOORS for package in floor}
    packages = {
        str(folder.relative_to(ROOT))
        for top in tops
        for folder in (ROOT / top, *(ROOT / top).iterdir())
        if is_package(folder)
    }
    # These two hold packages and no modules of their own.
    assert set(rows()) == packages - {"lab", "deploy"}
    for folder, files in rows().items():
        assert len(files) == 2, folder
        for file in files:
            assert (ROOT / folder / file).is_file(), f"{folder}/{file}"


def test_the_page_is_at_most_two_pages() -> None:
    assert len(PAGE.splitlines()) <= 110


def test_one_import_alone_may_run_up() -> None:
    (permitted,) = the_contract()["ignore_imports"]
    assert re.fullmatch(DEMO_IMPORT, permitted)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGE, cache_dir=None)


def keeps_the_contract(graph: grimp.ImportGraph) -> bool:
    options = the_contract()
    contract = LayersContract(options["name"], {"root_packages": [PACKAGE]}, options)
    # The check removes the permitted imports from the graph it is given.
    return bool(contract.check(deepcopy(graph), verbose=False).kept)


def test_the_imports_keep_the_contract(graph: grimp.ImportGraph) -> None:
    assert keeps_the_contract(graph)


@pytest.mark.parametrize(("importer", "imported"), [*UPWARD, *SIDEWAYS])
def test_an_arrow_that_runs_up_or_sideways_breaks_it(
    graph: grimp.ImportGraph, importer: str, imported: str
) -> None:
    changed = deepcopy(graph)
    changed.add_import(importer=f"{PACKAGE}.{importer}", imported=f"{PACKAGE}.{imported}")
    assert not keeps_the_contract(changed)


def test_make_lint_fails_when_an_arrow_runs_up(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^lint:.*\n(\t.*\n)*\t\$\(BIN\)/lint-imports$", makefile, re.MULTILINE)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    only_python = shutil.ignore_patterns("__pycache__", "*.json", "*.html")
    shutil.copytree(ROOT / "src" / PACKAGE, tmp_path / PACKAGE, ignore=only_python)

    def lint_imports() -> subprocess.CompletedProcess[str]:
        # It looks for the package in the folder that it runs in.
        command: list[str | Path] = [LINT_IMPORTS, "--no-cache"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    kept = lint_imports()
    assert kept.returncode == 0, kept.stdout
    with (tmp_path / PACKAGE / "contract" / "tags.py").open("a", encoding="utf-8") as file:
        file.write("import latency_sweep.probe.app\n")
    broken = lint_imports()
    assert broken.returncode == 1
    assert "latency_sweep.contract is not allowed to import latency_sweep.probe" in broken.stdout


@pytest.mark.parametrize(
    ("folder", "forbidden"), [("tests", "benchmarks"), ("benchmarks", "tests"), ("src", "tests")]
)
def test_nobody_imports_what_is_beside_it(folder: str, forbidden: str) -> None:
    """Tests import no benchmarks, benchmarks no tests, and the product neither."""
    sources = [
        file
        for start in (ROOT / folder, *(ROOT / folder).glob("latency_sweep/*"))
        for file in start.rglob("*.py")
    ]
    assert sources
    for file in sources:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert forbidden not in {name.partition(".")[0] for name in names}, str(file)


def test_no_two_public_classes_have_one_name() -> None:
    homes: dict[str, list[str]] = {}
    for top in sorted({package.partition(".")[0] for floor in FLOORS for package in floor}):
        for file in sorted((ROOT / top).rglob("*.py")):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}
