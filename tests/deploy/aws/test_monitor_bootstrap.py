"""The monitor's user data as Terraform renders it, run to its end in a sandbox, twice.

Beside the edges of the sandbox, the binaries of the releases are stand-ins, but for promtool, which
is the real one: it judges the configuration that the bootstrap writes.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.aws import instances
from tests.deploy.aws.instances import SECRETS

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from tests.deploy.aws.sandbox import Sandbox

# Making a virtual environment takes a while on a busy machine.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def user_data(
    terraform_binary: Path,
    experiment_path: Path,
    wheel: Path,
    prometheus_binaries: Binaries,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    # The version of the promtool that is here judges what is written for it.
    settings = {
        "METRICS_PORT": "9090",
        "REGIONS": "eu-central-1,eu-west-1",
        "PROMETHEUS_VERSION": str(prometheus_binaries.version),
    }
    return instances.user_data(
        terraform_binary,
        tmp_path_factory.mktemp("user_data"),
        role="monitor",
        experiment=experiment_path,
        environment=instances.settings(wheel) | settings,
        files={"/etc/latency-sweep/prometheus.env": "RETENTION=30d\n"},
    )


@pytest.fixture(scope="module")
def instance(
    sandbox: Sandbox,
    cloud_config: dict[str, Any],
    wheel: Path,
    secrets: dict[str, str],
    prometheus_binaries: Binaries,
    promtool_binary: Path,
) -> Sandbox:
    """A sandbox in which cloud-init has written its files, and EC2 has what is asked of it."""
    named = {f"{SECRETS}/{name}": value for name, value in secrets.items()}
    instances.prepare(sandbox, cloud_config, wheel, named)
    alertmanager = f"alertmanager-{instances.VERSIONS.alertmanager}"
    instances.publish(
        sandbox,
        {
            f"prometheus-{prometheus_binaries.version}": {
                "prometheus": "exit 0",
                "promtool": f'exec {promtool_binary.resolve()} "$@"',
            },
            alertmanager: {
                "alertmanager": "exit 0",
                "amtool": "exit 0",
            },
        },
    )
    # Grafana's package brings its user.
    sandbox.run(["useradd", "--system", "--user-group", "--no-create-home", "grafana"])
    return sandbox


def test_monitors_user_data_is_smaller_than_ec2_takes(user_data: str) -> None:
    assert len(gzip.compress(user_data.encode())) < 16 * 1024


def test_monitors_bootstrap_runs_to_its_end(first_run: CompletedProcess[str]) -> None:
    assert first_run.returncode == 0, first_run.stderr
    assert first_run.stderr.endswith("monitor is up\n")


def test_second_bootstrap_of_the_monitor_changes_no_file_and_restarts_nothing(
    bootstrapped: Sandbox, cloud_config: dict[str, Any]
) -> None:
    instances.check_that_a_second_run_changes_nothing(bootstrapped, cloud_config)


def test_changed_configuration_restarts_the_monitors_services(
    bootstrapped: Sandbox, cloud_config: dict[str, Any]
) -> None:
    settings = "/etc/latency-sweep/bootstrap.env"
    text = (bootstrapped.upper / settings.lstrip("/")).read_text()
    bootstrapped.write(settings, text.replace("eu-central-1,eu-west-1", "eu-west-1"))
    bootstrapped.forget_calls()
    try:
        again = instances.bootstrap(bootstrapped, cloud_config)
    finally:
        bootstrapped.write(settings, text)
        instances.bootstrap(bootstrapped, cloud_config)
    assert again.returncode == 0, again.stderr
    assert "systemctl restart prometheus.service" in bootstrapped.calls()


def test_monitor_scrapes_all_regions_over_tls_with_the_token(bootstrapped: Sandbox) -> None:
    text = (bootstrapped.upper / "etc/latency-sweep/prometheus.yml").read_text()
    probes, node = yaml.safe_load(text)["scrape_configs"]
    assert [each["region"] for each in probes["ec2_sd_configs"]] == ["eu-central-1", "eu-west-1"]
    assert probes["scheme"] == node["scheme"] == "https"
    assert probes["authorization"] == {"credentials_file": "/etc/latency-sweep/scrape/token"}
    assert probes["tls_config"]["ca_file"] == "/etc/latency-sweep/scrape/ca.pem"


def test_no_secret_of_the_monitor_is_readable_by_other_users(
    bootstrapped: Sandbox, secrets: dict[str, str]
) -> None:
    folder = bootstrapped.upper / "etc/latency-sweep"
    files = [folder / "grafana-password", *(folder / "scrape").iterdir()]
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in files} == dict.fromkeys(
        ("grafana-password", "ca.pem", "token"), "0o640"
    )
    assert (folder / "scrape" / "token").read_text().strip() == secrets["token"]


def test_no_secret_of_the_monitor_is_in_user_data_or_output(
    bootstrapped: Sandbox,
    user_data: str,
    first_run: CompletedProcess[str],
    secrets: dict[str, str],
) -> None:
    seen = user_data + first_run.stdout + first_run.stderr
    password = (bootstrapped.upper / "etc/latency-sweep/grafana-password").read_text().strip()
    assert secrets["token"] not in seen
    assert password not in seen


def test_monitor_stops_when_its_time_is_over(bootstrapped: Sandbox) -> None:
    drop_in = bootstrapped.upper / "etc/systemd/system/sweep-expire.timer.d/10-when.conf"
    assert "OnCalendar=2031-01-02 03:04:05 UTC" in drop_in.read_text().splitlines()


def test_grafana_finds_its_dashboards(bootstrapped: Sandbox) -> None:
    provider = bootstrapped.upper / "etc/grafana/provisioning/dashboards/sweep.yml"
    (described,) = yaml.safe_load(provider.read_text())["providers"]
    folder = Path(described["options"]["path"])
    found = bootstrapped.run(["sh", "-c", f"cat {folder}/*.json | head -c 1"])
    assert found.stdout == "{", json.dumps(described)
