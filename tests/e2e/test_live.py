"""What is looked at while a sweep runs, on a real stack with faults injected.

A second Prometheus receives everything by remote write from the one that scrapes.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from analysis.evidence import Request, collect
from analysis.prometheus_api import PrometheusClient
from deploy.local.child import Child
from deploy.local.loopback import get_json
from deploy.local.places import Scenery
from deploy.local.prometheus_process import Prometheus
from deploy.local.stack import Setup, console_command, running_stack
from probe.contract import experiment
from probe.contract.timeline import NS_PER_SEC, Timeline
from prometheus.configuration import PrometheusSettings, RemoteWrite, flags, render
from prometheus.rules import generate
from prometheus.rules.generate import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploy.local.prometheus_binary import Binaries
    from deploy.local.stack import Stack
    from probe.contract.timeline import Run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

COOKBOOK = Path(__file__).parents[2] / "docs" / "promql.md"
_FENCE = re.compile(r"^```promql\n(.*?)^```", re.MULTILINE | re.DOTALL)
QUERIES = [
    query.strip() for block in _FENCE.findall(COOKBOOK.read_text()) for query in block.split("\n\n")
]
PACE = Pace(live_sec=4, short_sec=6, long_sec=60, patience_sec=2)
WITHIN_SEC = 60
SCENERY = {
    "seed": 5,
    "symbols": {"BTCUSDT": {"trades_per_sec": 60.0, "book_updates_per_sec": 20.0}},
    "places": [
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
    store: Prometheus
    first: Run
    timeline: Timeline

    @property
    def scraper(self) -> Prometheus:
        return self.stack.prometheus


def wait_until(what: str, condition: Callable[[], bool], within_sec: float = WITHIN_SEC) -> None:
    deadline = time.monotonic() + within_sec
    while not condition():
        assert time.monotonic() < deadline, f"not {what} within {within_sec} s"
        time.sleep(0.2)


def is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def store(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes nothing and takes remote write requests."""
    folder = tmp_path_factory.mktemp("store")
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")
    options = flags(
        prometheus_binaries.version,
        config_file=config,
        data=folder / "tsdb",
        listen="127.0.0.1:0",
        receiver=True,
    )
    with Child("store", [prometheus_binaries.prometheus, *options], folder=folder) as child:
        listening = re.compile(rb"Listening on.*?address=(127\.0\.0\.1:\d+)")
        child.wait_until(
            lambda: listening.search(child.log.read_bytes()) is not None,
            within_sec=WITHIN_SEC,
            what="listen",
        )
        found = listening.search(child.log.read_bytes())
        assert found is not None
        url = f"http://{found.group(1).decode()}"
        wait_until("ready", lambda: is_ready(url))
        yield Prometheus(url, child)


@pytest.fixture(scope="module")
def watched(
    prometheus_binaries: Binaries,
    store: Prometheus,
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
        Scenery.model_validate(SCENERY),
        tmp_path_factory.mktemp("live"),
    )
    with running_stack(setup, prometheus_binaries) as stack:
        _reconfigure(stack, prometheus_binaries, store)
        timeline = Timeline.of(setup.experiment.timing)
        # Evidence looks back to the last sample before a run.
        sent = "count(feed_messages_total)"
        wait_until("sent on", lambda: store.query(sent) == stack.prometheus.query(sent))
        first = timeline.run_after(timeline.run_at(time.time_ns()))
        # Everything of the run has been scraped, sent on and looked at by the rules.
        enough = first.end_ns / NS_PER_SEC + 3
        wait_until("over", lambda: time.time() > enough)
        yield Watched(stack, store, first, timeline)


def _reconfigure(stack: Stack, binaries: Binaries, store: Prometheus) -> None:
    """Give the scraper quick rules and a store, and wait until it has taken them."""
    folder = stack.setup.folder / "prometheus"
    file = folder / "prometheus.yml"
    rules = generate.write(folder, stack.setup.experiment, PACE)
    settings = PrometheusSettings(
        version=binaries.version,
        experiment="unused",
        regions=(),
        scrape_interval_sec=1,
        rule_files=rules,
        remote_write=(RemoteWrite(f"{store.url}/api/v1/write"),),
    )
    wanted = yaml.safe_load(render(settings))
    running = yaml.safe_load(file.read_text())
    running |= {"rule_files": wanted["rule_files"], "remote_write": wanted["remote_write"]}
    file.write_text(yaml.safe_dump(running))
    os.kill(stack.prometheus.child.pid, signal.SIGHUP)
    wait_until("reloaded", lambda: "place:feed_latency_seconds:p99_6s" in _rule_names(stack))


def _rule_names(stack: Stack) -> set[str]:
    groups = get_json(f"{stack.prometheus.url}/api/v1/rules")["data"]["groups"]
    return {rule["name"] for group in groups for rule in group["rules"]}


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


class Gate:
    """Forwards to a server, or refuses as one that restarts.

    Attributes:
        url: its own address.
        refuses: whether it answers 503 itself.
    """

    def __init__(self, server: str, url: str) -> None:
        self.server = server
        self.url = url
        self.refuses = False


