"""The monitor's Prometheus configuration, evaluated by promtool."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from latency_sweep.contract import experiment
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.deploy.aws import monitor
from latency_sweep.prometheus.rules import generate
from tests.deploy.aws.paths import AWS

if TYPE_CHECKING:
    from latency_sweep.lab.binaries.prometheus_binary import Binaries


@pytest.fixture
def document(
    experiment_path: Path,
    prometheus_binaries: Binaries,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> dict[str, Any]:
    code = monitor.main(
        [
            "--experiment-file",
            str(experiment_path),
            "--rules-folder",
            str(tmp_path / "rules"),
            "--experiment-id",
            "test",
            "--regions",
            "eu-west-1,ap-northeast-1",
            "--prometheus-version",
            str(prometheus_binaries.version),
            "--tls-folder",
            "/etc/latency-sweep/scrape",
        ]
    )
    assert code == 0
    loaded: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return loaded


def test_promtool_accepts_the_configuration(
    document: dict[str, Any], promtool_binary: Path, tmp_path: Path
) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(document))
    answer = subprocess.run(
        [promtool_binary, "check", "config", "--syntax-only", file],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("name", ["web.yml", "node-web.yml"])
def test_promtool_accepts_the_web_configurations(name: str, promtool_binary: Path) -> None:
    answer = subprocess.run(
        [promtool_binary, "check", "web-config", AWS / "bootstrap" / name],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    # The files named stand on the instance only; everything else must please promtool.
    complaint = answer.stderr + answer.stdout
    assert answer.returncode == 0 or "no such file" in complaint, complaint


def test_probes_are_reached_at_their_public_addresses(document: dict[str, Any]) -> None:
    probes, node = document["scrape_configs"]
    for job, port in ((probes, 9090), (node, 9100)):
        (rule,) = [r for r in job["relabel_configs"] if r.get("target_label") == "__address__"]
        assert rule["source_labels"] == ["__meta_ec2_public_ip"]
        assert rule["replacement"] == f"$1:{port}"


def test_probes_are_scraped_over_tls_with_the_token(document: dict[str, Any]) -> None:
    probes, _ = document["scrape_configs"]
    assert probes["scheme"] == "https"
    assert probes["authorization"]["credentials_file"] == "/etc/latency-sweep/scrape/token"
    assert probes["tls_config"]["server_name"] == monitor.SERVER_NAME


def test_token_is_not_shown_to_node_exporter(document: dict[str, Any]) -> None:
    _, node = document["scrape_configs"]
    assert "authorization" not in node
    assert node["scheme"] == "https"


def test_monitor_itself_is_no_target(document: dict[str, Any]) -> None:
    for job in document["scrape_configs"]:
        assert {
            "source_labels": ["__meta_ec2_tag_Role"],
            "regex": "monitor",
            "action": "drop",
        } in job["relabel_configs"]


def test_rules_have_the_limits_of_the_experiment_that_is_measured(
    experiment_path: Path, document: dict[str, Any]
) -> None:
    files = [Path(path) for path in document["rule_files"]]
    sweep = experiment.load(experiment_path)
    assert {file.name: file.read_text() for file in files} == generate.render(sweep)


def test_an_experiment_that_scrapes_too_rarely_for_the_rules_is_one_sentence(
    experiment_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = yaml.safe_load(experiment_path.read_text())
    sweep["timing"]["scrape_interval_sec"] = 20
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(sweep))
    options = {
        "--experiment-file": file,
        "--rules-folder": tmp_path / "rules",
        "--experiment-id": "test",
        "--regions": "eu-west-1",
        "--prometheus-version": "3.13.3",
    }
    words = [str(word) for option in options.items() for word in option]
    assert monitor.main(words) == ExitCode.BAD_INPUT
    complaint = capsys.readouterr().err
    assert "timing.scrape_interval_sec: 20 s is too long" in complaint
    assert complaint.count("\n") == 1


def test_bad_version_is_one_sentence(
    experiment_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = monitor.main(
        [
            "--experiment-file",
            str(experiment_path),
            "--rules-folder",
            str(tmp_path),
            "--experiment-id",
            "test",
            "--regions",
            "eu-west-1",
            "--prometheus-version",
            "new",
        ]
    )
    assert code == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.count("\n") == 1
