"""Write the files that the other services read, `python -m latency_sweep.deploy.compose.prepare`.

The experiment, the exchange's configuration and certificates, Prometheus' configuration and rules
for its version, and Grafana's password, which is generated unless `GRAFANA_ADMIN_PASSWORD` is set.
Exit codes: 0 written, 2 an option is not valid.
"""

from __future__ import annotations

import argparse
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from latency_sweep.contract import versions
from latency_sweep.deploy.compose.feed_profile import SITES, FeedProfile
from latency_sweep.lab.exchange.config import ExchangeConfig, Tls
from latency_sweep.lab.local import sites, tls
from latency_sweep.prometheus.configuration import PrometheusSettings, SimulatedEc2, render
from latency_sweep.prometheus.rules import generate
from latency_sweep.prometheus.version import Version

if TYPE_CHECKING:
    from latency_sweep.lab.local.sites import Scenario


def main() -> None:
    """Write everything."""
    given = _parser().parse_args()
    feed: FeedProfile = given.feed
    scenario = sites.load(given.sites)
    experiment = feed.experiment()
    folder: Path = given.config
    text = yaml.safe_dump(experiment.model_dump(by_alias=True), sort_keys=False)
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")
    _exchange(folder, scenario, given.time_port)
    machines = feed.machines(scenario, first_port=0, region=given.region)
    settings = PrometheusSettings(
        version=given.prometheus_version,
        experiment=experiment.name,
        regions=tuple(dict.fromkeys(machine.region for machine in machines)),
        scrape_interval_sec=experiment.timing.scrape_interval_sec,
        refresh_interval_sec=5,
        simulated_ec2=SimulatedEc2(f"http://127.0.0.1:{given.ec2_port}"),
        rule_files=generate.write(folder, experiment),
    )
    (folder / "prometheus.yml").write_text(render(settings), encoding="utf-8")
    _password(given.secret / "grafana-admin")


def _exchange(folder: Path, scenario: Scenario, time_port: int) -> None:
    certificates = tls.make_certificates(folder / "tls")
    config = ExchangeConfig(
        seed=scenario.seed,
        sites={site.name: site.feed for site in scenario.sites},
        symbols=scenario.symbols,
        tls=Tls(cert=certificates.cert, key=certificates.key),
        rest_port=time_port,
    )
    (folder / "exchange.json").write_text(config.model_dump_json(indent=2), encoding="utf-8")


def _password(file: Path) -> None:
    """Keep an existing password, as Grafana does, unless another one is given."""
    given = os.environ.get("GRAFANA_ADMIN_PASSWORD")
    if given or not file.exists():
        file.write_text(given or secrets.token_urlsafe(18), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m latency_sweep.deploy.compose.prepare", description=__doc__
    )
    parser.add_argument("--feed", type=FeedProfile.active, required=True, help="active profiles")
    parser.add_argument("--config", type=Path, required=True, help="folder to write to")
    parser.add_argument("--secret", type=Path, required=True, help="folder for the password")
    parser.add_argument(
        "--prometheus-version",
        type=Version.parse,
        default=versions.load().prometheus,
        help="version of the image (default: %(default)s)",
    )
    parser.add_argument("--ec2-port", type=int, required=True)
    parser.add_argument(
        "--time-port", type=int, required=True, help="port of the exchange's time endpoint"
    )
    parser.add_argument("--region", required=True, help="AWS region of the real feed's probe")
    parser.add_argument("--sites", type=Path, default=SITES)
    return parser


if __name__ == "__main__":
    main()
