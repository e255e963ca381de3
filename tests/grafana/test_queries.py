"""Every query of every dashboard against a real Prometheus: one with data, and an empty one."""

from __future__ import annotations

import io
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import requests
from rich.console import Console

from latency_sweep.analysis.stats.inference import fewest_pairs
from latency_sweep.contract import experiment, metrics
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.grafana.boards.probe_health import ALLOWANCES
from latency_sweep.grafana.dashboard_queries import DashboardQuery, all_queries
from latency_sweep.lab.local.prometheus_process import running_prometheus
from latency_sweep.lab.local.recording import first_run
from latency_sweep.lab.local.sites import Scenario
from latency_sweep.lab.local.stack import Setup, running_stack
from latency_sweep.lab.local.watch import schedule, watch
from latency_sweep.prometheus.configuration import PrometheusSettings
from latency_sweep.runtime.progress import ProgressDisplay
from tests.restarting import restarted
from tests.waiting import says_yes, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.lab.local.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

# Streams of the other markets, and those that decide.
OTHER_MARKETS = {
    "usdm": (["aggTrade", "depth@100ms", "bookTicker"], ["aggTrade", "depth"]),
    "sbe": (["trade", "depth", "bestBidAsk"], ["trade", "depth"]),
}
# Labels that one column of a table brings along.
ADDED = {"version", "city"}
RUNS = 2
EVIDENCE = (
    "Runs measured",
    "Usable runs needed",
    "Fewest usable runs",
    "Time to an answer, at least",
)
CANDIDATES = 2
SCRAPE_SEC = 1
# Longer than the faults are brought about in, however busy the machine.
LOOKED_BACK_SEC = 300
SLOW_SEC = 1.0
FEED = {"latency": {"distribution": "lognormal", "floor_ms": 10.0, "median_ms": 5.0, "sigma": 0.5}}
SCENARIO = {
    "seed": 5,
    "sites": [
        {
            "region": region,
            "zone": f"{region}a",
            "instance_type": "c6i.large",
            "feed": {**FEED, "loss": {"trade": 0.02}},
        }
        for region in ("ap-northeast-1", "eu-central-1")
    ],
}
# Metrics that the local stack cannot have, and why.
WITHOUT_DATA = dict.fromkeys(ALLOWANCES, "node_exporter reads them from an instance's ENA driver")
# What there is no reason for in the other markets, where nothing goes wrong.
UNEVENTFUL = dict.fromkeys(
    (
        "annotation Unplanned reconnects",
        "annotation Probe restarts",
        metrics.ERRORS.name,
        metrics.HTTP_REJECTED_REQUESTS.name,
    ),
    "only the spot market has faults injected",
)
QUERIES = all_queries()
EACH = pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.id)


