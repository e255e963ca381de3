"""What `sweep export` writes is what the programs that read it accept."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from latency_sweep.collector.export.request import Discovery, ExportKind
from latency_sweep.contract import experiment
from latency_sweep.contract.experiment import load
from latency_sweep.contract.metrics import JOB as USUAL_JOB
from latency_sweep.grafana import lint
from latency_sweep.prometheus.version import NATIVE_HISTOGRAMS_BY_CONFIG, Version
from tests.collector.export.exporting import JOB, LIMITS, NAME, TARGET, experiment_file, run
from tests.deploy.compose.conftest import docker_compose
from tests.repository import ROOT

__all__ = ["docker_compose"]
RUNBOOK = "https://wiki.example/latency/runbook?v=2"
OPTIONS = ("--job", JOB, "--runbook-url", RUNBOOK, "--datasource", "thanos", "--target", TARGET)


def exported(kind: ExportKind, folder: Path, *options: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = experiment_file(folder)
    assert run(kind, folder / "out", "--config", str(config), *options) == 0
    return folder / "out"


def boards(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((folder / "dashboards").glob("*.json"))]


def accepted(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("discovery", Discovery)
def test_promtool_accepts_the_configuration(
    discovery: Discovery, promtool_binary: Path, tmp_path: Path
) -> None:
    version = str(Version.of_binary(promtool_binary))
    targets = ("--target", TARGET) if discovery in {Discovery.FILE, Discovery.STATIC} else ()
    out = exported(
        ExportKind.PROMETHEUS,
        tmp_path,
        *("--discovery", discovery, "--prometheus-version", version, "--job", "a: 'b' \"c\""),
        *targets,
    )
    told = accepted(
        promtool_binary, "check", "config", "--lint=all", "--lint-fatal", out / "prometheus.yml"
    )
    assert "2 rule files found" in told
    ((job,),) = yaml.safe_load((out / "scrape-probes.yml").read_text()).values()
    assert job["job_name"] == "a: 'b' \"c\""
    assert job["scrape_interval"] == f"{load().timing.scrape_interval_sec}s"


@pytest.mark.parametrize("version", ["3.5", "3.9", "3.16.1"])
def test_native_histograms_are_asked_for_as_the_version_wants(version: str, tmp_path: Path) -> None:
    key = version != "3.5"
    out = exported(ExportKind.COMPOSE, tmp_path, "--prometheus-version", version)
    ((job,),) = yaml.safe_load((out / "scrape-probes.yml").read_text()).values()
    service = yaml.safe_load((out / "docker-compose.yml").read_text())["services"]["prometheus"]
    assert key == (Version.parse(version) >= NATIVE_HISTOGRAMS_BY_CONFIG)
    assert job.get("scrape_native_histograms", False) is key
    assert ("--enable-feature=native-histograms" in service["command"]) is not key
    assert service["image"] == f"prom/prometheus:v{Version.parse(version)}"


@pytest.mark.parametrize("kind", [ExportKind.RULES, ExportKind.PROMETHEUS, ExportKind.COMPOSE])
def test_promtool_accepts_the_rules(
    kind: ExportKind, promtool_binary: Path, tmp_path: Path
) -> None:
    out = exported(kind, tmp_path, "--selector", '{job=~"a|b",env!="te\\"st"}')
    for file in ("feed.yml", "alerts.yml"):
        accepted(
            promtool_binary, "check", "rules", "--lint=all", "--lint-fatal", out / "rules" / file
        )


def test_limits_of_the_experiment_file_reach_alerts_and_dashboards(tmp_path: Path) -> None:
    alerts = (exported(ExportKind.RULES, tmp_path / "a") / "rules" / "alerts.yml").read_text()
    for limit in ("> 0.123", "> 8.25", "> 0.0456", "> 8.0", "< 4321", "> 0.0789"):
        assert limit in alerts
    theirs = experiment.load(tmp_path / "a" / "experiment.yaml")
    assert dict(theirs.decision.constraints) == LIMITS
    for board in boards(exported(ExportKind.DASHBOARDS, tmp_path / "b")):
        assert lint.faults(board, theirs) == []


@pytest.mark.parametrize("options", [(), ("--runbook-url", RUNBOOK)])
def test_every_alert_links_to_an_absolute_address_of_its_section(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    out = exported(ExportKind.RULES, tmp_path, *options)
    page = RUNBOOK if options else (out / "runbook.md").as_uri()
    groups = yaml.safe_load((out / "rules" / "alerts.yml").read_text())["groups"]
    headings = set(re.findall(r"^## (\w+)$", (out / "runbook.md").read_text(), re.MULTILINE))
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    assert alerts.keys() <= headings
    for name, rule in alerts.items():
        assert rule["annotations"]["runbook_url"] == f"{page}#{name.lower()}"


def test_the_runbook_has_no_link_that_leads_nowhere(tmp_path: Path) -> None:
    text = (exported(ExportKind.RULES, tmp_path) / "runbook.md").read_text()
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert links
    assert all(link.startswith(("#", "https://", "http://")) for link in links)


@pytest.mark.parametrize(
    ("options", "matchers"),
    [
        (("--job", 'my "job"'), r'job="my \"job\""'),
        (("--selector", '{env="prod",}'), 'env="prod"'),
        (("--job", JOB, "--selector", 'job=~"their-.+"'), 'job=~"their-.+"'),
    ],
)
def test_the_selector_takes_the_place_of_the_usual_job(
    options: tuple[str, ...], matchers: str, tmp_path: Path
) -> None:
    out = exported(ExportKind.RULES, tmp_path / "a", *options)
    alerts = yaml.safe_load((out / "rules" / "alerts.yml").read_text())
    texts = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    assert any(f"up{{{matchers}}}" in text for text in texts)
    assert not [text for text in texts if f'job="{USUAL_JOB}"' in text]
    for board in boards(exported(ExportKind.DASHBOARDS, tmp_path / "b", *options)):
        queries = {
            variable["name"]: variable["query"]["query"]
            for variable in board["templating"]["list"]
            if variable["type"] == "query"
        }
        assert queries["experiment"] == f"label_values(feed_run_info{{{matchers}}}, experiment)"
        assert queries["job"] == (
            f'label_values(feed_run_info{{{matchers},experiment="$experiment"}}, job)'
        )


def test_dashboards_start_with_what_was_named_and_link_to_the_runbook(tmp_path: Path) -> None:
    out = exported(ExportKind.DASHBOARDS, tmp_path, *OPTIONS, "--experiment-id", "tuesday")
    assert len(boards(out)) == len(list((ROOT / "grafana" / "dashboards").glob("*.json")))
    for board in boards(out):
        chosen = {v["name"]: v.get("current", {}).get("value") for v in board["templating"]["list"]}
        assert (chosen["datasource"], chosen["experiment"]) == ("thanos", "tuesday")
        (link,) = [link for link in board["links"] if link["type"] == "link"]
        assert link["url"] == RUNBOOK


def test_without_options_dashboards_differ_from_the_shipped_ones_by_limits_and_link_only(
    tmp_path: Path,
) -> None:
    assert run(ExportKind.DASHBOARDS, tmp_path) == 0
    for board in boards(tmp_path):
        shipped = ROOT / "grafana" / "dashboards" / f"{board['uid']}.json"
        *links, _ = board["links"]
        assert {**board, "links": links} == json.loads(shipped.read_text())


def test_targets_carry_their_labels_and_the_experiment(tmp_path: Path) -> None:
    bare = "[2001:db8::1]:9090"
    out = exported(ExportKind.PROMETHEUS, tmp_path, "--target", TARGET, "--target", bare)
    first, second = yaml.safe_load((out / "targets" / "probes.yml").read_text())
    assert first["targets"] == ["10.0.1.5:9090"]
    assert first["labels"] == {
        "experiment": NAME,
        "region": "eu-central-1",
        "az_id": "euc1-az2",
        "instance_type": "c6in.large",
    }
    assert second == {"targets": [bare], "labels": {"experiment": NAME}}


def test_alertmanager_accepts_its_configuration_and_routes_by_severity(
    amtool: Path, tmp_path: Path
) -> None:
    out = exported(ExportKind.ALERTMANAGER, tmp_path, "--experiment-id", "tues.day")
    file = out / "alertmanager.yml"
    accepted(amtool, "check-config", file)

    def receiver(*labels: str) -> str:
        asked = ("config", "routes", "test", f"--config.file={file}")
        return accepted(amtool, *asked, *labels).strip()

    ours = ("alertname=FeedDisconnected", "experiment=tues.day")
    assert receiver(*ours, "severity=critical") == "latency-critical"
    assert receiver(*ours, "severity=warning") == "latency-warning"
    assert receiver(*ours, "severity=info") == "latency-info"
    assert receiver("alertname=FeedProbeMissing", "severity=warning") == "latency-warning"
    assert receiver("alertname=FeedDisconnected", "experiment=tuesxday") == "other"
    assert receiver("alertname=DiskFull", "severity=critical") == "other"


def test_inhibitions_name_alerts_that_exist(tmp_path: Path) -> None:
    file = exported(ExportKind.ALERTMANAGER, tmp_path) / "alertmanager.yml"
    alerts = set(
        re.findall(r"alert: (\w+)", (ROOT / "prometheus" / "rules" / "alerts.yml").read_text())
    )
    rules = yaml.safe_load(file.read_text())["inhibit_rules"]
    named = re.findall(r"\bFeed\w+", json.dumps(rules))
    assert named
    assert set(named) <= alerts


@pytest.mark.parametrize("discovery", [Discovery.FILE, Discovery.EC2])
def test_docker_compose_accepts_the_stack_and_finds_its_files(
    discovery: Discovery, docker_compose: list[str], tmp_path: Path
) -> None:
    out = exported(ExportKind.COMPOSE, tmp_path, "--discovery", discovery)
    text = (out / "docker-compose.yml").read_text()
    assert "&id" not in text
    command = [*docker_compose, "--file", str(out / "docker-compose.yml"), "config"]
    services = json.loads(accepted(*command, "--format", "json"))["services"]
    mounted = [
        Path(volume["source"])
        for service in services.values()
        for volume in service["volumes"]
        if volume["type"] == "bind"
    ]
    assert len(mounted) >= 6
    assert [path for path in mounted if not path.exists()] == []
    configuration = yaml.safe_load((out / "prometheus.yml").read_text())
    (manager,) = configuration["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": ["alertmanager:9093"]}]


def test_the_mixin_imports_the_same_rules_and_dashboards(tmp_path: Path) -> None:
    out = exported(ExportKind.MIXIN, tmp_path, *OPTIONS)
    text = (out / "mixin.libsonnet").read_text()
    imported = {
        path: json.loads((out / path).read_text()) for path in re.findall(r'import "(.+?)"', text)
    }
    rules = exported(ExportKind.RULES, tmp_path / "rules", *OPTIONS) / "rules"
    assert imported.pop("rules/alerts.json") == yaml.safe_load((rules / "alerts.yml").read_text())
    assert imported.pop("rules/rules.json") == yaml.safe_load((rules / "feed.yml").read_text())
    dashboards = exported(ExportKind.DASHBOARDS, tmp_path / "boards", *OPTIONS)
    assert list(imported.values()) != []
    assert {board["uid"] for board in imported.values()} == {b["uid"] for b in boards(dashboards)}
    assert all(f'"{board["uid"]}.json": import' in text for board in imported.values())
