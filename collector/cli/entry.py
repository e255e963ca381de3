"""Where the `sweep` command starts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from latency_sweep.runtime import entry, extras
from latency_sweep.runtime.extras import Extra

if TYPE_CHECKING:
    from collections.abc import Callable

_DEMO: Final = "demo"
_EXPORT: Final = "export"


def main() -> int:
    """Run the command; returns its exit code."""
    return entry.run(_load)


def _load() -> Callable[[], int]:
    if sys.argv[1:] == ["--version"]:  # needs no extra
        from latency_sweep.contract.program import program_version  # noqa: PLC0415 - as below

        print(program_version())
        return lambda: 0
    if sys.argv[1:2] == [_EXPORT]:  # needs little, so that it can be had with little
        extras.require(Extra.EXPORT, "sweep export")
        from latency_sweep.collector.cli.export import main as export  # noqa: PLC0415 - as below

        return export
    if extras.missing(Extra.SWEEP):  # not even `--help` can be shown
        if sys.argv[1:2] == [_DEMO]:
            extras.require(Extra.LOCAL, "sweep demo")
        extras.require(Extra.SWEEP, "sweep")

    from latency_sweep.collector.cli.main import main as command  # noqa: PLC0415 - takes seconds

    return command
