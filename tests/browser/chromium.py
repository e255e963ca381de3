"""A Chromium to test with: one that is installed, the one fetched before, or a fresh copy.

Nothing is installed: a fetched copy, with the libraries and the font that the machine lacks, comes
from the machine's own Debian release and is unpacked into the user's cache folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from latency_sweep.lab.binaries.debian_package import private_apt, run
from latency_sweep.lab.binaries.fetching import FetchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENVIRONMENT_VARIABLE: Final = "CHROMIUM_BIN"
NAMES: Final = (
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
# Without a font all text is invisible.
PACKAGES: Final = ("chromium-headless-shell", "fonts-dejavu-core", "fontconfig-config")
MEND: Final = f"install Chromium or Chrome, or name its program in {ENVIRONMENT_VARIABLE}"
_BINARY: Final = "usr/lib/chromium/chromium-headless-shell"
_TIMEOUT_SEC: Final = 30


class ChromiumUnavailableError(Exception):
    """No usable Chromium; the message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Chromium:
    """A usable Chromium.

    Attributes:
        program: what to run.
        environment: variables that it needs beside the usual ones.
        version: as it tells it.
    """

    program: Path
    environment: dict[str, str] = field(default_factory=dict)
    version: str = ""


def find_or_fetch(
    environ: Mapping[str, str] = os.environ,
    *,
    source: Callable[[Path], None] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Chromium:
    """Find a Chromium, or fetch one. Safe to call concurrently.

    Args:
        environ: `CHROMIUM_BIN` names a program outright; `PATH` is searched next.
        source: puts a file system with Chromium into the folder it is given; Debian if None.
        report: told in one line when something has to be fetched.

    Raises:
        ChromiumUnavailableError: there is none and none can be fetched, or `CHROMIUM_BIN` names
            something else.
    """
    if named := environ.get(ENVIRONMENT_VARIABLE):
        try:
            return _checked(Chromium(Path(named).absolute()))
        except FetchError as error:
            raise ChromiumUnavailableError(f"{ENVIRONMENT_VARIABLE}: {error}; {MEND}.") from error
    for name in NAMES:
        if (found := shutil.which(name, path=environ.get("PATH"))) is not None:
            try:
                return _checked(Chromium(Path(found).absolute()))
            except FetchError:
                continue  # a launcher of something that is not there
    folder = _cache_folder(environ)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                return _checked(_unpacked(folder / "root"))
            except FetchError:
                report(f"Fetching Chromium into {folder} (once) ...")
            with TemporaryDirectory(dir=folder) as scratch:  # beside its place: one move puts it
                (source or fetch)(Path(scratch))
                shutil.rmtree(folder / "root", ignore_errors=True)
                (Path(scratch) / "root").rename(folder / "root")
            return _checked(_unpacked(folder / "root"))
    except OSError as error:
        raise ChromiumUnavailableError(
            f"{folder} cannot be written ({error.strerror}); set XDG_CACHE_HOME, or {MEND}."
        ) from error
    except FetchError as error:
        raise ChromiumUnavailableError(
            f"No Chromium was found or could be fetched ({error}); {MEND}."
        ) from error


def fetch(folder: Path) -> None:
    """Unpack Chromium, and what it needs that this machine lacks, into `folder/root`.

    Raises:
        FetchError: this is no Debian, or its mirror cannot serve it.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FetchError("the Debian packages need apt-get and dpkg-deb")
    apt = private_apt(folder)
    run(["apt-get", *apt, "update"], cwd=folder)
    wanted = ["--yes", "--no-install-recommends", "--download-only", *PACKAGES]
    run(["apt-get", *apt, "install", *wanted], cwd=folder)
    for package in sorted((folder / "cache/archives").glob("*.deb")):
        run(["dpkg-deb", "-x", str(package), str(folder / "root")])


def _cache_folder(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "binance-latency-sweep" / "chromium"


def _unpacked(root: Path) -> Chromium:
    """The program in an unpacked file system, with the way to its libraries and fonts."""
    if not (root / _BINARY).is_file():
        raise FetchError("there is no Chromium in the packages")
    libraries = sorted({str(file.parent) for file in root.rglob("*.so*") if file.is_file()})
    fonts = root / "fonts.conf"
    text = (
        "<fontconfig>"
        '<include ignore_missing="yes">/etc/fonts/fonts.conf</include>'
        f"<dir>{escape(str(root / 'usr/share/fonts'))}</dir>"
        f"<cachedir>{escape(str(root / 'font-cache'))}</cachedir>"
        "</fontconfig>\n"
    )
    # Another process may have found it already, and its browser may read this at any moment.
    if not fonts.is_file() or fonts.read_text() != text:
        fonts.write_text(text)
    environment = {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(fonts)}
    return Chromium(root / _BINARY, environment)


def _checked(chromium: Chromium) -> Chromium:
    command = [str(chromium.program), "--version"]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **chromium.environment},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SEC,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"{chromium.program} does not run: {error}") from error
    if done.returncode != 0 or "Chrom" not in done.stdout:
        complaint = (done.stderr.strip() or "it is no Chromium").splitlines()[0]
        raise FetchError(f"{chromium.program} does not run: {complaint}")
    return Chromium(chromium.program, chromium.environment, done.stdout.strip())
