"""The command that writes the dashboards, and what it writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from latency_sweep.contract import experiment
from latency_sweep.contract.experiment import Experiment
from latency_sweep.contract.monitoring import MONITORING
from latency_sweep.grafana import generate, lint
from latency_sweep.grafana.dashboard_queries import DASHBOARDS, all_queries, documents
from latency_sweep.grafana.promql import CANDIDATE_NAME, PROBES_JOB

if TYPE_CHECKING:
    from collections.abc import Iterator

EACH = pytest.mark.parametrize("uid", list(documents()))
LIMITS = {
    "p99_sec": 0.123,
    "reconnects_per_hour": 7.5,
    "loss_ratio": 0.0456,
    "tail_ratio": 8.25,
    "min_samples": 4321,
    "clock_error_bound_sec": 0.0789,
}


def other_experiment() -> Experiment:
    document = experiment.load().model_dump(by_alias=True)
    document["decision"]["constraints"] = LIMITS
    return Experiment.model_validate(document)


def thresholds(document: Any) -> Iterator[float]:
    """All values of thresholds, wherever they are."""
    if isinstance(document, dict):
        for step in document.get("steps", []) if isinstance(document.get("steps"), list) else []:
            if step.get("value") is not None:
                yield step["value"]
        for value in document.values():
            yield from thresholds(value)
    elif isinstance(document, list):
        for value in document:
            yield from thresholds(value)


def test_checked_in_files_are_up_to_date() -> None:
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("legend", "shown"),
    [
        ("ap-northeast-1 apne1-az4 c6in.large", "Tokyo, apne1-az4 c6in.large"),
        ("ap-northeast-3 apne3-az1 c6i.large i-1", "Osaka, apne3-az1 c6i.large i-1"),
        ("us-gov-west-1 usgw1-az1 c6i.large", "GovCloud West, usgw1-az1 c6i.large"),
        ("lab-1 lab1-az1 c6i.large", "lab-1 lab1-az1 c6i.large"),
    ],
)
@EACH
def test_lines_of_candidates_are_named_by_city(uid: str, legend: str, shown: str) -> None:
    for panel in lint.panels(documents()[uid]):
        if panel["type"] == "table" or not any(
            CANDIDATE_NAME in target["legendFormat"] for target in panel["targets"]
        ):
            continue
        name = legend
        for step in panel["transformations"]:
            # As Grafana reads what is between the slashes.
            name = re.sub(step["options"]["regex"][1:-1], step["options"]["renamePattern"], name)
        assert name == shown, panel["title"]


@EACH
def test_tables_show_cities_and_keep_the_region_for_links(uid: str) -> None:
    tables = [p for p in lint.panels(documents()[uid]) if p["type"] == "table"]
    for panel in tables:
        (names,) = (
            found["value"][0]["options"]
            for override in panel["fieldConfig"]["overrides"]
            for found in override["properties"]
            if (override["matcher"]["options"], found["id"]) == ("City", "mappings")
        )
        assert names["ap-northeast-1"]["text"] == "Tokyo"
        organize = panel["transformations"][1]["options"]
        assert organize["renameByName"]["region"] == "Region"
        assert "region" not in organize["excludeByName"]


def test_latencies_of_candidates_are_on_logarithmic_axes() -> None:
    logarithmic = {
        (uid, panel["title"])
        for uid, document in documents().items()
        for panel in lint.panels(document)
        if lint.is_logarithmic(panel)
    }
    assert logarithmic >= {
        ("sweep-overview", "p99"),
        ("sweep-overview", "Median"),
        ("sweep-compare", "p99"),
        ("sweep-compare", "p99.9"),
        ("sweep-compare", "Round trip"),
        ("sweep-probe-health", "Clock error bound"),
    }


def test_generating_twice_yields_the_same_bytes() -> None:
    assert generate.files(experiment.load()) == generate.files(experiment.load())


@EACH
def test_dashboard_survives_a_round_trip_through_the_sdk(uid: str) -> None:
    register_default_plugins()
    document = documents()[uid]
    again = json.dumps(Dashboard.from_json(document), cls=JSONEncoder)
    assert generate.in_sight(json.loads(again)) == document


@EACH
def test_dashboard_keeps_our_rules(uid: str) -> None:
    assert lint.faults(documents()[uid], experiment.load()) == []


def test_dashboards_have_unique_addresses_named_like_their_files() -> None:
    assert [document["uid"] for document in documents().values()] == [p.stem for p in DASHBOARDS]


@EACH
def test_every_dashboard_has_the_settings_that_a_user_relies_on(uid: str) -> None:
    document = documents()[uid]
    assert document["uid"] == uid
    assert document["tags"] == [MONITORING.tag]
    assert document["timezone"] == "utc"
    assert document["refresh"] == "15s"
    assert document["title"]
    assert document["description"]
    names = [variable["name"] for variable in document["templating"]["list"]]
    assert names[:3] == ["datasource", "experiment", "market"]


def test_metrics_that_every_target_has_are_selected_by_the_jobs_of_the_probes() -> None:
    generic = re.compile(r"\b(?:up|process_\w+|scrape_\w+)\{([^}]*)\}")
    matchers = [found for query in all_queries() for found in generic.findall(query.expr)]
    assert matchers
    assert all(PROBES_JOB in found for found in matchers)


def test_every_limit_of_another_experiment_reaches_the_thresholds() -> None:
    texts = generate.files(other_experiment())
    found = {
        value
        for path, text in texts.items()
        if path.suffix == ".json"
        for value in thresholds(json.loads(text))
    }
    assert found == {*LIMITS.values(), 1.0}


def test_the_limits_timeline_compares_with_the_limits_of_the_experiment() -> None:
    texts = generate.files(other_experiment())
    overview = json.loads(texts[Path("dashboards/sweep-overview.json")])
    (expression,) = [q for where, q in lint.queries(overview) if "Limits exceeded" in where]
    for name, limit in LIMITS.items():
        assert (f"bool {limit:g}" in expression) == (name != "min_samples"), name


def test_data_source_asks_as_often_as_probes_are_scraped() -> None:
    document = experiment.load().model_dump(by_alias=True)
    document["timing"]["scrape_interval_sec"] = 7
    text = generate.files(Experiment.model_validate(document))[
        Path("provisioning/datasources/prometheus.yaml")
    ]
    (source,) = yaml.safe_load(text)["datasources"]
    assert source["jsonData"]["timeInterval"] == "7s"


def test_written_files_pass_the_check(tmp_path: Path) -> None:
    assert generate.main(["--folder", str(tmp_path)]) == 0
    assert generate.main(["--folder", str(tmp_path), "--check"]) == 0


def test_check_names_a_file_that_was_edited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate.main(["--folder", str(tmp_path)])
    edited = tmp_path / "dashboards" / "sweep-candidate.json"
    edited.write_text(edited.read_text().replace("p99", "p98"))
    assert generate.main(["--folder", str(tmp_path), "--check"]) == 1
    assert "dashboards/sweep-candidate.json is out of date" in capsys.readouterr().out


def test_a_dashboard_that_is_no_more_is_found_and_removed(tmp_path: Path) -> None:
    generate.main(["--folder", str(tmp_path)])
    (tmp_path / "dashboards" / "old.json").write_text("{}")
    assert generate.main(["--folder", str(tmp_path), "--check"]) == 1
    generate.main(["--folder", str(tmp_path)])
    assert generate.main(["--folder", str(tmp_path), "--check"]) == 0


def test_an_unusable_experiment_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--config", str(tmp_path / "missing.yaml"), "--check"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