@contextmanager
def refusing_gate(server: str) -> Iterator[Gate]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, content = 503, b"restarting"
            if not gate.refuses:
                form = {"Content-Type": self.headers["Content-Type"]}
                answer = requests.post(gate.server + self.path, body, headers=form, timeout=10)
                status, content = answer.status_code, answer.content
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        gate = Gate(server, f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield gate
        finally:
            http.shutdown()
            thread.join()


def read_until(terminal: int, text: bytes, without: bytes | None = None) -> None:
    """Read what a terminal shows, until a screen has one text and not another."""
    seen = b""
    deadline = time.monotonic() + WITHIN_SEC
    while text not in seen or (without is not None and without in seen):
        assert time.monotonic() < deadline, seen
        if without is not None and without in seen:
            seen = b""
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 65536)


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
    answer = get_json(f"{watched.scraper.url}/api/v1/query", query=quick)
    assert answer["data"]["result"], quick
    assert "warnings" not in answer
    assert "infos" not in answer


def test_the_store_gives_the_same_evidence_as_the_prometheus_that_scraped(
    watched: Watched,
) -> None:
    request = Request(
        since=watched.first.start_ns / NS_PER_SEC, until=watched.first.end_ns / NS_PER_SEC
    )
    evidence = []
    for server in (watched.scraper, watched.store):
        with PrometheusClient(server.url) as client:
            evidence.append(collect(client, watched.stack.setup.experiment, request))
    scraped, stored = evidence
    assert scraped.runs
    assert stored.runs == scraped.runs
    assert (stored.scope, stored.warnings) == (scraped.scope, scraped.warnings)


def test_limits_that_the_bad_place_breaks_are_alerted_and_no_others(watched: Watched) -> None:
    expected = {("FeedLatencyOverLimit", "eu-central-1"), ("FeedLossFastBurn", "eu-central-1")}
    wait_until("firing", lambda: expected <= firing(watched))
    assert not [name for name, region in firing(watched) if region == "ap-northeast-1"]


def test_what_alerts_say_is_complete(watched: Watched) -> None:
    wait_until("firing", lambda: bool(alerts(watched)))
    for alert in alerts(watched):
        text = " ".join(alert["annotations"].values())
        assert "<error" not in text
        assert "<no value>" not in text


def test_watch_prints_every_place_once(watched: Watched) -> None:
    config = watched.stack.setup.experiment_file
    done = sweep_watch(
        "--prometheus", watched.scraper.url, "--config", config, "--once", COLUMNS="80"
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines) <= 80
    good, bad = (
        next(line for line in lines if name in line) for name in ("c6in.large", "c6i.large")
    )
    assert lines.index(good) < lines.index(bad)
    assert "!" not in good
    assert "!" in bad


def test_watch_gives_programs_the_same_as_json(watched: Watched) -> None:
    config = watched.stack.setup.experiment_file
    done = sweep_watch(
        "--prometheus", watched.scraper.url, "--config", config, "--once", "--output", "json"
    )
    document = json.loads(done.stdout)
    best, worst = document["places"]
    assert best["instance_type"] == "c6in.large"
    assert best["p99_sec"] == pytest.approx(0.02, rel=0.5)
    assert worst["p99_sec"] == pytest.approx(0.14, rel=0.2)
    assert worst["loss_ratio"] == pytest.approx(0.05, rel=0.5)
    assert best["loss_ratio"] == 0
    assert {place["probes_up"] for place in document["places"]} == {1}
    assert document["phase"] in {"warmup", "measure", "cooldown"}


def test_live_watch_outlives_a_server_that_hangs_up_and_ends_with_ctrl_c(watched: Watched) -> None:
    config = watched.stack.setup.experiment_file
    with refusing_gate(watched.scraper.url) as gate:
        controller, terminal = pty.openpty()
        arguments = ["--prometheus", gate.url, "--config", str(config)]
        command = [console_command("sweep"), "watch", *arguments]
        with subprocess.Popen(command, stdin=terminal, stdout=terminal) as process:
            os.close(terminal)
            try:
                read_until(controller, b"c6in.large")
                gate.refuses = True
                read_until(controller, b"trying again")
                gate.refuses = False
                # A fresh table follows the last one that was too old.
                read_until(controller, b"breaks a limit\x1b[0m", without=b"trying again")
            finally:
                process.send_signal(signal.SIGINT)
                os.set_blocking(controller, False)
            assert process.wait(WITHIN_SEC) == 0
        os.close(controller)


def test_watch_names_the_experiments_that_are_there(watched: Watched) -> None:
    done = sweep_watch("--prometheus", watched.scraper.url, "--once", "--experiment", "other")
    assert done.returncode == 6
    assert "name one with --experiment: live-test." in done.stderr


def test_a_stalled_feed_is_alerted_until_it_goes_on(watched: Watched) -> None:
    """Last but one, because it stops the market."""
    control = f"{watched.stack.exchange.control_url}/control"
    assert requests.post(f"{control}/stall", json={}, timeout=10).ok
    silent = {("FeedProbeSilent", "ap-northeast-1"), ("FeedProbeSilent", "eu-central-1")}
    wait_until("firing", lambda: bool(silent & firing(watched)))
    assert requests.post(f"{control}/resume", json={}, timeout=10).ok
    wait_until("resolved", lambda: not silent & firing(watched))


def test_a_probe_that_is_killed_is_alerted(watched: Watched) -> None:
    """Last, because it ends a probe."""
    probe = watched.stack.probes[0]
    os.kill(probe.child.pid, signal.SIGKILL)
    wait_until("firing", lambda: ("FeedScrapeFailing", probe.place.region) in firing(watched))
