"""Prometheus built from its Go module, for developers who have Go and no way to the releases.

Takes about five minutes on two cores. Go verifies the module's checksums.
"""

from __future__ import annotations

import shutil
import subprocess
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from latency_sweep.contract import versions
from latency_sweep.lab.binaries.fetching import FetchError
from latency_sweep.prometheus.version import Version
from latency_sweep.runtime.child import bound_to_parent

if TYPE_CHECKING:
    from pathlib import Path

MODULE: Final = "github.com/prometheus/prometheus"
_VERSION_VARIABLE: Final = "github.com/prometheus/common/version.Version"
_WITHIN_SEC: Final = 3600


def build(folder: Path, version: str | None = None) -> None:
    """Build `prometheus` and `promtool` into `folder`.

    Args:
        folder: an existing folder.
        version: the release, without its `v`; the pinned one if None.

    Raises:
        FetchError: there is no Go, or it fails.
    """
    go = shutil.which("go")
    if go is None:
        raise FetchError("building Prometheus needs Go, and there is no program go on PATH")
    version = version or versions.load().prometheus
    commands = [f"{MODULE}/cmd/{name}" for name in ("prometheus", "promtool")]
    with TemporaryDirectory(prefix="sweep-go-") as scratch:
        _run([go, "mod", "init", "build"], scratch)
        _run(
            [go, "get", *(f"{command}@{_module_version(version)}" for command in commands)], scratch
        )
        flags = f"-ldflags=-X {_VERSION_VARIABLE}={version}"
        _run([go, "build", flags, "-o", f"{folder}/", *commands], scratch)


def _module_version(release: str) -> str:
    """The module's version of a release: 3.13.5 is v0.313.5."""
    number = Version.parse(release)
    return f"v0.{number.major}{number.minor:02d}.{number.patch}"


def _run(command: list[str], folder: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - arguments are made here
            bound_to_parent(command),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_WITHIN_SEC,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"go {command[1]} did not end within {_WITHIN_SEC} s") from error
    except OSError as error:
        raise FetchError(f"go {command[1]} failed: {error.strerror}") from error
    if done.returncode != 0:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise FetchError(f"go {command[1]} failed: {reason}")
