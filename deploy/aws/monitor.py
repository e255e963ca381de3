"""Prometheus' configuration and rules on the monitor instance.

    python -m latency_sweep.deploy.aws.monitor

The rules use the limits of the experiment. The configuration is that of the local stack, with what
only AWS needs: probes of other regions are scraped at their public addresses, node_exporter is
scraped too, and alerts are sent to an Alertmanager.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from latency_sweep.contract import experiment
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import ExperimentError
from latency_sweep.prometheus.configuration import (
    ConfigurationError,
    PrometheusSettings,
    ScrapeSecurity,
    render,
)
from latency_sweep.prometheus.rules import generate
from latency_sweep.prometheus.rules.generate import RulesError
from latency_sweep.prometheus.version import Version, VersionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.contract.experiment import Experiment

# Name in the certificate that all probes share: their addresses are not known in advance.
SERVER_NAME: Final = "probe.latency-sweep.internal"
NODE_JOB: Final = "node"
NODE_PORT: Final = 9100
ALERTMANAGER: Final = "127.0.0.1:9093"
# Tag that distinguishes monitor and probes, and the monitor's value of it.
ROLE: Final = "Role"
ROLE_MONITOR: Final = "monitor"


def configuration(
    settings: PrometheusSettings, *, alertmanager: str = ALERTMANAGER
) -> dict[str, Any]:
    """Prometheus' configuration on AWS.

    Args:
        settings: as for `latency_sweep.prometheus.configuration.render`.
        alertmanager: host and port.

    Raises:
        ConfigurationError: the Prometheus is too old.
    """
    document: dict[str, Any] = yaml.safe_load(render(settings))
    (probes,) = document["scrape_configs"]
    document["scrape_configs"] = [
        _at_public_address(probes, settings.port),
        _at_public_address(_node(probes), NODE_PORT),
    ]
    document["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    return document


def _at_public_address(job: dict[str, Any], port: int) -> dict[str, Any]:
    """EC2 discovery yields private addresses, which are not reachable from another region."""
    public = {
        "source_labels": ["__meta_ec2_public_ip"],
        "regex": "(.+)",
        "target_label": "__address__",
        "replacement": f"$1:{port}",
    }
    # The monitor has the tags of the sweep, too, but is not a probe.
    itself = {
        "source_labels": [f"__meta_ec2_tag_{ROLE}"],
        "regex": ROLE_MONITOR,
        "action": "drop",
    }
    return {**job, "relabel_configs": [itself, public, *job["relabel_configs"]]}


def _node(probes: dict[str, Any]) -> dict[str, Any]:
    """node_exporter of the same instances: TLS without a token, no native histograms."""
    node = copy.deepcopy(probes)
    node["job_name"] = NODE_JOB
    node.pop("authorization", None)
    node.pop("scrape_native_histograms", None)
    for discovery in node["ec2_sd_configs"]:
        discovery["port"] = NODE_PORT
    return node


def main(argv: Sequence[str] | None = None) -> int:
    """Print the configuration and write the rules; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        sweep = experiment.load(arguments.experiment_file)
        settings = PrometheusSettings(
            version=Version.parse(arguments.prometheus_version),
            experiment=arguments.experiment_id,
            regions=tuple(arguments.regions.split(",")),
            scrape_interval_sec=sweep.timing.scrape_interval_sec,
            port=arguments.metrics_port,
            security=_security(arguments.tls_folder),
            rule_files=_write_rules(arguments.rules_folder, sweep),
        )
        document = configuration(settings)
    except (ExperimentError, ConfigurationError, RulesError, VersionError) as error:
        print(f"latency_sweep.deploy.aws.monitor: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    except OSError as error:
        print(
            f"latency_sweep.deploy.aws.monitor: {error.filename}: {error.strerror}.",
            file=sys.stderr,
        )
        return ExitCode.BAD_INPUT
    yaml.safe_dump(document, sys.stdout, sort_keys=False)
    return ExitCode.DONE


def _write_rules(folder: Path, sweep: Experiment) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    # A repeated bootstrap must not touch files that are up to date.
    files = {folder / name: text for name, text in generate.render(sweep).items()}
    if all(file.exists() and file.read_text("utf-8") == text for file, text in files.items()):
        return tuple(files)
    return generate.write(folder, sweep)


def _security(folder: Path | None) -> ScrapeSecurity | None:
    if folder is None:
        return None
    return ScrapeSecurity(
        credentials_file=folder / "token", ca_file=folder / "ca.pem", server_name=SERVER_NAME
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m latency_sweep.deploy.aws.monitor",
        description="Print the Prometheus configuration of the monitor instance and write the "
        "rules it refers to.",
    )
    parser.add_argument("--experiment-file", type=Path, required=True, metavar="FILE")
    parser.add_argument("--rules-folder", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--experiment-id", required=True, metavar="NAME")
    parser.add_argument("--regions", required=True, metavar="LIST", help="comma-separated")
    parser.add_argument("--metrics-port", type=int, default=9090, metavar="N")
    parser.add_argument("--prometheus-version", required=True, metavar="X.Y.Z")
    parser.add_argument(
        "--tls-folder", type=Path, metavar="FOLDER", help="holds token and ca.pem (default: HTTP)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
