"""`sweep watch`: a live table of the candidates of a running sweep, from its Prometheus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich.live import Live

from latency_sweep.analysis.cli.access import access_of
from latency_sweep.analysis.prometheus_api import PrometheusClient, PrometheusError
from latency_sweep.analysis.who_answers import naming_what_answers
from latency_sweep.collector.watch.key_presses import key_presses
from latency_sweep.collector.watch.live import NothingThereError, Snapshot, Watcher
from latency_sweep.collector.watch.view import View, to_json
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import load
from latency_sweep.runtime.interruption import Interrupted

if TYPE_CHECKING:
    from rich.console import Console

    from latency_sweep.collector.cli.options import WatchOptions
    from latency_sweep.contract.experiment import Constraints

# The countdown moves every second; Prometheus is queried as often as it has new data.
_REDRAW_SEC: Final = 1.0
_LEAST_REFRESH_SEC: Final = 2.0
_ANSWER_WITHIN_SEC: Final = 10.0
_LEAVE: Final = "q"


def run(options: WatchOptions, console: Console) -> int:
    """Show until interrupted, or once; returns the exit code."""
    try:
        _run(options, console)
    except Interrupted as interrupted:
        # Ctrl-C is how to leave the table; being told to stop by the system is reported.
        left = interrupted.exit_code == ExitCode.INTERRUPTED
        return ExitCode.DONE if left else interrupted.exit_code
    return ExitCode.DONE


def _run(options: WatchOptions, console: Console) -> None:
    experiment = load(options.config)
    server = options.server
    assert server.url is not None
    timeout_sec = min(server.timeout_sec, _ANSWER_WITHIN_SEC)
    with PrometheusClient(
        server.url, access_of(server), timeout_sec=timeout_sec, attempts=1
    ) as client:
        watcher = Watcher(client, experiment, options.experiment_id, options.names)
        with naming_what_answers(client):
            snapshot = watcher.snapshot()
        limits = experiment.decision.constraints
        if options.json:
            print(to_json(snapshot))
        elif options.once or not console.is_terminal:
            console.print(View(limits, console.width).draw(snapshot, now=snapshot.taken_at))
        else:
            refresh_sec = max(_LEAST_REFRESH_SEC, experiment.timing.scrape_interval_sec)
            _live(console, watcher, snapshot, limits, refresh_sec)


def _live(
    console: Console, watcher: Watcher, snapshot: Snapshot, limits: Constraints, refresh_sec: float
) -> None:
    """Redraw until the user leaves; a server that does not answer is queried again."""
    problem: str | None = None
    taken = asked = time.monotonic()
    with (
        key_presses() as keys_within,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            if time.monotonic() - asked >= refresh_sec:
                asked = time.monotonic()
                try:
                    snapshot, problem = watcher.snapshot(), None
                    taken = time.monotonic()
                except (PrometheusError, NothingThereError) as error:
                    problem = str(error)
            # By the server's clock, which may differ from this machine's.
            now = snapshot.taken_at + time.monotonic() - taken
            view = View(limits, console.width, console.height)
            live.update(view.draw(snapshot, now=now, problem=problem), refresh=True)
            if _LEAVE in keys_within(_REDRAW_SEC).lower():
                return
