"""What is built from this checkout, and what of it works where it is installed.

Environments are made from the wheel and the locked versions, which the package manager has in its
cache once the tests' own environment is made.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import requests

from latency_sweep.contract import experiment
from latency_sweep.runtime.extras import CONTAINS, MODULES, Extra
from tests.repository import ROOT

# Environments are made of many files, which takes a while on a busy machine.
pytestmark = pytest.mark.timeout(240)

UV = Path(sysconfig.get_path("scripts")) / "uv"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Beyond pip itself, as the files come: Python adds a third for its bytecode.
LARGEST_CORE_BYTES = 110e6
NOT_SHIPPED = ("tests", "benchmarks", "latency_sweep/lab/faults", "latency_sweep/lab/simulation")
NEEDED = (
    "py.typed",
    "contract/experiment.yaml",
    "contract/versions.yaml",
    "analysis/pricing/prices.yaml",
    "analysis/report/templates/report.html.j2",
    "analysis/report/verdict.schema.json",
    "collector/aws/fees.yaml",
    "collector/export/runbook.md",
    "deploy/aws/bootstrap/lib.sh",
    "deploy/aws/iam/operator.json",
    "deploy/aws/requirements/monitor.txt",
    "deploy/aws/requirements/probe.txt",
    "deploy/aws/terraform/main.tf",
    "deploy/aws/terraform/modules/probe/main.tf",
    "deploy/compose/sites.yaml",
    "grafana/dashboards/sweep-overview.json",
    "grafana/provisioning/dashboards/sweep.yaml",
    "lab/local/experiment.yaml",
    "lab/local/images.json",
    "lab/local/sites.yaml",
    "prometheus/prometheus.yml.j2",
    "prometheus/rules/alerts.yml",
    "prometheus/rules/feed.yml",
)


def build(source: Path, folder: Path, target: str) -> Path:
    """Build the `wheel` or `sdist` of a source tree; returns the file."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"), "wheel")


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        assert len(archive.namelist()) == len(set(archive.namelist()))
        return {name: archive.read(name) for name in archive.namelist()}


