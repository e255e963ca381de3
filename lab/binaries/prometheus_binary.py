"""A Prometheus to run: the pinned release, fetched once, or what the user names.

Nothing is installed: a fetched copy is kept in the user's cache folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from latency_sweep.contract import versions
from latency_sweep.lab.binaries import debian_package, go_module, release_archive
from latency_sweep.lab.binaries.fetching import FetchError
from latency_sweep.prometheus.version import MINIMUM, Version, VersionError, honours_ec2_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ENVIRONMENT_VARIABLE: Final = "PROMETHEUS_BIN"
BUILD_VARIABLE: Final = "PROMETHEUS_BUILD"
FIX: Final = (
    f"install Prometheus >= {MINIMUM.major}.{MINIMUM.minor}, other than 3.7 to 3.10, "
    f"and name it with {ENVIRONMENT_VARIABLE}"
)
_SCRATCH: Final = "fetching-"
# A source that failed is asked again after this time, so that a machine without a way to it does
# not try at every start.
RETRY_AFTER_SEC: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class BinarySource:
    """Where a Prometheus can be had from.

    Attributes:
        name: what the user calls it.
        folder: of its copy, inside the cache folder.
        fetch: puts `prometheus` and `promtool` into the folder it is given, or raises `FetchError`.
    """

    name: str
    folder: str
    fetch: Callable[[Path], None]


_PINNED: Final = versions.load().prometheus
_RELEASE: Final = BinarySource(f"release {_PINNED}", _PINNED, release_archive.fetch)
_BUILD: Final = BinarySource(f"build of {_PINNED}", _PINNED, go_module.build)
_DEBIAN: Final = BinarySource("Debian's package", "debian", debian_package.fetch)


class PrometheusUnavailableError(Exception):
    """No usable Prometheus; the message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A usable Prometheus.

    Attributes:
        prometheus: the server.
        promtool: its companion, or None where only the server is there.
        version: of the server, at least `prometheus.version.MINIMUM` and fit for the local stack.
    """

    prometheus: Path
    promtool: Path | None
    version: Version


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where fetched copies are kept: `$XDG_CACHE_HOME` or `~/.cache`, in a folder of our own."""
    base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "binance-latency-sweep" / "prometheus"


def sources_of(environ: Mapping[str, str] = os.environ) -> tuple[BinarySource, ...]:
    """The sources in the order they are tried.

    The pinned release comes first; Debian's package is older and comes last. Where
    `PROMETHEUS_BUILD` is 1, the release is built with Go, and nothing else will do.
    """
    return (_BUILD,) if environ.get(BUILD_VARIABLE) == "1" else (_RELEASE, _DEBIAN)


