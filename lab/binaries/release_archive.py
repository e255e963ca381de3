"""Prometheus from the project's release archives, with the published checksum verified."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import tarfile
from typing import TYPE_CHECKING, Final

import requests

from latency_sweep.contract import versions
from latency_sweep.lab.binaries.fetching import FetchError

if TYPE_CHECKING:
    from pathlib import Path

RELEASES: Final = "https://github.com/prometheus/prometheus/releases/download"
_SYSTEMS: Final = {"Linux": "linux", "Darwin": "darwin"}
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
# Where there is no way to the release, another source shall have its turn soon.
_CONNECT_READ_TIMEOUT_SEC: Final = (3, 60)
_CHUNK_BYTES: Final = 1 << 20


def fetch(folder: Path, *, releases: str = RELEASES, version: str | None = None) -> None:
    """Put `prometheus` and `promtool` into `folder`.

    Args:
        folder: an existing folder.
        releases: base URL of the releases.
        version: the release, without its `v`; the pinned one if None.

    Raises:
        FetchError: no archive for this platform, not reachable, or the checksum differs.
    """
    version = version or versions.load().prometheus
    name = f"prometheus-{version}.{_platform()}"
    base = f"{releases}/v{version}"
    archive = folder / f"{name}.tar.gz"
    try:
        expected = _published_checksum(f"{base}/sha256sums.txt", archive.name)
        actual = _download(f"{base}/{archive.name}", archive)
        if actual != expected:
            raise FetchError(f"{base}/{archive.name} does not have its published checksum")
        _unpack(archive, name, folder)
    finally:
        archive.unlink(missing_ok=True)


def _platform() -> str:
    system = _SYSTEMS.get(platform.system())
    machine = _MACHINES.get(platform.machine().lower())
    if system is None or machine is None:
        raise FetchError(
            f"there is no release archive known for {platform.system()} on {platform.machine()}"
        )
    return f"{system}-{machine}"


def _published_checksum(url: str, archive: str) -> str:
    try:
        answer = requests.get(url, timeout=_CONNECT_READ_TIMEOUT_SEC)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise FetchError(f"{url} cannot be read ({type(error).__name__})") from error
    pattern = rf"^([0-9a-f]{{64}})\s+\*?{re.escape(archive)}$"
    match = re.search(pattern, answer.text, re.MULTILINE)
    if match is None:
        raise FetchError(f"{url} lists no {archive}")
    return match.group(1)


def _download(url: str, target: Path) -> str:
    """Download to `target` and return the SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    try:
        with (
            requests.get(url, stream=True, timeout=_CONNECT_READ_TIMEOUT_SEC) as answer,
            target.open("wb") as file,
        ):
            answer.raise_for_status()
            for chunk in answer.iter_content(_CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
    except (requests.RequestException, OSError) as error:
        raise FetchError(f"{url} cannot be downloaded ({type(error).__name__})") from error
    return digest.hexdigest()


def _unpack(archive: Path, top: str, folder: Path) -> None:
    try:
        with tarfile.open(archive) as tar:
            for name in ("prometheus", "promtool"):
                member = tar.extractfile(f"{top}/{name}")
                if member is None:
                    raise FetchError(f"{archive.name} has no file {top}/{name}")
                with member, (folder / name).open("wb") as file:
                    shutil.copyfileobj(member, file)
                (folder / name).chmod(0o755)
    except (KeyError, tarfile.TarError, OSError) as error:
        raise FetchError(f"{archive.name} cannot be unpacked: {error}") from error
