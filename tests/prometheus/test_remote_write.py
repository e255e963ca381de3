from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from latency_sweep.prometheus.configuration import (
    ConfigurationError,
    PrometheusSettings,
    RemoteWrite,
    flags,
    render,
)
from latency_sweep.prometheus.version import Version

NEW = Version(3, 13, 5)
URL = "https://store.example/api/v1/push"
STORES = {
    "mimir": RemoteWrite(
        URL,
        username="sweep",
        password_file=Path("/etc/prometheus/password"),
        headers=(("X-Scope-OrgID", "trading"),),
    ),
    "thanos": RemoteWrite(
        URL, credentials_file=Path("/etc/prometheus/token"), ca_file=Path("/etc/prometheus/ca.pem")
    ),
    "amazon": RemoteWrite(
        URL, sigv4_region="eu-west-1", sigv4_role_arn="arn:aws:iam::123456789012:role/write"
    ),
    "another Prometheus": RemoteWrite("http://127.0.0.1:9091/api/v1/write"),
}


@pytest.fixture
def settings() -> PrometheusSettings:
    return PrometheusSettings(
        version=NEW,
        experiment="sweep",
        regions=("eu-west-1",),
        scrape_interval_sec=15,
        remote_write=tuple(STORES.values()),
        external_labels=(("replica", "a"),),
    )


def document(settings: PrometheusSettings) -> dict[str, Any]:
    found = yaml.safe_load(render(settings))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("mode", ["server", "agent"])
@pytest.mark.parametrize("store", STORES)
def test_promtool_accepts_every_kind_of_store(
    mode: str, store: str, settings: PrometheusSettings, promtool_binary: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    chosen = STORES[store]
    chosen = replace(
        chosen,
        ca_file=chosen.ca_file and secret,
        credentials_file=chosen.credentials_file and secret,
        password_file=chosen.password_file and secret,
    )
    version = Version.of_binary(promtool_binary)
    file = tmp_path / "prometheus.yml"
    file.write_text(
        render(replace(settings, version=version, agent=mode == "agent", remote_write=(chosen,)))
    )
    options = ["--agent"] if mode == "agent" else ["--lint=all", "--lint-fatal"]
    done = subprocess.run(
        [promtool_binary, "check", "config", *options, file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_store_receives_native_histograms(settings: PrometheusSettings) -> None:
    sections = document(settings)["remote_write"]
    assert [section["send_native_histograms"] for section in sections] == [True] * len(STORES)


def test_the_version_makes_no_difference_to_what_is_sent(settings: PrometheusSettings) -> None:
    old = document(replace(settings, version=Version(3, 5)))
    assert old["remote_write"] == document(settings)["remote_write"]


def test_requests_to_amazon_are_signed_with_the_assumed_role(settings: PrometheusSettings) -> None:
    (section,) = document(replace(settings, remote_write=(STORES["amazon"],)))["remote_write"]
    assert section["sigv4"] == {
        "region": "eu-west-1",
        "role_arn": "arn:aws:iam::123456789012:role/write",
    }


def test_without_a_store_nothing_is_sent(settings: PrometheusSettings) -> None:
    assert "remote_write" not in document(replace(settings, remote_write=()))


def test_an_agent_evaluates_no_rules(settings: PrometheusSettings) -> None:
    assert "rule_files" in document(settings)
    assert "rule_files" not in document(replace(settings, agent=True))


def test_an_agent_gets_a_store_of_its_own_kind() -> None:
    options = flags(NEW, config_file=Path("c"), data=Path("d"), listen="127.0.0.1:0", agent=True)
    assert {"--agent", "--storage.agent.path=d"} <= set(options)
    assert not [option for option in options if "tsdb" in option]


@pytest.mark.parametrize(
    ("store", "complaint"),
    [
        (RemoteWrite(URL, sigv4_region="r", credentials_file=Path("t")), "use only one of SigV4"),
        (RemoteWrite(URL, username="u"), "basic auth needs both username and password_file"),
        (RemoteWrite(URL, sigv4_role_arn="arn"), "sigv4_role_arn needs sigv4_region"),
    ],
)
def test_credentials_that_cannot_work_are_refused(
    store: RemoteWrite, complaint: str, settings: PrometheusSettings
) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        render(replace(settings, remote_write=(store,)))


def test_an_agent_without_a_store_is_refused(settings: PrometheusSettings) -> None:
    with pytest.raises(ConfigurationError, match="Agent mode needs remote_write"):
        render(replace(settings, agent=True, remote_write=()))
