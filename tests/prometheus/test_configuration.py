from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from latency_sweep.contract import experiment
from latency_sweep.contract.metrics import TARGET_LABELS
from latency_sweep.prometheus.configuration import (
    RULES,
    ConfigurationError,
    PrometheusSettings,
    ScrapeSecurity,
    SimulatedEc2,
    flags,
    render,
)
from latency_sweep.prometheus.version import Version

OLD = Version(3, 5, 3)
NEW = Version(3, 13, 3)
EC2 = SimulatedEc2(endpoint="http://127.0.0.1:1")


@pytest.fixture
def aws(tmp_path: Path) -> PrometheusSettings:
    """Settings as on AWS, with the files they name."""
    description = experiment.load()
    security = ScrapeSecurity(tmp_path / "token", tmp_path / "ca.pem", "probe.internal")
    security.credentials_file.write_text("secret")
    security.ca_file.touch()
    return PrometheusSettings(
        version=OLD,
        experiment=description.name,
        regions=tuple(description.regions),
        scrape_interval_sec=description.timing.scrape_interval_sec,
        security=security,
    )


@pytest.fixture
def local() -> PrometheusSettings:
    """Settings as in the local stack."""
    return PrometheusSettings(
        version=OLD,
        experiment="demo",
        regions=("eu-west-1", "ap-northeast-1"),
        scrape_interval_sec=1,
        refresh_interval_sec=5,
        simulated_ec2=EC2,
    )


def probe_job(settings: PrometheusSettings) -> dict[str, Any]:
    (job,) = yaml.safe_load(render(settings))["scrape_configs"]
    assert isinstance(job, dict)
    return job


def check(promtool: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [promtool, "check", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("kind", ["aws", "local"])
def test_promtool_accepts_the_configuration_for_its_own_version(
    kind: str, request: pytest.FixtureRequest, promtool_binary: Path, tmp_path: Path
) -> None:
    settings = replace(request.getfixturevalue(kind), version=Version.of_binary(promtool_binary))
    file = tmp_path / "prometheus.yml"
    file.write_text(render(settings))
    done = check(promtool_binary, "config", "--lint=all", "--lint-fatal", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_one_key_differs_between_old_and_new_versions(aws: PrometheusSettings) -> None:
    old, new = probe_job(aws), probe_job(replace(aws, version=NEW))
    assert new.pop("scrape_native_histograms") is True
    assert new == old


@pytest.mark.parametrize(
    ("version", "switched"),
    [("3.5.0", "flag"), ("3.8.1", "flag"), ("3.9.0", "key"), ("3.13.3", "key")],
)
def test_native_histograms_are_switched_on_in_exactly_one_way(
    version: str, switched: str, aws: PrometheusSettings
) -> None:
    release = Version.parse(version)
    options = flags(release, config_file=Path("c"), data=Path("d"), listen="127.0.0.1:0")
    by_flag = "--enable-feature=native-histograms" in options
    by_key = "scrape_native_histograms" in probe_job(replace(aws, version=release))
    assert (by_flag, by_key) == (switched == "flag", switched == "key")


def test_promtool_accepts_the_rules(promtool_binary: Path) -> None:
    done = check(promtool_binary, "rules", "--lint=all", "--lint-fatal", RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_region_is_searched_for_running_tagged_instances(aws: PrometheusSettings) -> None:
    searches = probe_job(aws)["ec2_sd_configs"]
    assert [search["region"] for search in searches] == list(aws.regions)
    for search in searches:
        assert {f["name"]: f["values"] for f in search["filters"]} == {
            "tag:Project": ["binance-latency-sweep"],
            "tag:Experiment": [aws.experiment],
            "instance-state-name": ["running"],
        }


def test_every_target_label_of_the_contract_is_set(aws: PrometheusSettings) -> None:
    rules = probe_job(aws)["relabel_configs"]
    assert {rule["target_label"] for rule in rules} == set(TARGET_LABELS)


def test_aws_scrapes_are_encrypted_and_authorized(aws: PrometheusSettings) -> None:
    job = probe_job(aws)
    assert aws.security is not None
    assert job["scheme"] == "https"
    assert job["authorization"] == {"credentials_file": str(aws.security.credentials_file)}
    assert job["tls_config"] == {
        "ca_file": str(aws.security.ca_file),
        "server_name": "probe.internal",
    }


def test_aws_is_asked_with_the_credentials_of_the_machine(aws: PrometheusSettings) -> None:
    for search in probe_job(aws)["ec2_sd_configs"]:
        assert not {"endpoint", "access_key", "secret_key"} & search.keys()


def test_aws_targets_keep_their_own_address(aws: PrometheusSettings) -> None:
    rules = probe_job(aws)["relabel_configs"]
    assert "__address__" not in {rule["target_label"] for rule in rules}


def test_local_targets_without_a_port_are_dropped_before_anything_else(
    local: PrometheusSettings,
) -> None:
    first, second, *_ = probe_job(local)["relabel_configs"]
    assert first["action"] == "keep"
    assert second["target_label"] == "__address__"
    assert second["replacement"] == "127.0.0.1:$1"


def test_the_scrape_timeout_never_exceeds_the_interval(aws: PrometheusSettings) -> None:
    timeouts = {
        interval: yaml.safe_load(render(replace(aws, scrape_interval_sec=interval)))["global"][
            "scrape_timeout"
        ]
        for interval in (1, 15)
    }
    assert timeouts == {1: "1s", 15: "10s"}


def test_a_version_without_native_histograms_is_refused(aws: PrometheusSettings) -> None:
    with pytest.raises(ConfigurationError, match=r"2\.42\.0 is too old; use 3\.5\.0 or newer"):
        render(replace(aws, version=Version(2, 42)))


def test_a_version_that_would_ask_the_real_aws_is_refused(local: PrometheusSettings) -> None:
    with pytest.raises(ConfigurationError, match="would query AWS"):
        render(replace(local, version=Version(3, 8)))


def test_names_with_special_characters_stay_one_value(local: PrometheusSettings) -> None:
    settings = replace(local, experiment='a: "b" #c')
    (_, search, _) = probe_job(settings)["ec2_sd_configs"][0]["filters"]
    assert search["values"] == ['a: "b" #c']