def find_or_fetch(
    environ: Mapping[str, str] = os.environ,
    *,
    sources: tuple[BinarySource, ...] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Binaries:
    """Find a Prometheus of a supported version, or fetch one. Safe to call concurrently.

    Args:
        environ: `PROMETHEUS_BIN` names a binary, by its path or as found on `PATH`.
        sources: where else to take it from, in order; `sources_of(environ)` if None.
        report: told in one line when something has to be fetched, when another program does that
            already, and when it is not from the first source.

    Raises:
        PrometheusUnavailableError: none can be fetched, or `PROMETHEUS_BIN` names something else.
    """
    if named := environ.get(ENVIRONMENT_VARIABLE):
        return _named(named, environ)
    sources = sources_of(environ) if sources is None else sources
    folder = cache_folder(environ)
    # Without the lock first: a copy that is there is complete, and its folder may be read-only.
    if (found := _find(folder, sources, report)) is not None:
        return found
    with _locked(folder, report):
        found = _find(folder, sources, report)
        return _fetch(folder, sources, report) if found is None else found


def _named(named: str, environ: Mapping[str, str]) -> Binaries:
    path = named if os.sep in named else shutil.which(named, path=environ.get("PATH"))
    if path is None:
        raise PrometheusUnavailableError(
            f"{ENVIRONMENT_VARIABLE}: there is no program {named} on PATH; name another, or {FIX}."
        )
    try:
        return _checked(Path(path).absolute())
    except VersionError as error:
        raise PrometheusUnavailableError(
            f"{ENVIRONMENT_VARIABLE}: {error} Name another, or {FIX}."
        ) from error


def _find(
    folder: Path, sources: tuple[BinarySource, ...], report: Callable[[str], None]
) -> Binaries | None:
    """A copy fetched before, unless a better source has not been asked lately."""
    failed: list[str] = []
    for source in sources:
        with suppress(VersionError):
            found = _checked(folder / source.folder / "prometheus")
            if failed:
                report(_fallback(source, found, failed))
            return found
        reason = _recent_failure(folder, source)
        if reason is None:
            return None
        failed.append(reason)
    return None


def _fallback(source: BinarySource, found: Binaries, failed: list[str]) -> str:
    return f"Using Prometheus {found.version}, {source.name}, since {'; '.join(failed)}."


def _failure_file(folder: Path, source: BinarySource) -> Path:
    return folder / f"{source.folder}.failed"


def _recent_failure(folder: Path, source: BinarySource) -> str | None:
    """Why a source failed, or None if it has not been asked for `RETRY_AFTER_SEC`."""
    file = _failure_file(folder, source)
    try:
        age_sec = time.time() - file.stat().st_mtime
        return file.read_text(encoding="utf-8") if 0 <= age_sec < RETRY_AFTER_SEC else None
    except OSError:
        return None


def _checked(binary: Path) -> Binaries:
    version = Version.of_binary(binary)
    if version < MINIMUM:
        raise VersionError(f"{binary} is version {version}, too old.")
    if not honours_ec2_endpoint(version):
        raise VersionError(f"{binary} is version {version}, which cannot use a simulated EC2.")
    promtool = binary.with_name("promtool")
    return Binaries(binary, promtool if promtool.is_file() else None, version)


@contextmanager
def _locked(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise PrometheusUnavailableError(
            f"{folder} cannot be written ({error.strerror}); set XDG_CACHE_HOME, or {FIX}."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"Another program is fetching Prometheus into {folder}; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(
    folder: Path, sources: tuple[BinarySource, ...], report: Callable[[str], None]
) -> Binaries:
    """Fetch from the first source that can, into its folder.

    Raises:
        PrometheusUnavailableError: none can.
    """
    report(f"Fetching Prometheus into {folder} (once) ...")
    for abandoned in folder.glob(f"{_SCRATCH}*"):  # by one that was killed; nobody else is here
        shutil.rmtree(abandoned, ignore_errors=True)
    failed: dict[BinarySource, str] = {}
    for source in sources:
        try:
            found = _fetch_from(source, folder)
        except (FetchError, VersionError) as error:
            failed[source] = str(error).rstrip(".")
            continue
        for other, reason in failed.items():
            _failure_file(folder, other).write_text(reason, encoding="utf-8")
        if failed:
            report(_fallback(source, found, list(failed.values())))
        return found
    raise PrometheusUnavailableError(
        f"No usable Prometheus could be fetched ({'; '.join(failed.values())}); {FIX}."
    )


def _fetch_from(source: BinarySource, folder: Path) -> Binaries:
    """The copy that is there, if a better source was asked in vain, or a fresh one.

    Raises:
        FetchError: the source cannot help.
        VersionError: what it gives is no Prometheus of a supported version.
    """
    target = folder / source.folder
    with suppress(VersionError):
        return _checked(target / "prometheus")
    # Beside its final place, so that the move is atomic.
    with TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
        copy = Path(scratch) / "copy"
        copy.mkdir()
        source.fetch(copy)
        _checked(copy / "prometheus")
        shutil.rmtree(target, ignore_errors=True)  # it holds nothing usable
        copy.rename(target)
    return _checked(target / "prometheus")
