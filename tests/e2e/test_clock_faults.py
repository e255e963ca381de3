"""Hosts whose clock is wrong, beside one whose clock is right: seen, flagged and left out.

The real probe and the real doctor run with a clock that is wrong in every way in which they can
ask for it (`wrong_clock.c`), against an exchange, a Prometheus and an analysis with the right one.
The source of their clock calls it right, as one does whose own time server is wrong; so only the
exchange's clock, and the step itself, can show the fault. A drift of 50 ppm is scaled in time by
100: 5,000 ppm, and the exchange asked every half second instead of every minute.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import shutil
import struct
import subprocess
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from latency_sweep.analysis.cli import verdict_codes
from latency_sweep.contract import experiment
from latency_sweep.contract.metrics import JOB
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.lab.exchange import config as exchange_config
from latency_sweep.lab.exchange.process import ExchangeProcess
from latency_sweep.lab.local.environment import clean_environment
from latency_sweep.lab.local.prometheus_process import running_with
from latency_sweep.lab.local.stack import console_command
from latency_sweep.prometheus.version import NATIVE_HISTOGRAMS_BY_CONFIG
from latency_sweep.runtime.child import Child, Priority
from latency_sweep.runtime.loopback import get

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latency_sweep.contract.timeline import Run
    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.lab.local.prometheus_process import Prometheus

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(400)]

SOURCE = Path(__file__).with_name("wrong_clock.c")
WITHIN_SEC = 60.0
SECOND_NS = 1_000_000_000
SCALE = 100
DRIFT_PPB = 50_000 * SCALE
STEP_NS = 300_000_000
RIGHT, SECOND, DRIFTING, STEPPING = PLACES = ("i-right", "i-second", "i-drifting", "i-stepping")
FREE = "i-free-running"
EXPERIMENT = "clock-faults"


class Clock:
    """What is wrong with the clock of a process, changeable while it runs."""

    def __init__(self, library: Path, file: Path) -> None:
        file.write_bytes(bytes(32))
        self.environment = {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(file)}
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), 32)

    def set_by(self, offset_ns: int) -> None:
        """Set it, once more."""
        (before,) = struct.unpack_from("q", self._map, 0)
        struct.pack_into("q", self._map, 0, before + offset_ns)

    def drift(self, rate_ppb: int) -> None:
        """Let it run too fast from now on."""
        struct.pack_into("qq", self._map, 8, rate_ppb, time.monotonic_ns())

    def follow_nothing(self) -> None:
        """No daemon disciplines it."""
        struct.pack_into("q", self._map, 24, 1)

    def close(self) -> None:
        self._map.close()


@pytest.fixture(scope="module")
def new_clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Clock]]:
    """Makes clocks, right until told otherwise."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a wrong clock needs a C compiler")
    folder = tmp_path_factory.mktemp("clocks")
    library = folder / "wrong_clock.so"
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *options, "-o", library, SOURCE, "-ldl"], check=True)
    with ExitStack() as cleanup:
        made: list[Clock] = []

        def make() -> Clock:
            made.append(Clock(library, folder / f"{len(made)}.clock"))
            return cleanup.enter_context(closing(made[-1]))

        yield make


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeProcess]:
    """The same market for every place, 20 ms away."""
    config = exchange_config.ExchangeConfig(
        sites={
            place: exchange_config.SiteConfig(latency=exchange_config.Constant(ms=20.0))
            for place in PLACES
        },
        symbols={"BTCUSDT": exchange_config.Symbol(trades_per_sec=250.0)},
    )
    with ExchangeProcess(config, tmp_path_factory.mktemp("exchange")) as running:
        yield running


def flags_of_probe(exchange: ExchangeProcess, place: str) -> list[str]:
    return [
        *("--symbols", "BTCUSDT", "--streams", "trade"),
        *("--endpoint", exchange.url(place), "--time-endpoint", exchange.time_url),
    ]


