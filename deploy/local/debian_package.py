"""Prometheus from the Debian archive, without installing anything.

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
from typing import Final
from urllib.parse import urlsplit

from deploy.local.fetching import FetchError

SUITES: Final = ("forky", "sid")
PACKAGES: Final = ("prometheus", "promtool")
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TIMEOUT_SEC: Final = 300


def fetch(folder: Path) -> None:
    """Put `prometheus` and `promtool` into `folder`.

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
            with TemporaryDirectory(prefix="prometheus-apt-") as scratch:
                try:
                    _download(Path(scratch), mirror, suite)
                    _unpack(Path(scratch), folder)
                except FetchError as error:
                    reason = str(error)
                else:
                    return
    raise FetchError(reason)


def _mirrors() -> list[str]:
    """Debian archives among apt's sources, whichever file or format names them."""
    # Without release information it answers before the first `apt-get update`, too.
    answer = _run(["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)"])
    repositories = dict.fromkeys(answer.split())
    return [r for r in repositories if urlsplit(r).path.rstrip("/").endswith("/debian")]


def _download(scratch: Path, mirror: str, suite: str) -> None:
    """Download the packages into `scratch` with apt state of its own."""
    for name in ("state/lists/partial", "cache/archives/partial", "parts"):
        (scratch / name).mkdir(parents=True)
    (scratch / "status").touch()
    (scratch / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n")
    configuration = scratch / "apt.conf"
    # The machine's own configuration stays in force, for its proxies; its hooks do not.
    configuration.write_text(
        f'Dir::Etc::sourcelist "{scratch}/sources.list";\n'
        f'Dir::Etc::sourceparts "{scratch}/parts";\n'
        'Dir::Etc::preferences "/dev/null";\n'
        f'Dir::Etc::preferencesparts "{scratch}/parts";\n'
        f'Dir::State "{scratch}/state";\n'
        f'Dir::State::status "{scratch}/status";\n'
        f'Dir::Cache "{scratch}/cache";\n'
        'Dir::Log "/dev/null";\n'
        'APT::Sandbox::User "";\n'
        'Acquire::Languages "none";\n'
        'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";\n'
        'Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";\n'
        "#clear APT::Update::Pre-Invoke;\n"
        "#clear APT::Update::Post-Invoke;\n"
        "#clear APT::Update::Post-Invoke-Success;\n"
    )
    apt = ["apt-get", "-c", str(configuration), "-qq"]
    _run([*apt, "update", "-o", "APT::Update::Error-Mode=any"], cwd=scratch)
    _run([*apt, "download", *PACKAGES], cwd=scratch)


def _unpack(scratch: Path, folder: Path) -> None:
    for package in scratch.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(scratch / "root")])
    for name in PACKAGES:
        try:
            shutil.copy2(scratch / "root/usr/bin" / name, folder / name)
        except OSError as error:
            raise FetchError(f"the Debian package has no {name}: {error.strerror}") from error


def _run(command: list[str], cwd: Path | None = None) -> str:
    """Run an apt command and return its output, or raise the first error it prints."""
    try:
        done = subprocess.run(  # noqa: S603 - arguments are made here
            command,
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
        complaint = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise FetchError(f"{command[0]} failed: {complaint}")
    return done.stdout
