from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from latency_sweep.contract import experiment
from latency_sweep.contract.experiment import Experiment
from latency_sweep.contract.metrics import ALL
from latency_sweep.contract.monitoring import MONITORING, Monitoring, Windows
from latency_sweep.prometheus.rules.generate import (
    ALLOWANCES,
    FILES,
    FOLDER,
    RulesError,
    render,
)
from tests.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

UNIT_TESTS = FOLDER / "rules.test.yml"
SECTIONS = ("Meaning", "Impact", "Diagnosis", "Mitigation")


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}


def changed(**constraints: float) -> Experiment:
    document = experiment.load().model_dump(by_alias=True)
    document["decision"]["constraints"] |= constraints
    return Experiment.model_validate(document)


def anchor(heading: str) -> str:
    """The anchor that Markdown viewers give a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def runbook() -> dict[str, str]:
    """Text of each of the runbook's sections, by anchor."""
    _, *parts = re.split(r"^## (.+)$", (ROOT / MONITORING.runbook).read_text(), flags=re.MULTILINE)
    return {anchor(heading): text for heading, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.parametrize("name", FILES)
def test_the_shipped_rules_are_what_the_shipped_experiment_demands(name: str) -> None:
    assert (FOLDER / name).read_text() == render(experiment.load())[name], (
        "run python -m latency_sweep.prometheus.rules.generate"
    )


@pytest.mark.parametrize("name", FILES)
def test_promtool_finds_no_fault_in_the_rules(name: str, promtool_binary: Path) -> None:
    done = subprocess.run(
        [promtool_binary, "check", "rules", "--lint=all", "--lint-fatal", FOLDER / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(180)  # five seconds of work, which a busy machine stretches
def test_the_unit_tests_of_the_rules_pass(promtool_binary: Path) -> None:
    done = subprocess.run(
        [promtool_binary, "test", "rules", UNIT_TESTS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tested_to_fire_and_to_stay_silent(alert: str) -> None:
    document = yaml.safe_load(UNIT_TESTS.read_text())
    fired = [
        bool(check["exp_samples"])
        for test in document["tests"]
        for check in test["promql_expr_test"]
        if f'ALERTS{{alertname="{alert}", alertstate="firing"}}' in check["expr"]
    ]
    assert set(fired) == {True, False}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_what_it_means_and_where_to_read_on(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, section = rule["annotations"]["runbook_url"].partition("#")
    assert page == MONITORING.runbook
    text = runbook()[section]
    assert [name for name in SECTIONS if f"**{name}.**" in text] == list(SECTIONS)
    assert "```promql\n" in text


def test_the_runbook_has_no_section_for_an_alert_that_is_gone() -> None:
    assert runbook().keys() == {anchor(alert) for alert in ALERTS}


@pytest.mark.parametrize("name", FILES)
def test_rules_use_no_metric_that_nobody_exposes(name: str) -> None:
    used = {
        found
        for rule in rules(name)
        for found in re.findall(r"(?<![\w:])(?:feed|node)_\w+(?![\w:])", rule["expr"])
    }
    known = {metric.name for metric in ALL}
    known |= {f"node_ethtool_{allowance}_allowance_exceeded" for allowance in ALLOWANCES}
    assert used <= known


def test_names_of_records_are_level_metric_and_operation() -> None:
    for rule in rules("feed.yml"):
        level, metric, operation = rule["record"].split(":")
        assert level in {"candidate", "candidate_stream"}
        assert metric.startswith("feed_")
        assert re.fullmatch(r"(p50_|p99_|p999_|rate|ratio|increase)(1m|5m|1h)", operation)


def test_limits_of_the_experiment_reach_the_alerts() -> None:
    limits = {
        "p99_sec": 0.0123,
        "tail_ratio": 4.56,
        "loss_ratio": 0.00789,
        "reconnects_per_hour": 7.0,
        "min_samples": 4321,
        "clock_error_bound_sec": 0.00987,
    }
    text = render(changed(**limits))["alerts.yml"]
    for limit in ("> 0.0123", "> 4.56", "> 0.00789", "> 7.5", "< 4321", "> 0.00987"):
        assert limit in text


def test_other_windows_change_the_rules_and_the_names_that_carry_them() -> None:
    document = experiment.load().model_dump(by_alias=True)
    document["timing"]["scrape_interval_sec"] = 1
    monitoring = Monitoring(windows=Windows(live_sec=5, short_sec=10, long_sec=90, for_sec=5))
    text = "".join(render(Experiment.model_validate(document), monitoring).values())
    assert "candidate:feed_latency_seconds:p99_90s" in text
    assert not re.search(r"(rate|ratio|p99_)(1m|5m|1h)", text)


def test_selector_and_runbook_of_a_site_reach_every_alert() -> None:
    site = Monitoring(probe_selector='job="feeds"', runbook="https://wiki.example/runbook")
    text = render(experiment.load(), site)["alerts.yml"]
    assert 'job="probe"' not in text
    assert text.count('up{job="feeds"}') == 4
    assert text.count("runbook_url: https://wiki.example/runbook#feed") == len(ALERTS)


def test_scrapes_too_rare_for_the_windows_are_refused() -> None:
    document = experiment.load().model_dump(by_alias=True)
    document["timing"]["scrape_interval_sec"] = 30
    with pytest.raises(RulesError, match=r"30 s is too long for rates over 60 s; use 15 s"):
        render(Experiment.model_validate(document))