@dataclass(frozen=True)
class Measured:
    """Two runs of all places, and a Prometheus that knows them.

    Attributes:
        prometheus: still running.
        runs: the runs; a clock was set in the second.
        verdict: what `analyze` says, as JSON.
    """

    prometheus: Prometheus
    runs: tuple[Run, Run]
    verdict: dict[str, Any]

    def value(self, expression: str) -> float:
        """Evaluate PromQL at the end of the last run; of one series."""
        answer = get(
            f"{self.prometheus.url}/api/v1/query",
            query=expression,
            time=str(self.runs[1].end_ns / NS_PER_SEC),
        ).json()
        (series,) = answer["data"]["result"]
        return float(series["value"][1])

    def row(self, place: str) -> dict[str, Any]:
        """What the verdict says of a place."""
        zone = {"az_id": place}
        (row,) = [
            row
            for row in self.verdict["ranking"]
            if zone.items() <= dict(zip(*row["candidate"].values(), strict=True)).items()
        ]
        return dict(row)

    def reasons(self, place: str) -> list[list[str]]:
        """Why each run of a place is left out."""
        return [run["reasons"] for run in self.row(place)["runs"]]


@pytest.fixture(scope="module")
def measured(
    exchange: ExchangeProcess,
    new_clock: Callable[[], Clock],
    prometheus_binaries: Binaries,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Measured]:
    folder = tmp_path_factory.mktemp("places")
    document = experiment.load().model_dump(by_alias=True)
    document |= {"name": EXPERIMENT, "time_strata": {}}
    timing = {"warmup_sec": 2, "measurement_sec": 4, "cooldown_sec": 2, "scrape_interval_sec": 1}
    document["timing"] = timing
    document["market_data"] |= {"symbols": ["BTCUSDT"], "streams": ["trade"]}
    config = folder / "experiment.yaml"
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    timeline = Timeline.of(experiment.load(config).timing)
    clocks = {place: new_clock() for place in PLACES}
    clocks[SECOND].set_by(SECOND_NS)
    clocks[DRIFTING].drift(DRIFT_PPB)
    with ExitStack() as cleanup:
        probes = {}
        for place, clock in clocks.items():
            command = [console_command("probe"), "run", "--config", str(config)]
            command += flags_of_probe(exchange, place)
            command += ["--clock-source", "shared", "--time-interval-sec", "0.5"]
            # A capture reads timestamps from memory that the kernel writes: no library is asked.
            command += ["--metrics-port", "0", "--timestamps", "socket"]
            probes[place] = cleanup.enter_context(
                Child(
                    place,
                    command,
                    folder=folder,
                    environment=clean_environment(**clock.environment),
                    priority=Priority.PROMPT,
                )
            )
        targets = {place: address(probe) for place, probe in probes.items()}
        prometheus = cleanup.enter_context(scraped(targets, prometheus_binaries, folder))
        runs = next_runs(timeline)
        sleep_until(runs[1].measure_start_ns + 2 * NS_PER_SEC)
        clocks[STEPPING].set_by(STEP_NS)
        # Until the next run's measurement the last totals are exposed.
        sleep_until(runs[1].end_ns + NS_PER_SEC)
        yield Measured(prometheus, runs, analyze(prometheus, config, runs))
        for probe in probes.values():
            probe.ask_to_stop()


def address(probe: Child) -> str:
    """Host and port of a probe's metrics."""
    probe.wait_until(
        lambda: b"\n" in probe.output.read_bytes(), within_sec=WITHIN_SEC, what="get ready"
    )
    url: str = json.loads(probe.output.read_bytes().splitlines()[0])["metrics_url"]
    return url.removeprefix("http://")