class Environment:
    """A virtual environment without the checkout."""

    def __init__(self, folder: Path, wheel: Path, *, lock: str) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.uv("venv", "--python", sys.executable, str(folder))
        into = ("--python", str(self.python))
        self.uv(
            "pip", "install", *into, "--require-hashes", "-r", str(ROOT / "requirements" / lock)
        )
        self.uv("pip", "install", *into, "--offline", "--no-deps", str(wheel))

    def uv(self, *arguments: str) -> None:
        done = subprocess.run(
            [UV, "--quiet", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def variables(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "bin" / program, *arguments],
            cwd=self.folder,
            env=self.variables(),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What `pip install binance-latency-sweep` installs, and what an instance does."""
    return Environment(tmp_path_factory.mktemp("core") / "venv", wheel, lock="probe.txt")


def test_the_wheel_has_what_its_commands_read(wheel: Path) -> None:
    assert {f"latency_sweep/{name}" for name in NEEDED} <= contents(wheel).keys()


def test_the_wheel_has_nothing_for_developers_only(wheel: Path) -> None:
    names = contents(wheel)
    assert {name.split("/")[0] for name in names} == {
        "latency_sweep",
        f"binance_latency_sweep-{PROJECT['version']}.dist-info",
    }
    assert not [name for name in names if name.startswith(NOT_SHIPPED)]


def test_no_module_of_the_wheel_imports_what_is_not_in_it(wheel: Path) -> None:
    for name, content in contents(wheel).items():
        for left_out in NOT_SHIPPED:
            module = left_out.replace("/", ".")
            pattern = rf"^\s*(from|import) {re.escape(module)}\b"
            assert not re.search(pattern, content.decode(errors="replace"), re.MULTILINE), name


def test_a_wheel_from_the_source_archive_is_the_one_from_the_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    archive = build(ROOT, tmp_path / "sdist", "sdist")
    with tarfile.open(archive) as files:
        assert not [member.name for member in files if not member.isreg()]
        files.extractall(tmp_path, filter="data")
    again = build(tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path / "again", "wheel")
    assert contents(again) == contents(wheel)


def test_the_core_is_small(core: Environment) -> None:
    (packages,) = core.folder.glob("lib/python*/site-packages")
    sizes = [
        file.stat().st_size
        for file in packages.rglob("*")
        if file.is_file() and file.suffix != ".pyc" and file.relative_to(packages).parts[0] != "pip"
    ]
    assert sum(sizes) <= LARGEST_CORE_BYTES


def test_the_probe_imports_every_dependency_of_the_core(core: Environment) -> None:
    code = """
import sys
import latency_sweep.probe.cli
from importlib.metadata import packages_distributions
known = packages_distributions()
print(*{name for module in list(sys.modules) for name in known.get(module, [])})
"""
    imported = {
        name.lower().replace("_", "-") for name in core.run("python", "-c", code).stdout.split()
    }
    wanted = {re.split(r"[<>=\[ ;]", text)[0] for text in PROJECT["dependencies"]}
    assert wanted <= imported


def test_the_core_has_the_probe_and_its_doctor(core: Environment) -> None:
    assert core.run("probe", "--version").stdout == f"{PROJECT['version']}\n"
    nowhere = ("--endpoint", "wss://127.0.0.1:1", "--time-endpoint", "https://127.0.0.1:1/time")
    doctor = core.run("probe", "doctor", "--json", "--watch-sec", "0.1", *nowhere)
    assert doctor.returncode in {0, 1}, doctor.stderr
    assert json.loads(doctor.stdout)["results"]
    with subprocess.Popen(
        [core.folder / "bin" / "probe", "run", "--metrics-port", "0", *nowhere],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=core.variables(),
        text=True,
    ) as probe:
        assert probe.stdout is not None
        url = json.loads(probe.stdout.readline())["metrics_url"]
        with requests.Session() as session:
            session.trust_env = False
            assert "feed_probe_info" in session.get(f"{url}/metrics", timeout=30).text
        probe.send_signal(signal.SIGINT)
        assert probe.wait(60) == 0


@pytest.mark.parametrize(
    ("command", "what", "extra"),
    [
        ("analyze --from-prometheus http://127.0.0.1:1", "analyze", Extra.ANALYSIS),
        ("analyze export --from-prometheus http://127.0.0.1:1 -o x", "analyze", Extra.ANALYSIS),
        ("sweep demo", "sweep demo", Extra.LOCAL),
        ("sweep run", "sweep", Extra.SWEEP),
        ("sweep export rules -o x", "sweep export", Extra.EXPORT),
        (
            "python -m latency_sweep.grafana.generate",
            "python -m latency_sweep.grafana.generate",
            Extra.EXPORT,
        ),
        (
            "python -m latency_sweep.prometheus.rules.generate",
            "python -m latency_sweep.prometheus.rules.generate",
            Extra.MONITOR,
        ),
        ("sweep --help", "sweep", Extra.SWEEP),
    ],
)
def test_a_command_names_the_extra_that_it_needs(
    command: str, what: str, extra: Extra, core: Environment
) -> None:
    done = core.run(*shlex.split(command))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"`{what}` needs the extra `{extra}` (")
    assert done.stderr.endswith(f": pip install 'binance-latency-sweep[{extra}]'\n")
    assert done.stderr.count("\n") == 1


def test_the_library_names_the_extra_that_it_needs(core: Environment) -> None:
    done = core.run("python", "-c", "import latency_sweep; latency_sweep.load('x')")
    assert "needs the extra `analysis`" in done.stderr.splitlines()[-1]


def test_the_modules_that_tell_an_extra_belong_to_it() -> None:
    extras = PROJECT["optional-dependencies"]
    for extra, modules in MODULES.items():
        direct = {re.split(r"[<>=\[ ;]", text)[0] for text in extras[extra]}
        assert {name.replace("_", "-") for name in modules} == direct - {PROJECT["name"]}
        within = {
            inner
            for text in extras[extra]
            if text.startswith(PROJECT["name"])
            for inner in re.findall(r"[\[,](\w+)", text)
        }
        assert within == set(CONTAINS[extra])
    assert extras["all"] == [f"{PROJECT['name']}[{Extra.LOCAL}]"]


def test_the_monitor_can_configure_its_prometheus(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("monitor")
    monitor = Environment(folder / "venv", wheel, lock="monitor.txt")
    done = monitor.run(
        *("python", "-m", "latency_sweep.deploy.aws.monitor", "--experiment-id", "test"),
        *("--experiment-file", experiment.default_path(), "--rules-folder", folder / "rules"),
        *("--regions", "eu-west-1", "--prometheus-version", "3.13.0"),
    )
    assert done.returncode == 0, done.stderr
    assert "scrape_configs:" in done.stdout


def test_a_wheel_with_the_extra_export_exports_every_kind(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("export")
    installed = Environment(folder / "venv", wheel, lock="monitor.txt")
    locked = (ROOT / "requirements" / "local.txt").read_text(encoding="utf-8")
    (pinned,) = re.findall(r"^grafana-foundation-sdk==\S+", locked, re.MULTILINE)
    installed.uv("pip", "install", "--python", str(installed.python), "--no-deps", pinned)
    for kind in ("prometheus", "rules", "dashboards", "alertmanager", "compose", "mixin"):
        done = installed.run("sweep", "export", kind, "-o", folder / kind)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            str(path) for path in sorted((folder / kind).rglob("*")) if path.is_file()
        ]
    assert "needs the extra `sweep`" in installed.run("sweep", "--help").stderr


def test_the_tool_installers_of_the_readme_work(wheel: Path, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    install, try_out = (
        re.findall(rf"^\$ ({start}[^#\n]*)", readme, re.MULTILINE)[0].strip()
        for start in ("uv tool install", "uvx")
    )
    assert f"dist/{wheel.name}" in install
    assert f"dist/{wheel.name}" in try_out
    variables = {
        **os.environ,
        "PATH": f"{UV.parent}:{os.environ['PATH']}",
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_PYTHON": sys.executable,
        # The newest versions are not this test's business.
        "UV_CONSTRAINT": str(ROOT / "requirements" / "local.txt"),
    }

    def run(command: str) -> str:
        words = shlex.split(command.replace("dist/", f"{wheel.parent}/"))
        done = subprocess.run(
            words, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(install)
    assert "ap-northeast-1" in run(f"{tmp_path}/bin/analyze prices")
    assert "examples:" in run(f"{tmp_path}/bin/sweep demo --help")
    assert run(re.sub(r"probe doctor$", "probe --version", try_out)) == f"{PROJECT['version']}\n"
