"""A whole sweep, killed at every stage: real exchange simulator, probes, Prometheus and `sweep`.

AWS is simulated, and Terraform and Session Manager are stood in for (see terraform_stand_in.py and
tunnel_stand_in.py): Prometheus is reached through the tunnel that `sweep run` opens.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml

from latency_sweep.analysis.evidence import archive
from latency_sweep.collector.state import Stage
from latency_sweep.contract import experiment as experiments
from latency_sweep.lab.local import stack
from latency_sweep.lab.local.prometheus_process import running_prometheus
from latency_sweep.lab.local.sites import LocalSite, Scenario
from latency_sweep.lab.local.stack import Setup, console_command
from latency_sweep.prometheus.configuration import PrometheusSettings, SimulatedEc2
from latency_sweep.runtime.loopback import port_of
from tests.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from tests.collector.conftest import SessionManager, SimulatedAws, StandIn

REGIONS = ("eu-west-1", "eu-west-2")
TYPE = "c6i.large"
BUCKET = "sweep-bucket"
# What the monitor's own loopback would be called; nothing of this machine answers there.
NOWHERE = "http://127.0.0.1:9"
MONITOR = {"region": REGIONS[0], "instance_id": "i-monitor", "prometheus_tunnel": "aws ssm ..."}
LOCAL = ROOT / "lab" / "local" / "experiment.yaml"


@dataclass(frozen=True, slots=True)
class Ready:
    """What the sweep finds: probes that measure, and a Prometheus that discovers them."""

    config: Path
    ports: dict[str, int]
    prometheus_url: str


@pytest.fixture
def site(
    aws: SimulatedAws, prometheus_binaries: Binaries, experiment_id: str, tmp_path: Path
) -> Iterator[Ready]:
    document = yaml.safe_load(LOCAL.read_text())
    document["regions"] = {region: {"name": region, "phase": 1} for region in REGIONS}
    document["instance_types"] = {TYPE: {"family": "compute", "architecture": "x86_64"}}
    document["timing"] = {
        "warmup_sec": 1,
        "measurement_sec": 3,
        "cooldown_sec": 1,
        "scrape_interval_sec": 1,
    }
    document["market_data"] |= {"symbols": ["BTCUSDT"], "endpoint": "ws://127.0.0.1:9"}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(document))
    places = [LocalSite(region=r, zone=f"{r}a", instance_type=TYPE) for r in REGIONS]
    setup = Setup(experiments.load(config), Scenario(sites=places), tmp_path / "stack")
    setup.logs.mkdir(parents=True)
    setup.experiment_file.write_text(config.read_text())
    data = tmp_path / "prometheus"
    data.mkdir()
    settings = PrometheusSettings(
        version=prometheus_binaries.version,
        experiment=experiment_id,
        regions=REGIONS,
        scrape_interval_sec=1,
        refresh_interval_sec=1,
        simulated_ec2=SimulatedEc2(aws.url),
        rule_files=(),
    )
    with ExitStack() as cleanup:
        exchange = stack._start_exchange(cleanup, setup)
        probes = [cleanup.enter_context(stack._probe(p, setup, exchange)) for p in places]
        urls = [stack._probe_url(probe) for probe in probes]
        ports = {r: port_of(url) for r, url in zip(REGIONS, urls, strict=True)}
        prometheus = cleanup.enter_context(running_prometheus(prometheus_binaries, settings, data))
        yield Ready(config, ports, prometheus.url)


class KilledRun:
    """`sweep run` as a process of its own, to be killed."""

    def __init__(self, sweeps: Path, experiment_id: str, arguments: list[str | Path]) -> None:
        self._command = [
            *(console_command("sweep"), "run", "--sweeps", sweeps),
            *("--experiment-id", experiment_id, *arguments),
        ]
        self._state = sweeps / experiment_id / "state.json"
        self._log = sweeps.with_suffix(".log")

    @property
    def state(self) -> Any:
        return json.loads(self._state.read_text()) if self._state.exists() else {"stage": 0}

    def until(self, condition: Callable[[], object]) -> None:
        """Start it, and kill it when the condition holds."""
        process = self._start()
        while not condition():
            assert process.poll() is None, self._log.read_text()
            time.sleep(0.02)
        process.kill()
        process.wait()

    def to_the_end(self) -> str:
        """Start it and let it finish; what it printed."""
        code = self._start().wait()
        printed = self._log.read_text()
        assert code == 0, printed
        return printed

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)


@pytest.mark.e2e
@pytest.mark.timeout(400)
def test_killed_at_every_stage_a_sweep_finishes_without_double_instances_or_lost_evidence(
    aws: SimulatedAws,
    terraform: StandIn,
    session_manager: SessionManager,
    site: Ready,
    experiment_id: str,
    tmp_path: Path,
) -> None:
    sweeps = tmp_path / "sweeps"
    run = KilledRun(
        sweeps,
        experiment_id,
        [
            *("--config", site.config, "--runs", "2", "--bucket", BUCKET),
            *("--wheel", "binance-latency-sweep==0.1.0"),
        ],
    )
    session_manager.script(target=site.prometheus_url.removeprefix("http://"))
    script = {"ports": site.ports, "prometheus_url": NOWHERE, "monitor": MONITOR}
    paused = terraform.folder / "paused"

    def kill_terraform() -> None:
        os.kill(int(paused.read_text()), signal.SIGKILL)
        paused.unlink()

    def alive() -> set[str]:
        return {instance["InstanceId"] for instance in aws.instances(experiment_id, *REGIONS)}

    terraform.script(**script, pause_in="apply")
    run.until(lambda: paused.exists() and paused.read_text())
    kill_terraform()
    assert len(alive()) == 1

    terraform.script(**script)
    # Or further, if nobody looked at it for a while.
    run.until(lambda: run.state["stage"] >= Stage.DEPLOYED)
    deployed = alive()
    assert len(deployed) == 2

    run.until(lambda: run.state["stage"] >= Stage.READY)
    schedule = run.state["schedule"]
    assert len(schedule) == 2

    aws.faults({"action": "PUT", "hang": True})
    evidence = sweeps / experiment_id / "evidence.parquet"
    run.until(evidence.exists)
    assert run.state["stage"] == Stage.COLLECTED
    assert alive() == deployed
    aws.faults()

    terraform.script(**script, pause_in="destroy")
    run.until(lambda: paused.exists() and paused.read_text())
    kill_terraform()
    assert run.state["stage"] == Stage.ARCHIVED

    terraform.script(**script)
    printed = run.to_the_end()
    assert f"Nothing tagged {experiment_id} is left" in printed
    assert run.state["stage"] == Stage.DESTROYED
    assert run.state["schedule"] == schedule
    assert {probe["instance_id"] for probe in run.state["probes"]} == deployed
    assert alive() == set()
    kept = archive.read(evidence).evidence
    assert {(each.candidate.name, each.run) for each in kept.runs} == {
        (f"{probe['region']}/{probe['az_id']}/{TYPE}", label)
        for probe in run.state["probes"]
        for label in schedule
    }
    stored = boto3.client("s3").get_object(
        Bucket=BUCKET, Key=f"binance-latency-sweep/{experiment_id}/evidence.parquet"
    )
    assert stored["Body"].read() == evidence.read_bytes()
    log = (sweeps / experiment_id / "sweep.log").read_text("utf-8")
    # The other stages are where it was killed, perhaps between saving and logging one.
    for stage in ("archived", "destroyed"):
        assert f"stage reached stage={stage}\n" in log
    for line in (
        "terraform ended action=apply code=0 ",
        "operation=DescribeInstances ",
        " probe health ",
    ):
        assert line in log