@contextmanager
def scraped(targets: dict[str, str], binaries: Binaries, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that has scraped each of these targets."""
    labels = {
        "region": "ap-northeast-1",
        "instance_type": "c6in.large",
        "architecture": "x86_64",
        "experiment": EXPERIMENT,
    }
    job: dict[str, Any] = {
        "job_name": JOB,
        "static_configs": [
            {"targets": [target], "labels": {**labels, "instance": place, "az_id": place}}
            for place, target in targets.items()
        ],
    }
    if binaries.version >= NATIVE_HISTOGRAMS_BY_CONFIG:
        job["scrape_native_histograms"] = True
    intervals = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    configuration = yaml.safe_dump({"global": intervals, "scrape_configs": [job]})
    with running_with(configuration, binaries, folder) as prometheus:
        prometheus.child.wait_until(
            lambda: scrapes(prometheus) == set(targets), within_sec=WITHIN_SEC, what="scrape"
        )
        yield prometheus


def scrapes(prometheus: Prometheus) -> set[str]:
    """The targets that are up."""
    with suppress(requests.RequestException):
        up = prometheus.query(f'up{{job="{JOB}"}} == 1')
        return {labels["instance"] for labels, _ in up}
    return set()


def next_runs(timeline: Timeline) -> tuple[Run, Run]:
    """The next two that begin while everything is running."""
    first = timeline.run_after(timeline.run_at(time.time_ns()))
    return first, timeline.run_after(first)


def sleep_until(unix_ns: int) -> None:
    time.sleep(max(0, unix_ns - time.time_ns()) / NS_PER_SEC)


def analyze(prometheus: Prometheus, config: Path, runs: tuple[Run, Run]) -> dict[str, Any]:
    """The verdict of the command."""
    command = [
        console_command("analyze"),
        *("--from-prometheus", prometheus.url, "--config", str(config), "--output", "json"),
        *("--since", str(runs[0].start_ns / NS_PER_SEC)),
        *("--until", str(runs[1].end_ns / NS_PER_SEC)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in verdict_codes.OF_VERDICT.values(), done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


def of_clock(reasons: list[str]) -> list[str]:
    return [reason for reason in reasons if "clock" in reason]


def test_a_place_whose_clock_is_right_is_evidence(measured: Measured) -> None:
    assert [of_clock(reasons) for reasons in measured.reasons(RIGHT)] == [[], []]
    apart = f'abs(feed_exchange_clock_offset_seconds{{instance="{RIGHT}"}})'
    known = f'feed_exchange_clock_error_bound_seconds{{instance="{RIGHT}"}}'
    assert measured.value(apart) <= measured.value(known)
    assert measured.value(f'feed_clock_steps_total{{instance="{RIGHT}"}}') == 0


def test_a_clock_wrong_by_a_second_shows_in_the_offset_to_the_exchange(
    measured: Measured,
) -> None:
    offset_sec = measured.value(f'feed_exchange_clock_offset_seconds{{instance="{SECOND}"}}')
    bound_sec = measured.value(f'feed_exchange_clock_error_bound_seconds{{instance="{SECOND}"}}')
    assert abs(offset_sec + 1.0) <= bound_sec


def test_a_clock_wrong_by_a_second_falsifies_every_latency_and_so_none_is_used(
    measured: Measured,
) -> None:
    row = measured.row(SECOND)
    assert row["runs_used"] == 0
    for run in row["runs"]:
        assert run["p50_sec"] > 1.0
        assert any(f"the clock of {SECOND} and the exchange's" in r for r in run["reasons"])


def test_a_clock_that_drifts_shows_in_its_rate(measured: Measured) -> None:
    ratio = measured.value(f'feed_exchange_clock_drift_ratio{{instance="{DRIFTING}"}}')
    bound = measured.value(f'feed_exchange_clock_drift_error_bound_ratio{{instance="{DRIFTING}"}}')
    # Seen from a clock that is too fast, the other one loses.
    assert abs(ratio - (1 / (1 + DRIFT_PPB * 1e-9) - 1)) <= bound < DRIFT_PPB * 1e-9


def test_a_clock_that_drifts_is_not_one_that_is_set(measured: Measured) -> None:
    assert measured.value(f'feed_clock_steps_total{{instance="{DRIFTING}"}}') == 0


def test_runs_of_a_clock_that_drifts_are_left_out(measured: Measured) -> None:
    for reasons in measured.reasons(DRIFTING):
        assert any("drifted apart by at least" in reason for reason in reasons), reasons


def test_a_step_is_counted_and_the_offset_follows_at_once(measured: Measured) -> None:
    assert measured.value(f'feed_clock_steps_total{{instance="{STEPPING}"}}') == 1
    offset_sec = measured.value(f'feed_exchange_clock_offset_seconds{{instance="{STEPPING}"}}')
    bound_sec = measured.value(f'feed_exchange_clock_error_bound_seconds{{instance="{STEPPING}"}}')
    assert abs(offset_sec + STEP_NS / NS_PER_SEC) <= bound_sec


def test_only_the_run_in_which_the_clock_was_set_is_left_out(measured: Measured) -> None:
    before, after = measured.reasons(STEPPING)
    assert of_clock(before) == []
    assert f"the clock of {STEPPING} was set once during the run" in after


@dataclass
class Patient:
    """A host that the doctor looks at.

    Attributes:
        clock: its clock.
        flags: further flags of the doctor.
        meanwhile: happens again and again while the doctor is at work.
    """

    clock: Clock
    flags: tuple[str, ...] = ("--clock-source", "shared")
    meanwhile: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor said.

    Attributes:
        code: its exit code.
        results: by the name of the check.
    """

    code: int
    results: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def diagnoses(
    exchange: ExchangeProcess, new_clock: Callable[[], Clock]
) -> Iterator[dict[str, Diagnosis]]:
    """Hosts with some clock, all looked at at once."""
    patients = {name: Patient(new_clock()) for name in (RIGHT, SECOND, DRIFTING, STEPPING, FREE)}
    patients[SECOND].clock.set_by(SECOND_NS)
    patients[DRIFTING].clock.drift(DRIFT_PPB)
    # So long that neither a slow answer hides the drift, nor a pause of this process the steps.
    for name in (DRIFTING, STEPPING):
        patients[name].flags += ("--watch-sec", "10")
    patients[STEPPING].meanwhile = lambda: patients[STEPPING].clock.set_by(SECOND_NS // 1000)
    patients[FREE].clock.follow_nothing()
    patients[FREE].flags = ("--clock-source", "kernel")
    command = [console_command("probe"), "doctor", "--json", *flags_of_probe(exchange, RIGHT)]
    with ExitStack() as cleanup:
        processes = {
            name: cleanup.enter_context(
                subprocess.Popen(
                    [*command, *patient.flags],
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, **patient.clock.environment},
                )
            )
            for name, patient in patients.items()
        }
        while any(process.poll() is None for process in processes.values()):
            for patient in patients.values():
                patient.meanwhile()
            time.sleep(0.1)
        yield {name: diagnosis(process) for name, process in processes.items()}


def diagnosis(ended: subprocess.Popen[str]) -> Diagnosis:
    assert ended.stdout is not None
    document = json.load(ended.stdout)
    return Diagnosis(ended.returncode, {result["name"]: result for result in document["results"]})


def test_the_doctor_has_nothing_against_a_clock_that_is_right(
    diagnoses: dict[str, Diagnosis],
) -> None:
    found = diagnoses[RIGHT].results
    passing = ("clock", "clock steps", "exchange clock")
    assert [found[name]["status"] for name in passing] == ["PASS"] * len(passing)
    assert found["clock drift"]["status"] != "FAIL"


@pytest.mark.parametrize(
    ("host", "check", "found", "action"),
    [
        # To as many digits as are known when an answer takes some hundredths of a second.
        pytest.param(
            SECOND,
            "exchange clock",
            r"(1|1\.0\d) s ahead|9\d\d ms ahead",
            "chronyc makestep",
            id="a second",
        ),
        pytest.param(DRIFTING, "clock drift", r"\+", "chronyc tracking", id="a drift"),
        pytest.param(STEPPING, "clock steps", "set forward", "only one daemon", id="a step"),
        pytest.param(FREE, "clock", "kernel: bound 16 s", "169.254.169.123", id="undisciplined"),
    ],
)
def test_the_doctor_fails_a_wrong_clock_and_says_what_to_do(
    diagnoses: dict[str, Diagnosis], host: str, check: str, found: str, action: str
) -> None:
    result = diagnoses[host].results[check]
    assert (diagnoses[host].code, result["status"]) == (1, "FAIL"), result
    assert re.match(found, result["found"])
    assert action in result["action"]
