"""What is looked at while a sweep runs, on a real stack with faults injected.

A second Prometheus receives everything by remote write from the one that scrapes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from latency_sweep.analysis.evidence.collect import EvidenceRequest, collect
from latency_sweep.analysis.prometheus_api import PrometheusClient
from latency_sweep.contract import experiment
from latency_sweep.contract.monitoring import Windows
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.lab.local.prometheus_process import running_with
from latency_sweep.lab.local.sites import Scenario
from latency_sweep.lab.local.stack import Setup, console_command, running_stack
from latency_sweep.prometheus.configuration import RemoteWrite
from latency_sweep.runtime.child import Child, Priority
from latency_sweep.runtime.loopback import get_json, hold_port, port_of
from tests.e2e.terminal import Terminal
from tests.restarting import on_same_port
from tests.waiting import WITHIN_SEC, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latency_sweep.contract.timeline import Run
    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.lab.local.prometheus_process import Prometheus
    from latency_sweep.lab.local.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

COOKBOOK = Path(__file__).parents[2] / "docs" / "promql.md"
_FENCE = re.compile(r"^```promql\n(.*?)^```", re.MULTILINE | re.DOTALL)
QUERIES = [
    query.strip() for block in _FENCE.findall(COOKBOOK.read_text()) for query in block.split("\n\n")
]
SETTABLE_CLOCK = str(Path(__file__).with_name("settable_clock.py"))
ESCAPE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
# Back from the alternate screen, with a cursor.
SHOWN_AGAIN = re.compile(rb"\x1b\[\?1049l.*\x1b\[\?25h|\x1b\[\?25h.*\x1b\[\?1049l", re.DOTALL)
WINDOWS = Windows(live_sec=4, short_sec=6, long_sec=60, for_sec=2)
SCENERY = {
    "seed": 5,
    "symbols": {"BTCUSDT": {"trades_per_sec": 60.0, "book_updates_per_sec": 20.0}},
    "sites": [
        {
            "region": "ap-northeast-1",
            "zone": "ap-northeast-1a",
            "instance_type": "c6in.large",
            "feed": {"latency": {"distribution": "constant", "ms": 20.0}},
        },
        {
            "region": "eu-central-1",
            "zone": "eu-central-1a",
            "instance_type": "c6i.large",
            "feed": {
                "latency": {"distribution": "uniform", "low_ms": 100.0, "high_ms": 140.0},
                "loss": {"*": 0.05},
            },
        },
    ],
}


@dataclass(frozen=True)
class Watched:
    """A stack with a second Prometheus behind the first.

    Attributes:
        stack: the stack; its Prometheus has quick rules.
        store: receives everything from it.
        first: first run that both have seen from its beginning.
        timeline: of the runs.
    """

    stack: Stack
    store: Store
    first: Run
    timeline: Timeline

    @property
    def scraper(self) -> Prometheus:
        return self.stack.prometheus


class Store:
    """A Prometheus that scrapes nothing and takes remote write requests; may be restarted."""

    def __init__(self, binaries: Binaries, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._process = ExitStack()
        self.prometheus = self._start("127.0.0.1:0")

    @property
    def url(self) -> str:
        return self.prometheus.url

    def kill(self) -> None:
        """End it without a chance to say goodbye; its port is kept."""
        os.kill(self.prometheus.child.pid, signal.SIGKILL)
        self.stop()
        self._process.enter_context(hold_port(port_of(self.url)))

    def start_again(self) -> None:
        """On the same port, with the same data."""
        self.prometheus = self._start(self.url.removeprefix("http://"))

    def stop(self) -> None:
        """End it in good order."""
        self._process.close()

    def _start(self, address: str) -> Prometheus:
        return self._process.enter_context(
            running_with(
                "global: {}\n", self._binaries, self._folder, address=address, receiver=True
            )
        )


@pytest.fixture(scope="module")
def store(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    store = Store(prometheus_binaries, tmp_path_factory.mktemp("store"))
    yield store
    store.stop()


@pytest.fixture(scope="module")
def watched(
    prometheus_binaries: Binaries,
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    """Two places, one of them bad, after a finished run."""
    document = experiment.load().model_dump(by_alias=True)
    document |= {"name": "live-test", "time_strata": {}}
    document["timing"] = {
        "warmup_sec": 2,
        "measurement_sec": 8,
        "cooldown_sec": 2,
        "scrape_interval_sec": 1,
    }
    document["market_data"]["symbols"] = ["BTCUSDT"]
    document["decision"]["constraints"]["min_samples"] = 500
    setup = Setup(
        experiment.Experiment.model_validate(document),
        Scenario.model_validate(SCENERY),
        tmp_path_factory.mktemp("live"),
        windows=WINDOWS,
        remote_write=(RemoteWrite(f"{store.url}/api/v1/write"),),
    )
    with running_stack(setup, prometheus_binaries) as stack:
        timeline = Timeline.of(setup.experiment.timing)
        # Evidence looks back to the last sample before a run.
        sent = "count(feed_messages_total)"
        wait_until("sent on", lambda: store.prometheus.query(sent) == stack.prometheus.query(sent))
        first = timeline.run_after(timeline.run_at(time.time_ns()))
        # Everything of the run has been scraped, sent on and looked at by the rules.
        enough = first.end_ns / NS_PER_SEC + 3
        late = f"min(timestamp(feed_messages_total)) > {enough}"
        wait_until("scraped", lambda: bool(stack.prometheus.query(late)))
        wait_until("sent on to its end", lambda: bool(store.prometheus.query(late)))
        yield Watched(stack, store, first, timeline)


def alerts(watched: Watched) -> list[dict[str, Any]]:
    found = get_json(f"{watched.scraper.url}/api/v1/alerts")["data"]["alerts"]
    return [alert for alert in found if alert["state"] == "firing"]


def firing(watched: Watched) -> set[tuple[str, str]]:
    """Alert and region of everything that fires."""
    return {
        (alert["labels"]["alertname"], alert["labels"].get("region", ""))
        for alert in alerts(watched)
    }


def sweep_watch(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [console_command("sweep"), "watch", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def watch_command(url: str, watched: Watched) -> list[str]:
    config = str(watched.stack.setup.experiment_file)
    return [console_command("sweep"), "watch", "--from-prometheus", url, "--config", config]


def wait_for_numbers(watched: Watched) -> None:
    """Until a measurement has just given every place its first numbers.

    They stay for nearly a cycle of twelve seconds, to the next one's beginning.
    """
    places = len(watched.stack.probes)
    numbers = f"count(histogram_count(sum by (instance) (feed_latency_seconds)) > 0) == {places}"

    def has_begun() -> bool:
        now_ns = time.time_ns()
        measured_ns = now_ns - watched.timeline.run_at(now_ns).measure_start_ns
        early = 2 * NS_PER_SEC <= measured_ns <= 4 * NS_PER_SEC
        return early and bool(watched.scraper.query(numbers))

    wait_until("first numbers", has_begun)


def control(watched: Watched, action: str, **body: str) -> None:
    url = f"{watched.stack.exchange.control_url}/control/{action}"
    assert requests.post(url, json=body, timeout=10).ok


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_of_the_cookbook_gives_an_answer_without_a_warning(
    query: str, watched: Watched
) -> None:
    # The cookbook has the windows of a long sweep, and rules that carry them in their names.
    quick = re.sub(
        r"(?<=[:_a-z])(1m|5m|1h)\b",
        lambda found: {"1m": "4s", "5m": "6s", "1h": "1m"}[found[0]],
        query,
    )
    answer: dict[str, Any] = {}

    def is_answered() -> bool:
        # A rate of four seconds has to wait where a busy machine has left out their scrapes.
        answer.update(get_json(f"{watched.scraper.url}/api/v1/query", query=quick))
        return bool(answer["data"]["result"])

    wait_until(f"answered: {quick}", is_answered)
    assert "warnings" not in answer
    assert "infos" not in answer


def test_the_store_gives_the_same_evidence_as_the_prometheus_that_scraped(
    watched: Watched,
) -> None:
    request = EvidenceRequest(
        since=watched.first.start_ns / NS_PER_SEC, until=watched.first.end_ns / NS_PER_SEC
    )
    evidence = []
    for server in (watched.scraper, watched.store):
        with PrometheusClient(server.url) as client:
            evidence.append(collect(client, watched.stack.setup.experiment, request))
    scraped, stored = evidence
    assert scraped.runs
    assert stored.runs == scraped.runs
    assert (stored.selection, stored.warnings) == (scraped.selection, scraped.warnings)


def test_limits_that_the_bad_place_breaks_are_alerted_and_no_loss_of_the_good_one(
    watched: Watched,
) -> None:
    broken = {"FeedLatencyOverLimit", "FeedLossFastBurn"}
    wait_until("firing", lambda: {(name, "eu-central-1") for name in broken} <= firing(watched))
    # Its latency depends on how busy this machine is.
    assert ("FeedLossFastBurn", "ap-northeast-1") not in firing(watched)


def test_what_alerts_say_is_complete(watched: Watched) -> None:
    wait_until("firing", lambda: bool(alerts(watched)))
    for alert in alerts(watched):
        text = " ".join(alert["annotations"].values())
        assert "<error" not in text
        assert "<no value>" not in text


def test_watch_prints_every_candidate_once(watched: Watched) -> None:
    config = watched.stack.setup.experiment_file
    done = sweep_watch(
        "--from-prometheus", watched.scraper.url, "--config", config, "--once", COLUMNS="80"
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines) <= 80
    # Exclusions below the table name candidates too, if a scrape has failed on a busy machine.
    good, bad = (
        next(line for line in lines if name in line and not line.startswith("Excluded"))
        for name in ("Tokyo", "Frankfurt")
    )
    # Latencies depend on how busy this machine is; what is lost does not.
    assert "%!" not in good
    assert "%!" in bad


def test_watch_gives_programs_the_same_as_json(watched: Watched) -> None:
    wait_for_numbers(watched)
    config = watched.stack.setup.experiment_file
    document: dict[str, Any] = {}

    def shows_all_up() -> bool:
        # Which they are unless a scrape has just failed on a busy machine.
        done = sweep_watch(
            "--from-prometheus", watched.scraper.url, "--config", config, "--once", "--json"
        )
        document.update(json.loads(done.stdout))
        return {each["probes_up"] for each in document["candidates"]} == {1}

    wait_until("all up", shows_all_up)
    candidates = {each["instance_type"]: each for each in document["candidates"]}
    good, bad = candidates["c6in.large"], candidates["c6i.large"]
    # The delays that are planted are the least that there can be.
    assert 0.0199 < good["p50_sec"] <= good["p99_sec"] <= good["p999_sec"]
    assert 0.0999 < bad["p50_sec"] <= bad["p99_sec"] <= bad["p999_sec"]
    assert document["candidates"] == sorted(
        document["candidates"], key=lambda each: each["p99_sec"]
    )
    assert bad["loss_ratio"] == pytest.approx(0.05, rel=0.5)
    assert good["loss_ratio"] == 0
    assert document["phase"] in {"warmup", "measure", "cooldown"}


@pytest.mark.parametrize(
    ("leave", "code"),
    [
        (lambda terminal: terminal.type(b"q"), 0),
        (lambda terminal: terminal.type(b"\x03"), 0),
        (lambda terminal: terminal.process.terminate(), 143),
    ],
    ids=["q", "ctrl-c", "sigterm"],
)
def test_live_watch_leaves_the_terminal_as_it_was(
    leave: Callable[[Terminal], None], code: int, watched: Watched
) -> None:
    with Terminal(watch_command(watched.scraper.url, watched)) as terminal:
        terminal.wait_for(b"breaks a limit")
        assert terminal.settings_changed
        leave(terminal)
        assert terminal.exit_code() == code
        assert SHOWN_AGAIN.search(terminal.seen)
        assert not terminal.settings_changed


@pytest.mark.parametrize("columns", [80, 200])
def test_live_watch_fills_its_terminal_and_no_more(columns: int, watched: Watched) -> None:
    with Terminal(watch_command(watched.scraper.url, watched), columns=columns) as terminal:
        terminal.wait_for(b"breaks a limit")
        screen = ESCAPE.sub("", terminal.seen.decode())
        terminal.type(b"q")
        assert terminal.exit_code() == 0
    lines = [line.rstrip() for line in screen.splitlines()]
    assert max(map(len, lines)) <= columns
    assert not [line for line in lines if "…" in line]
    assert ("Latencies in ms" in screen) == (columns == 200)


def test_watch_names_the_experiments_that_are_there(watched: Watched) -> None:
    done = sweep_watch(
        "--from-prometheus", watched.scraper.url, "--once", "--experiment-id", "other"
    )
    assert done.returncode == 6
    assert "choose one with --experiment-id: live-test." in done.stderr


def test_live_watch_outlives_a_prometheus_that_is_killed_and_started_again(
    watched: Watched,
) -> None:
    with Terminal(watch_command(watched.store.url, watched)) as terminal:
        terminal.wait_for(b"breaks a limit")
        watched.store.kill()
        terminal.wait_for(b"trying again")
        watched.store.start_again()
        terminal.wait_for(b"breaks a limit", without=b"trying again")
        terminal.type(b"q")
        assert terminal.exit_code() == 0


# From here on the stack is broken and mended: each test leaves it whole, with some scars.


def test_messages_that_get_lost_are_alerted_until_no_more_are(watched: Watched) -> None:
    lost = ("FeedLossFastBurn", "ap-northeast-1")
    place = watched.stack.probes[0].site.name

    def lose_some() -> bool:
        control(watched, "stall", site=place, mode="drop")
        time.sleep(0.3)
        control(watched, "resume", site=place)
        return lost in firing(watched)

    wait_until("firing", lose_some)
    wait_until("resolved", lambda: lost not in firing(watched))


def test_a_stalled_feed_is_alerted_until_it_goes_on(watched: Watched) -> None:
    silent = ("FeedProbeStalled", watched.stack.probes[0].site.region)
    place = watched.stack.probes[0].site.name

    def fires_while_stalled() -> bool:
        control(watched, "stall", site=place)  # the connections of a new run, too
        return silent in firing(watched)

    wait_until("firing", fires_while_stalled)
    control(watched, "resume", site=place)
    wait_until("resolved", lambda: silent not in firing(watched))


def test_a_probe_that_is_killed_is_alerted_until_it_is_back(
    watched: Watched, tmp_path: Path
) -> None:
    probe = watched.stack.probes[0]
    command = on_same_port(probe)
    failing = ("FeedScrapeFailing", probe.site.region)
    os.kill(probe.child.pid, signal.SIGKILL)
    probe.child.wait(within_sec=WITHIN_SEC)
    with hold_port(port_of(probe.url)):
        wait_until("firing", lambda: failing in firing(watched))
        with Child("probe-again", command, folder=tmp_path, priority=Priority.PROMPT):
            wait_until("resolved", lambda: failing not in firing(watched))


def test_a_clock_that_is_set_is_alerted_until_it_runs_evenly(
    watched: Watched, tmp_path: Path
) -> None:
    """Takes the place of the other probe, so that it comes after nothing that needs it."""
    probe = watched.stack.probes[1]
    interpreter, _script, *arguments = on_same_port(probe)
    command = [interpreter, SETTABLE_CLOCK, "latency_sweep.probe.cli", *arguments]
    stepped = ("FeedClockStepped", probe.site.region)
    probe.child.stop()
    with (
        hold_port(port_of(probe.url)),
        Child("probe-settable", command, folder=tmp_path, priority=Priority.PROMPT) as child,
    ):
        child.wait_until(
            lambda: b"\n" in child.output.read_bytes(), within_sec=WITHIN_SEC, what="get ready"
        )
        steps = f'timestamp(feed_clock_steps_total{{instance="{probe.instance}"}}) > {time.time()}'
        wait_until("scraped", lambda: bool(watched.scraper.query(steps)))
        assert stepped not in firing(watched)
        os.kill(child.pid, signal.SIGUSR1)
        wait_until("firing", lambda: stepped in firing(watched))
        wait_until("resolved", lambda: stepped not in firing(watched))
