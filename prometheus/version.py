"""Prometheus versions: the version of a binary, and what each version supports."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path

_VERSION_LINE = re.compile(r"^(?:prometheus|promtool), version v?(\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_VERSION = re.compile(r"^v?(\d+)\.(\d+)(?:\.(\d+))?")
_ANSWER_WITHIN_SEC: Final = 30


class VersionError(ValueError):
    """A file is not a Prometheus binary, or a text is not a version; the message says which."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A release of Prometheus; pre-release and distribution suffixes are dropped."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        """`MAJOR.MINOR.PATCH`."""
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """A version from text such as `3.5`, `v3.13.0` or `3.5.3+ds1`.

        Raises:
            VersionError: the text does not start with a version.
        """
        match = _VERSION.match(text)
        if match is None:
            raise VersionError(f"{text!r} is not a version such as 3.5.0.")
        major, minor, patch = match.groups()
        return cls(int(major), int(minor), int(patch or 0))

    @classmethod
    def of_binary(cls, path: Path) -> Self:
        """Ask a `prometheus` or `promtool` binary for its version.

        Raises:
            VersionError: it cannot be started, or it is something else.
        """
        try:
            answer = subprocess.run(  # noqa: S603 - the caller names the program
                [path, "--version"],
                capture_output=True,
                text=True,
                timeout=_ANSWER_WITHIN_SEC,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
            # The text of an OSError would repeat the path.
            reason = getattr(error, "strerror", None) or error
            raise VersionError(f"{path} cannot be run as Prometheus: {reason}.") from error
        match = _VERSION_LINE.search(answer.stdout + answer.stderr)
        if match is None:
            raise VersionError(f"{path} is not a Prometheus binary: --version printed no version.")
        major, minor, patch = match.groups()
        return cls(int(major), int(minor), int(patch))


# The oldest supported version: the first long-term release with stable native histograms.
MINIMUM: Final = Version(3, 5)
# From this version on, native histograms are enabled by a configuration key, unknown before.
NATIVE_HISTOGRAMS_BY_CONFIG: Final = Version(3, 9)


def honours_ec2_endpoint(version: Version) -> bool:
    """Whether EC2 discovery uses the `endpoint` of its configuration; 3.7 to 3.10 query AWS."""
    return not Version(3, 7) <= version < Version(3, 11)
