"""`sweep demo`: the whole sweep on this machine; the one place that imports the laboratory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.runtime import extras
from latency_sweep.runtime.extras import Extra

if TYPE_CHECKING:
    from latency_sweep.collector.cli.options import LocalSweepOptions


def run(options: LocalSweepOptions) -> int:
    """Run the demo; returns its exit code.

    Raises:
        MissingExtraError: a package that only the demo needs is missing.
    """
    extras.require(Extra.LOCAL, "sweep demo")
    from latency_sweep.lab.local import demo, plan  # noqa: PLC0415 - needs the `local` extra

    return demo.run(
        plan.DemoOptions(
            config=options.config or plan.EXPERIMENT,
            sites=options.sites or plan.SITES,
            runs=options.runs,
            results=options.results,
            replay=options.replay,
            streams=options.streams,
            speed=1.0 if options.speed is None else options.speed,
            keep=options.keep,
            ground_truth=options.ground_truth,
        )
    )
