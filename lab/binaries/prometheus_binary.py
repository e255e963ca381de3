"""A Prometheus to run: the one on PATH, the one fetched before, or a fresh copy.

Nothing is installed: a fetched copy lives in the user's cache folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from latency_sweep.lab.binaries import debian_package, release_archive
from latency_sweep.lab.binaries.fetching import FetchError
from latency_sweep.prometheus.version import MINIMUM, Version, VersionError, honours_ec2_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MEND: Final = (
    f"install Prometheus >= {MINIMUM.major}.{MINIMUM.minor}, other than 3.7 to 3.10, "
    "and put it on PATH"
)
ENVIRONMENT_VARIABLE: Final = "PROMETHEUS_BIN"
_SCRATCH: Final = "fetching-"

# In the order they are tried. Each puts `prometheus` and `promtool` into the folder it is given.
SOURCES: Final[tuple[Callable[[Path], None], ...]] = (debian_package.fetch, release_archive.fetch)


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


def find_or_fetch(
    environ: Mapping[str, str] = os.environ,
    *,
    sources: tuple[Callable[[Path], None], ...] = SOURCES,
    report: Callable[[str], None] = lambda _: None,
) -> Binaries:
    """Find a Prometheus of a supported version, or fetch one. Safe to call concurrently.

    Args:
        environ: `PROMETHEUS_BIN` names a binary outright; `PATH` is searched next.
        sources: where to fetch from, in order.
        report: told in one line when the one on PATH is passed over, when something has to be
            fetched, and when another program does that already.

    Raises:
        PrometheusUnavailableError: there is none and none can be fetched, or `PROMETHEUS_BIN`
            names something else.
    """
    if named := environ.get(ENVIRONMENT_VARIABLE):
        try:
            return _checked(Path(named).absolute())
        except VersionError as error:
            raise PrometheusUnavailableError(
                f"{ENVIRONMENT_VARIABLE}: {error} Name another, or {MEND}."
            ) from error
    passed_over = []
    if (on_path := shutil.which("prometheus", path=environ.get("PATH"))) is not None:
        try:
            return _checked(Path(on_path).absolute())
        except VersionError as error:
            # A copy of our own does not disturb it.
            report(f"Not using the Prometheus on PATH: {error}")
            passed_over.append(str(error))
    folder = cache_folder(environ)
    # Without the lock first: a copy that is there is complete, and its folder may be read-only.
    with suppress(VersionError):
        return _checked(folder / "prometheus")
    with _locked(folder, report):
        try:
            return _checked(folder / "prometheus")
        except VersionError:
            _fetch(folder, sources, report, passed_over)
        return _checked(folder / "prometheus")


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
            f"{folder} cannot be written ({error.strerror}); set XDG_CACHE_HOME, or {MEND}."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"Another program is fetching Prometheus into {folder}; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(
    folder: Path,
    sources: tuple[Callable[[Path], None], ...],
    report: Callable[[str], None],
    passed_over: list[str],
) -> None:
    """Fetch into `folder` from the first source that can.

    Raises:
        PrometheusUnavailableError: none can; the message also tells what was passed over.
    """
    report(f"Fetching Prometheus into {folder} (once) ...")
    for abandoned in folder.glob(f"{_SCRATCH}*"):  # by one that was killed; nobody else is here
        shutil.rmtree(abandoned, ignore_errors=True)
    reasons = [reason.rstrip(".") for reason in passed_over]
    for source in sources:
        # Beside its final site, so that the moves below are atomic.
        with TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
            try:
                source(Path(scratch))
                binaries = _checked(Path(scratch) / "prometheus")
            except (FetchError, VersionError) as error:
                reasons.append(str(error).rstrip("."))
                continue
            if binaries.promtool is not None:
                binaries.promtool.replace(folder / "promtool")
            binaries.prometheus.replace(folder / "prometheus")
            return
    raise PrometheusUnavailableError(
        f"No usable Prometheus was found or could be fetched ({'; '.join(reasons)}); {MEND}."
    )
