"""The environment of the local stack's processes.

They talk to each other on 127.0.0.1 only. What a user's shell says of AWS, proxies, certificates,
Python or Prometheus is meant for other programs, and breaks them: a Prometheus given an
`AWS_CA_BUNDLE` that it cannot read discovers nothing, a probe given `PROMETHEUS_MULTIPROC_DIR`
keeps its values in files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT: Final = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",  # an interpreter may need it
        "LOGNAME",
        "PATH",
        "SHELL",
        "TMPDIR",
        "TZ",
        "USER",
    }
)
# Locale; what numpy's libraries need to know of this machine; measuring the tests' coverage.
_KEPT_PREFIXES: Final = ("LC_", "XDG_", "OMP_", "OPENBLAS_", "COVERAGE_")


def clean_environment(environ: Mapping[str, str] = os.environ, /, **meant: str) -> dict[str, str]:
    """The whole environment of a child.

    Args:
        environ: of this process; only what every program needs is taken from it.
        meant: variables that the child is to have besides.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    return {**kept, **meant}
