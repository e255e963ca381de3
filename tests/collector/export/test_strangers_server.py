"""A real Prometheus with the exported files and a job of another name; real discovery of pods."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from latency_sweep.collector.cli import main as sweep
from latency_sweep.collector.export.request import Discovery, ExportKind
from latency_sweep.contract import experiment
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.grafana.dashboard_queries import DashboardQuery, _queries
from latency_sweep.lab.local.prometheus_process import running_with
from tests.analysis.fake_probes import FakeProbe, serving
from tests.collector.export import kubernetes_api
from tests.collector.export.exporting import JOB, run
from tests.waiting import says_yes, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.lab.local.prometheus_process import Prometheus

pytestmark = pytest.mark.e2e

PLACES = (
    ("ap-northeast-1", "apne1-az4", "c6in.large"),
    ("eu-central-1", "euc1-az2", "c6in.large"),
)
LABELS = ("region", "az_id", "instance_type")
NAME = "theirs"
SCRAPE_SEC = 1


def quick_experiment(folder: Path) -> Path:
    document = experiment.load().model_dump(by_alias=True)
    document |= {"name": NAME, "time_strata": {}}
    document["timing"] = {
        "warmup_sec": 1,
        "measurement_sec": 6,
        "cooldown_sec": 1,
        "scrape_interval_sec": SCRAPE_SEC,
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stranger")


@pytest.fixture(scope="module")
def config(folder: Path) -> Path:
    return quick_experiment(folder)


@pytest.fixture(scope="module")
def stranger(folder: Path, config: Path, prometheus_binaries: Binaries) -> Iterator[Prometheus]:
    parsed = experiment.load(config)
    probes = [FakeProbe(parsed, 0.01 * (i + 1), seed=i) for i in range(len(PLACES))]
    with serving(probes) as addresses:
        targets = [
            ",".join([address, *(f"{n}={v}" for n, v in zip(LABELS, place, strict=True))])
            for address, place in zip(addresses, PLACES, strict=True)
        ]
        named = [word for target in targets for word in ("--target", target)]
        common = ("--config", str(config), "--job", JOB)
        version = ("--prometheus-version", str(prometheus_binaries.version))
        assert run(ExportKind.PROMETHEUS, folder, *common, *version, *named) == ExitCode.DONE
        assert run(ExportKind.DASHBOARDS, folder, *common) == ExitCode.DONE
        text = (folder / "prometheus.yml").read_text()
        with running_with(text, prometheus_binaries, folder) as prometheus:
            wait_until("records", lambda: _recorded(prometheus), within_sec=100)
            yield prometheus


def _recorded(prometheus: Prometheus) -> bool:
    return says_yes(
        lambda: prometheus.query(
            f"count(candidate:feed_latency_seconds:p99_5m > 0) == {len(PLACES)}"
        )
    )


def _board_queries(folder: Path) -> list[DashboardQuery]:
    documents = [json.loads(f.read_text()) for f in sorted((folder / "dashboards").glob("*.json"))]
    return [query for document in documents for query in _queries(document["uid"], document)]


def _values() -> dict[str, str]:
    anything = dict.fromkeys(("region", "az_id", "instance_type", "instance", "symbol"), ".*")
    sides = {f"{side}_{label}": ".*" for side in "ab" for label in LABELS}
    return {
        **anything,
        **sides,
        "job": JOB,
        "stream": ".*",
        "experiment": NAME,
        "market": "spot",
        "window": "1m",
        "__rate_interval": f"{4 * SCRAPE_SEC}s",
    }


def _get(prometheus: Prometheus, path: str, **parameters: Any) -> Any:
    answer = requests.get(f"{prometheus.url}/api/v1/{path}", params=parameters, timeout=30)
    document = answer.json()
    assert document["status"] == "success", document
    assert document.get("warnings", []) == []
    return document["data"]


def test_every_query_of_the_dashboards_is_answered(stranger: Prometheus, folder: Path) -> None:
    answered = {}
    for query in _board_queries(folder):
        asked = query.substituted(_values())
        if asked.kind == "variable":
            selector, label = asked.label_values
            found = _get(stranger, f"label/{label}/values", **{"match[]": selector})
            assert found, query.id
        else:
            found = _get(stranger, "query", query=asked.expr)["result"]
        answered[query.id] = found
    shown = [name for name, found in answered.items() if found]
    # Their exporters show only some of a probe's metrics.
    assert len(shown) > len(answered) / 3
    assert answered["sweep-overview: variable job"] == [JOB]
    assert answered["sweep-overview: variable experiment"] == [NAME]
    (up,) = answered["sweep-overview: panel Probes up A"]
    assert up["value"][1] == "1"
    ranking = answered["sweep-overview: panel Candidates by p99 A"]
    assert {tuple(row["metric"][name] for name in LABELS) for row in ranking} == set(PLACES)


def test_every_rule_is_evaluated_without_a_fault(stranger: Prometheus) -> None:
    groups = _get(stranger, "rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 40
    assert [rule["name"] for rule in rules if rule.get("lastError")] == []


def test_sweep_watch_works_there(
    stranger: Prometheus, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = ("--from-prometheus", stranger.url, "--config", str(config))
    assert sweep.main(["watch", *url, "--once", "--json"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert all("/".join(place) in shown or place[1] in shown for place in PLACES)


def test_pods_are_found_and_labelled_by_their_nodes(
    tmp_path: Path, prometheus_binaries: Binaries
) -> None:
    parsed = experiment.load(quick_experiment(tmp_path))
    region, az_id, instance_type = PLACES[0]
    nodes = [
        kubernetes_api.node(
            "node-a",
            {
                "topology.kubernetes.io/region": region,
                "topology.k8s.aws/zone-id": az_id,
                "node.kubernetes.io/instance-type": instance_type,
            },
        )
    ]
    options = ("--discovery", Discovery.KUBERNETES, "--job", JOB, "--experiment-id", NAME)
    version = ("--prometheus-version", str(prometheus_binaries.version))
    assert run(ExportKind.PROMETHEUS, tmp_path, *options, *version) == ExitCode.DONE
    with serving([FakeProbe(parsed, 0.01)]) as (address,):
        port = int(address.rpartition(":")[2])
        name = {"app.kubernetes.io/name": "latency-probe"}
        pods = [
            kubernetes_api.pod("probe-1", "node-a", {"metrics": port}, **name),
            kubernetes_api.pod("other", "node-a", {"metrics": 1}, app="other"),
            kubernetes_api.pod("probe-2", "node-a", {"debug": 2}, **name),
        ]
        with kubernetes_api.serving({"PodList": pods, "NodeList": nodes}) as api:
            scrape = tmp_path / "scrape-probes.yml"
            document = yaml.safe_load(scrape.read_text())
            document["scrape_configs"][0]["kubernetes_sd_configs"][0]["api_server"] = api
            scrape.write_text(yaml.safe_dump(document))
            text = (tmp_path / "prometheus.yml").read_text()
            with running_with(text, prometheus_binaries, tmp_path) as prometheus:
                wait_until(
                    "a scraped pod",
                    lambda: says_yes(lambda: prometheus.query("count(up == 1)")),
                    within_sec=60,
                )
                (target,) = _get(prometheus, "targets", state="active")["activeTargets"]
                assert target["labels"] == {
                    "job": JOB,
                    "instance": address,
                    "experiment": NAME,
                    **dict(zip(LABELS, PLACES[0], strict=True)),
                }
