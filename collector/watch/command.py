"""`sweep watch`: a live table of the places of a running sweep, from its Prometheus."""

from __future__ import annotations

import sys
import time
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live

from latency_sweep.analysis.cli import options
from latency_sweep.analysis.cli.options import UsageError
from latency_sweep.analysis.prometheus_api import InvalidUrlError, PrometheusClient, PrometheusError
from latency_sweep.collector.watch.key_presses import key_presses
from latency_sweep.collector.watch.live import NothingThereError, Snapshot, Watcher
from latency_sweep.collector.watch.view import View, to_json
from latency_sweep.contract.experiment import ExperimentError, load
from latency_sweep.runtime.help import HelpFormatter
from latency_sweep.runtime.interruption import Interrupted, interruptible

if TYPE_CHECKING:
    import argparse

    from latency_sweep.contract.experiment import Constraints

# The countdown moves every second; Prometheus is asked as often as it can know something new.
_REDRAW_SEC: Final = 1.0
_LEAST_REFRESH_SEC: Final = 2.0
_ANSWER_WITHIN_SEC: Final = 10.0
_SIGINT_CODE: Final = 130
_LEAVE: Final = "q"

_EPILOG: Final = """\
examples:
  sweep watch --prometheus http://prometheus:9090
  sweep watch --prometheus https://prometheus.example --bearer-token-file token
  sweep watch --prometheus http://prometheus:9090 --once --output json

q or Ctrl-C leaves the live table. Colours follow NO_COLOR.

exit codes:
    0  shown; or left by q or Ctrl-C
    2  an option or a file is not valid
    6  Prometheus knows no probe of the experiment
    7  Prometheus cannot be reached or did not answer
  143  stopped by SIGTERM
"""


class ExitCode(IntEnum):
    """What the command's exit code means; as in `analyze`, where that has the same case."""

    SHOWN = 0
    BAD_INPUT = 2
    NO_DATA = 6
    PROMETHEUS_FAILED = 7


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to `sweep`."""
    watch = commands.add_parser(
        "watch",
        help="a live table of the places of a running sweep",
        description="Show latency, loss, reconnects, clock and phase of every place, from the "
        "sweep's Prometheus, and mark what breaks a limit of the experiment.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    watch.add_argument(
        "--prometheus", metavar="URL", required=True, help="a Prometheus-compatible server"
    )
    watch.add_argument(
        "--config", metavar="FILE", type=Path, help="the experiment; the shipped one if absent"
    )
    watch.add_argument(
        "--experiment", metavar="NAME", help="value of the `experiment` label; the experiment's own"
    )
    watch.add_argument("--once", action="store_true", help="print it once and end")
    watch.add_argument(
        "--output", choices=("text", "json"), default="text", help="json needs --once (text)"
    )
    options.add_access(watch)
    watch.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Show until interrupted, or once; returns the exit code."""
    try:
        with interruptible():
            _run(given)
    except Interrupted as interrupted:
        # Leaving the table is no failure; being told to stop by the system is told on.
        return 0 if interrupted.exit_code == _SIGINT_CODE else interrupted.exit_code
    except (UsageError, ExperimentError, InvalidUrlError) as error:
        return _complain(error, ExitCode.BAD_INPUT)
    except NothingThereError as error:
        return _complain(error, ExitCode.NO_DATA)
    except PrometheusError as error:
        return _complain(error, ExitCode.PROMETHEUS_FAILED)
    return ExitCode.SHOWN


def _run(given: argparse.Namespace) -> None:
    if given.output == "json" and not given.once:
        raise UsageError("--output json only works with --once.")
    experiment = load(given.config)
    access = options.access(given)
    console = Console()
    with PrometheusClient(
        given.prometheus, access, timeout_sec=min(given.timeout, _ANSWER_WITHIN_SEC), attempts=1
    ) as client:
        watcher = Watcher(client, experiment, given.experiment)
        snapshot = watcher.snapshot()
        limits = experiment.decision.constraints
        if given.output == "json":
            print(to_json(snapshot))
        elif given.once or not console.is_terminal:
            console.print(View(limits, console.width).draw(snapshot, now=snapshot.taken_at))
        else:
            refresh_sec = max(_LEAST_REFRESH_SEC, experiment.timing.scrape_interval_sec)
            _live(console, watcher, snapshot, limits, refresh_sec)


def _live(
    console: Console, watcher: Watcher, snapshot: Snapshot, limits: Constraints, refresh_sec: float
) -> None:
    """Redraw until told to leave; a server that does not answer is asked again and again."""
    trouble: str | None = None
    taken = asked = time.monotonic()
    with (
        key_presses() as keys_within,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            if time.monotonic() - asked >= refresh_sec:
                asked = time.monotonic()
                try:
                    snapshot, trouble = watcher.snapshot(), None
                    taken = time.monotonic()
                except (PrometheusError, NothingThereError) as error:
                    trouble = str(error)
            # By the server's clock, which this machine's need not agree with.
            now = snapshot.taken_at + time.monotonic() - taken
            view = View(limits, console.width, console.height)
            live.update(view.draw(snapshot, now=now, trouble=trouble), refresh=True)
            if _LEAVE in keys_within(_REDRAW_SEC).lower():
                return


def _complain(what: object, code: ExitCode) -> ExitCode:
    print(f"sweep watch: {what}", file=sys.stderr)
    return code
