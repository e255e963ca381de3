"""Programs from the Debian archive, without installing anything.

A stable Debian is years behind, but the packages of the testing and unstable suites need nothing
but libc: they are downloaded with private apt state and unpacked into a folder. The archive's
signatures are checked with the machine's own keyring, and the machine's own mirror is used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from latency_sweep.lab.binaries.fetching import FetchError
from latency_sweep.runtime.child import bound_to_parent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SUITES: Final = ("forky", "sid")
# Where each package keeps its program.
PROMETHEUS: Final = {"prometheus": "usr/bin/prometheus", "promtool": "usr/bin/promtool"}
DOCKER_COMPOSE: Final = {"docker-compose": "usr/libexec/docker/cli-plugins/docker-compose"}
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TIMEOUT_SEC: Final = 300


def fetch(folder: Path, programs: Mapping[str, str] = PROMETHEUS) -> None:
    """Put the programs of packages into `folder`, each named like its package.

    Args:
        folder: where to.
        programs: path inside each package, by the package's name.

    Raises:
        FetchError: this is no Debian, or its mirror cannot serve them.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FetchError("the Debian packages need apt-get and dpkg-deb")
    if not KEYRING.is_file():
        raise FetchError(f"the Debian packages need the archive's keys in {KEYRING}")
    mirrors = _mirrors()
    if not mirrors:
        raise FetchError("apt's sources name no Debian mirror")
    reason = ""
    for mirror in mirrors:
        for suite in SUITES:
            with TemporaryDirectory(prefix="sweep-apt-") as scratch:
                try:
                    _download(Path(scratch), mirror, suite, programs)
                    _unpack(Path(scratch), folder, programs)
                except FetchError as error:
                    reason = str(error)
                else:
                    return
    raise FetchError(reason)


def _mirrors() -> list[str]:
    """Debian archives among apt's sources, whichever file or format names them."""
    # Without release information it answers before the first `apt-get update`, too.
    answer = run(["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)"])
    repositories = dict.fromkeys(answer.split())
    return [r for r in repositories if urlsplit(r).path.rstrip("/").endswith("/debian")]


def _download(scratch: Path, mirror: str, suite: str, packages: Iterable[str]) -> None:
    """Download the packages into `scratch` with apt state of its own."""
    (scratch / "parts").mkdir()
    (scratch / "status").touch()
    (scratch / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n")
    apt = private_apt(
        scratch,
        f'Dir::Etc::sourcelist "{scratch}/sources.list";\n'
        f'Dir::Etc::sourceparts "{scratch}/parts";\n'
        'Dir::Etc::preferences "/dev/null";\n'
        f'Dir::Etc::preferencesparts "{scratch}/parts";\n'
        f'Dir::State::status "{scratch}/status";\n',
    )
    run(["apt-get", *apt, "update", "-o", "APT::Update::Error-Mode=any"], cwd=scratch)
    run(["apt-get", *apt, "download", *packages], cwd=scratch)


def private_apt(scratch: Path, configuration: str = "") -> list[str]:
    """Options with which apt keeps its lists and downloads in a folder and needs no privilege.

    Args:
        scratch: the folder.
        configuration: further lines for apt. The machine's own configuration stays in force, for
            its sources and proxies; its hooks do not.
    """
    for name in ("state/lists/partial", "cache/archives/partial"):
        (scratch / name).mkdir(parents=True)
    file = scratch / "apt.conf"
    file.write_text(
        f'Dir::State "{scratch}/state";\n'
        f'Dir::Cache "{scratch}/cache";\n'
        'Dir::Log "/dev/null";\n'
        'APT::Sandbox::User "";\n'
        'Debug::NoLocking "true";\n'
        'Acquire::Languages "none";\n'
        'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";\n'
        'Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";\n'
        "#clear APT::Update::Pre-Invoke;\n"
        "#clear APT::Update::Post-Invoke;\n"
        "#clear APT::Update::Post-Invoke-Success;\n" + configuration
    )
    return ["-c", str(file), "-qq"]


def _unpack(scratch: Path, folder: Path, programs: Mapping[str, str]) -> None:
    for package in scratch.glob("*.deb"):
        run(["dpkg-deb", "-x", str(package), str(scratch / "root")])
    for name, path in programs.items():
        try:
            shutil.copy2(scratch / "root" / path, folder / name)
        except OSError as error:
            raise FetchError(
                f"{name} of the Debian package cannot be copied: {error.strerror}"
            ) from error


def run(command: list[str], cwd: Path | None = None) -> str:
    """Run a command of Debian's, no longer than this process, and return its output.

    Raises:
        FetchError: it fails; the message is the first line of its error output.
    """
    program = shutil.which(command[0])
    if program is None:
        raise FetchError(f"there is no program {command[0]}")
    try:
        done = subprocess.run(  # noqa: S603 - arguments are made here
            bound_to_parent([program, *command[1:]]),
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SEC,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"{command[0]} failed: {error}") from error
    if done.returncode != 0:
        error_line = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise FetchError(f"{command[0]} failed: {error_line}")
    return done.stdout