@dataclass(frozen=True)
class Server:
    """A Prometheus, what the variables are set to, and the moment all queries are about.

    Attributes:
        url: of its HTTP API.
        values: of the variables, by name.
        now: Unix seconds.
        answers: so far, by the query's id.
    """

    url: str
    values: dict[str, str]
    now: float
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def ask(self, query: DashboardQuery) -> dict[str, Any]:
        """Ask as Grafana does, once; the answer's document."""
        if query.id not in self.answers:
            self.answers[query.id] = self._answer(query)
        return self.answers[query.id]

    def took_sec(self, query: DashboardQuery) -> float:
        """How long an answer takes, when it is asked for once more."""
        return float(self._answer(query)["took_sec"])

    def _answer(self, query: DashboardQuery) -> dict[str, Any]:
        asked = query.substituted(self.values)
        if asked.kind == "variable":
            selector, label = asked.label_values
            span = {"start": self.now - LOOKED_BACK_SEC, "end": self.now}
            return self._get(f"label/{label}/values", {"match[]": selector, **span})
        if asked.instant:
            return self._get("query", {"query": asked.expr, "time": self.now})
        step = asked.step_sec or SCRAPE_SEC
        span = {"start": self.now - LOOKED_BACK_SEC // step * step, "end": self.now, "step": step}
        return self._get("query_range", {"query": asked.expr, **span})

    def _get(self, path: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30)
        document: dict[str, Any] = answer.json()
        assert document["status"] == "success", document
        return {**document, "took_sec": answer.elapsed.total_seconds()}


def _setup(market: str, folder: Path) -> Setup:
    document = experiment.load().model_dump(by_alias=True)
    document |= {"name": f"dashboards-{market}", "time_strata": {}}
    document["timing"] = {
        "warmup_sec": 2,
        "measurement_sec": 5,
        "cooldown_sec": 1,
        "scrape_interval_sec": SCRAPE_SEC,
    }
    if market in OTHER_MARKETS:
        streams, evidence = OTHER_MARKETS[market]
        document["market_data"] |= {"market": market, "streams": streams, "symbols": ["BTCUSDT"]}
        document["decision"]["evidence_streams"] = evidence
    parsed = experiment.Experiment.model_validate(document)
    # Nothing here is timed, and it must not hold up what is measured meanwhile.
    return Setup(parsed, Scenario.model_validate(SCENARIO), folder, urgent=False)


@pytest.fixture(scope="module")
def measured(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Two candidates after two short runs, a lost connection, a bad frame, a restarted probe."""
    setup = _setup("spot", tmp_path_factory.mktemp("dashboards"))
    with running_stack(setup, prometheus_binaries) as stack:
        timeline = Timeline.of(setup.experiment.timing)
        runs = schedule(timeline, first_run(timeline, time.time_ns()), RUNS)
        watch(stack, runs, ProgressDisplay(Console(file=io.StringIO())))
        first, second = stack.probes
        _control(stack, "send", site=first.site.name, text="no JSON")
        _until(stack, "sum(feed_errors_total) > 0")
        assert not requests.get(f"{first.url}/favicon.ico", timeout=10).ok
        _until(stack, "sum(feed_http_rejected_requests_total) > 0")
        _until(stack, "count(feed_exchange_clock_drift_ratio)")
        _control(stack, "disconnect", site=first.site.name)
        with restarted(second, setup):
            _until(stack, 'sum(feed_reconnects_total{reason!~"schedule|rollover"}) > 0')
            _until(stack, "max(changes(process_start_time_seconds[1m])) > 0")
            _until(stack, "min(feed_connected) == 1")
            yield Server(
                stack.prometheus.url, _variables(setup.experiment), _when_rates_exist(stack)
            )


@pytest.fixture(scope="module")
def elsewhere(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Server]]:
    """The other markets, where nothing goes wrong, once a run has followed another."""
    with ExitStack() as cleanup:
        stacks = [
            cleanup.enter_context(
                running_stack(_setup(market, tmp_path_factory.mktemp(market)), prometheus_binaries)
            )
            for market in OTHER_MARKETS
        ]
        for stack in stacks:
            for seen in (
                "histogram_count(feed_latency_seconds)",
                "histogram_count(increase(feed_rtt_seconds[1m]))",
                'increase(feed_reconnects_total{reason="schedule"}[1m])',
                "1 + abs(feed_exchange_clock_drift_ratio)",
                # A subquery looks at whole multiples of its step only.
                "max_over_time(rate(feed_messages_total[1m])[15m:15s])",
            ):
                _until(stack, f"count(sum by (region) ({seen}) > 0) == {CANDIDATES}")
        moments = [_when_rates_exist(stack) for stack in stacks]
        yield {
            market: Server(stack.prometheus.url, _variables(stack.setup.experiment), now)
            for market, stack, now in zip(OTHER_MARKETS, stacks, moments, strict=True)
        }


def _when_rates_exist(stack: Stack) -> float:
    """Wait so long that every series is old enough for a rate; the moment, Unix seconds.

    The scrapes before it all succeeded: at one in vain, as on a busy machine, series go stale.
    """
    moments = [time.time() + 4 * SCRAPE_SEC]

    def all_were_scraped() -> bool:
        now = moments[-1]
        if not _holds(stack, f"min(timestamp(up)) > {now}"):
            return False
        if not _holds(stack, f"min(min_over_time(up[{4 * SCRAPE_SEC}s] @ {now})) == 1"):
            moments.append(time.time())
            return False
        return True

    wait_until("scraped without a gap", all_were_scraped)
    return moments[-1]


@pytest.fixture(scope="module")
def empty(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A Prometheus that has never seen a probe; Grafana's variables have nothing to choose."""
    settings = PrometheusSettings(
        version=prometheus_binaries.version,
        experiment="none",
        regions=(),
        scrape_interval_sec=SCRAPE_SEC,
    )
    folder = tmp_path_factory.mktemp("empty")
    with running_prometheus(prometheus_binaries, settings, folder) as prometheus:
        nothing = dict.fromkeys(("experiment", "market", "a_region", "b_region"), "")
        values = _variables(experiment.load()) | nothing
        yield Server(prometheus.url, values, time.time())


def _variables(chosen_experiment: Experiment) -> dict[str, str]:
    data = chosen_experiment.market_data
    evidence = chosen_experiment.decision.evidence_streams
    deciding = [stream for stream in data.streams if stream.partition("@")[0] in evidence]
    chosen = dict.fromkeys(("region", "az_id", "instance_type", "instance", "symbol"), ".*")
    # As Grafana puts the only value of a variable that holds all of them.
    chosen["job"] = metrics.JOB
    sides = {f"{side}_{label}": ".*" for side in "ab" for label in ("az_id", "instance_type")}
    return {
        **chosen,
        **sides,
        "a_region": "ap-northeast-1",
        "b_region": "eu-central-1",
        "experiment": chosen_experiment.name,
        "market": data.market,
        "stream": f"({'|'.join(deciding)})",
        "window": "1m",
        # Grafana: the larger of four scrapes and a step with a scrape.
        "__rate_interval": f"{4 * SCRAPE_SEC}s",
    }


def _control(stack: Stack, action: str, **body: str) -> None:
    url = f"{stack.exchange.control_url}/control/{action}"
    answer = requests.post(url, json=body, timeout=10)
    assert answer.ok, answer.text


def _until(stack: Stack, expression: str) -> None:
    wait_until(expression, lambda: _holds(stack, expression))


def _holds(stack: Stack, expression: str) -> bool:
    return says_yes(lambda: stack.prometheus.query(expression))


@EACH
def test_query_answers_without_a_remark(measured: Server, query: DashboardQuery) -> None:
    answer = measured.ask(query)
    assert answer.get("warnings", []) == []
    assert answer.get("infos", []) == []


@EACH
def test_query_has_data_of_the_shape_its_panel_needs(
    measured: Server, query: DashboardQuery
) -> None:
    result = _result(measured.ask(query))
    if any(name in query.expr for name in WITHOUT_DATA):
        assert result == []
        return
    assert result, "no data"
    _check_shape(result, query)


def _check_shape(result: list[Any], query: DashboardQuery) -> None:
    match query.kind:
        case "variable":
            assert all(isinstance(value, str) and value for value in result)
        case "heatmap":
            assert len(result) == 1, "a heat map shows one histogram"
            assert "values" not in result[0]
            assert any(float(sample["count"]) > 0 for _, sample in result[0]["histograms"])
        case "stat":
            assert query.name_only or len(result) == 1, "a tile shows one number"
            assert all(_is_number(series["value"][1]) for series in result)
        case "table":
            assert all(_is_number(series["value"][1]) for series in result)
        case "timeseries" | "state-timeline" | "annotation":
            assert all("histograms" not in series for series in result)
            assert all(any(_is_number(value) for _, value in series["values"]) for series in result)
        case other:
            pytest.fail(f"no rule for panels of type {other}")


@EACH
def test_query_is_answered_within_a_second(measured: Server, query: DashboardQuery) -> None:
    first = float(measured.ask(query)["took_sec"])
    # The machine may be busy with something else; a slow query is slow again and again.
    assert first < SLOW_SEC or any(measured.took_sec(query) < SLOW_SEC for _ in range(5))


@EACH
def test_query_finds_nothing_wrong_with_an_empty_system(
    empty: Server, query: DashboardQuery
) -> None:
    answer = empty.ask(query)
    assert answer.get("warnings", []) == []
    # Only what counts something has an answer, and it is zero.
    assert [series["value"][1] for series in _result(answer)] in ([], ["0"])


@pytest.mark.parametrize("title", ["Candidates by p99", "Runs by candidate", "Probes"])
def test_columns_of_a_table_share_their_rows(measured: Server, title: str) -> None:
    columns = [q for q in QUERIES if q.kind == "table" and title in q.source]
    rows = [
        {
            tuple(sorted((k, v) for k, v in series["metric"].items() if k not in ADDED))
            for series in _result(measured.ask(column))
        }
        for column in columns
    ]
    assert len(rows[0]) == CANDIDATES
    assert all(row == rows[0] for row in rows)


@pytest.mark.parametrize("query", [q for q in QUERIES if q.logarithmic], ids=lambda query: query.id)
def test_a_logarithmic_axis_can_show_every_value(measured: Server, query: DashboardQuery) -> None:
    values = [float(v) for series in _result(measured.ask(query)) for _, v in series["values"]]
    assert all(value > 0 for value in values if not math.isnan(value))


def test_the_runs_are_counted_and_no_more_are_needed_than_the_experiment_asks_for(
    measured: Server,
) -> None:
    shown = {
        title: float(_result(measured.ask(query))[0]["value"][1])
        for query in QUERIES
        if query.kind == "stat" and (title := query.source.split(" ", 1)[1][:-2]) in EVIDENCE
    }
    # An exact paired test of two candidates takes six pairs to say less than 0.05.
    assert shown["Usable runs needed"] == fewest_pairs(0.05) == 6
    assert shown["Runs measured"] >= shown["Fewest usable runs"]
    # The dashboards are those of the shipped experiment, whose runs take longer.
    cycle_sec = Timeline.of(experiment.load().timing).cycle_ns / NS_PER_SEC
    cycles = shown["Time to an answer, at least"] / cycle_sec
    assert cycles == 6 - shown["Fewest usable runs"]


@pytest.mark.parametrize("market", OTHER_MARKETS)
@EACH
def test_query_has_data_for_other_markets_too(
    elsewhere: dict[str, Server], market: str, query: DashboardQuery
) -> None:
    answer = elsewhere[market].ask(query)
    assert (answer.get("warnings", []), answer.get("infos", [])) == ([], [])
    result = _result(answer)
    if any(name in query.source or name in query.expr for name in WITHOUT_DATA | UNEVENTFUL):
        assert result == []
        return
    assert result, "no data"
    _check_shape(result, query)


def _result(answer: dict[str, Any]) -> list[Any]:
    data = answer["data"]
    return list(data if isinstance(data, list) else data["result"])


def _is_number(text: str) -> bool:
    return math.isfinite(float(text))
