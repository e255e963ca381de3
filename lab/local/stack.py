"""The whole stack on one machine: simulated exchange, probes, simulated EC2, a real Prometheus.

Everything is a process of its own, started in the order of need and stopped in the reverse one.
"""

from __future__ import annotations

import json
import secrets
import sys
import sysconfig
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import requests
import yaml

from latency_sweep.contract.metrics import JOB
from latency_sweep.contract.monitoring import Monitoring, Windows
from latency_sweep.lab.exchange.config import ExchangeConfig, MarketConfig, Symbol, Tls
from latency_sweep.lab.local import tls
from latency_sweep.lab.local.ec2 import Machine, running_ec2
from latency_sweep.lab.local.environment import clean_environment
from latency_sweep.lab.local.prometheus_process import Prometheus, running_prometheus
from latency_sweep.prometheus.configuration import PrometheusSettings
from latency_sweep.prometheus.rules import generate
from latency_sweep.runtime.child import Child, Priority
from latency_sweep.runtime.loopback import get_json, port_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.lab.exchange.config import Replay
    from latency_sweep.lab.local.sites import LocalSite, Scenario
    from latency_sweep.prometheus.configuration import RemoteWrite

_READY_WITHIN_SEC: Final = 120.0
# Discovery tells the scraper of new targets every 5 s; asking EC2 more often gains nothing.
_EC2_REFRESH_SEC: Final = 5
# Runs are short here: the clocks' rate against each other takes two answers at least.
_TIME_INTERVAL_SEC: Final = 5
# Where a probe looks for the key of a market that needs one.
_API_KEY_VARIABLE: Final = "PROBE_API_KEY"


@dataclass(frozen=True, slots=True)
class Setup:
    """What to start.

    Attributes:
        experiment: what is measured; its endpoints are replaced by the simulated ones.
        scenario: the sites and the market.
        folder: receives configuration, logs and data; made if needed.
        replay: recorded frames in place of the generated market, or None.
        ground_truth: whether the exchange records what it sent, in `folder`/ground_truth.
        windows: of the recording rules and alerts; by default those used on AWS.
        remote_write: stores that receive everything as well.
        urgent: whether exchange and probes come before all other programs, where that is allowed.
            Of two stacks on one machine at most one may: those of the other would hold them up.
        timestamps: where the probes' receive timestamps come from, their `--timestamps`.
    """

    experiment: Experiment
    scenario: Scenario
    folder: Path
    replay: Replay | None = None
    ground_truth: bool = False
    windows: Windows = field(default_factory=Windows)
    remote_write: tuple[RemoteWrite, ...] = ()
    urgent: bool = True
    timestamps: str = "auto"

    def priority(self, wanted: Priority) -> Priority:
        """The priority that a process gets if it should have `wanted`."""
        return wanted if self.urgent else Priority.NORMAL

    @property
    def experiment_file(self) -> Path:
        """The experiment as it is run, for `--config` of the probes and of `analyze`."""
        return self.folder / "experiment.yaml"

    @property
    def logs(self) -> Path:
        """Folder of what the processes print."""
        return self.folder / "logs"

    @property
    def ground_truth_folder(self) -> Path:
        """Folder of the ground truth, if it is written."""
        return self.folder / "ground_truth"


@dataclass(frozen=True, slots=True)
class LocalProbe:
    """The probe of a site.

    Attributes:
        site: the site.
        instance: id of its simulated instance, the `instance` label.
        url: base URL of its HTTP side.
        child: its process.
    """

    site: LocalSite
    instance: str
    url: str
    child: Child


@dataclass(frozen=True, slots=True)
class LocalExchange:
    """The simulated exchange.

    Attributes:
        endpoints: WebSocket base URL of each site, by its name.
        time_endpoint: URL of its time.
        control_url: base URL of its control interface.
        ca: CA to trust.
        child: its process.
        api_key: opens its connections where the market needs a key; generated for this stack.
    """

    endpoints: dict[str, str]
    time_endpoint: str
    control_url: str
    ca: Path
    child: Child
    api_key: str = field(repr=False)

    def stats(self) -> dict[str, Any]:
        """Counters of what it has done so far.

        Raises:
            requests.RequestException: no answer.
        """
        document: dict[str, Any] = get_json(f"{self.control_url}/control/stats")
        return document


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack, every probe of it discovered and scraped.

    Attributes:
        setup: what was asked for.
        exchange: the simulated exchange.
        probes: one for each site, in order.
        prometheus: the Prometheus that scrapes them.
        children: all processes.
    """

    setup: Setup
    exchange: LocalExchange
    probes: tuple[LocalProbe, ...]
    prometheus: Prometheus
    children: tuple[Child, ...]

    def check(self) -> None:
        """Raise if a process has ended.

        Raises:
            ChildError: with its exit code, its log's path and last lines.
        """
        for child in self.children:
            child.check()


def console_command(name: str) -> str:
    """Path of a console command of this installation."""
    return str(Path(sysconfig.get_path("scripts")) / name)


@contextmanager
def running_stack(
    setup: Setup, binaries: Binaries, *, report: Callable[[str], None] = lambda _: None
) -> Iterator[Stack]:
    """Run the stack until the context ends, however it ends.

    Args:
        setup: what to start.
        binaries: which Prometheus.
        report: called with each step, in one line.

    Raises:
        ChildError: a process does not start; the message quotes its log.
        RulesError: the experiment scrapes too rarely for the rules.
    """
    data = setup.folder / "prometheus"
    data.mkdir(parents=True, exist_ok=True)
    # With the limits of this experiment, not of the shipped one.
    rules = generate.write(data, setup.experiment, Monitoring(windows=setup.windows))
    setup.logs.mkdir(parents=True, exist_ok=True)
    document = setup.experiment.model_dump(by_alias=True)
    setup.experiment_file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    with ExitStack() as cleanup:
        report("Starting the simulated exchange ...")
        exchange = _start_exchange(cleanup, setup)

        report(f"Starting {len(setup.scenario.sites)} probes ...")
        children = [
            cleanup.enter_context(_probe(site, setup, exchange)) for site in setup.scenario.sites
        ]
        urls = [_probe_url(child) for child in children]

        report("Starting the simulated EC2, one instance for each probe ...")
        ec2 = cleanup.enter_context(running_ec2(setup.logs))
        types = setup.experiment.instance_types
        machines = [
            Machine(
                region=site.region,
                zone=site.zone,
                instance_type=site.instance_type,
                architecture=types[site.instance_type].architecture,
                probe_port=port_of(url),
            )
            for site, url in zip(setup.scenario.sites, urls, strict=True)
        ]
        instances = ec2.create(machines, experiment=setup.experiment.name)

        report(f"Starting Prometheus {binaries.version} ...")
        settings = PrometheusSettings(
            version=binaries.version,
            experiment=setup.experiment.name,
            regions=tuple(dict.fromkeys(site.region for site in setup.scenario.sites)),
            scrape_interval_sec=setup.experiment.timing.scrape_interval_sec,
            refresh_interval_sec=_EC2_REFRESH_SEC,
            simulated_ec2=ec2.access,
            rule_files=rules,
            remote_write=setup.remote_write,
        )
        prometheus = cleanup.enter_context(running_prometheus(binaries, settings, data))

        report("Waiting until Prometheus has discovered every probe ...")
        stack = Stack(
            setup=setup,
            exchange=exchange,
            probes=tuple(
                LocalProbe(*probe)
                for probe in zip(setup.scenario.sites, instances, urls, children, strict=True)
            ),
            prometheus=prometheus,
            children=(exchange.child, *children, ec2.child, prometheus.child),
        )
        prometheus.child.wait_until(
            lambda: _all_are_up(stack), within_sec=_READY_WITHIN_SEC, what="discover all probes"
        )
        try:
            yield stack
        finally:
            # All at once is quicker; leaving the contexts then waits for each.
            for probe in children:
                probe.ask_to_stop()


def _start_exchange(cleanup: ExitStack, setup: Setup) -> LocalExchange:
    certificates = tls.make_certificates(setup.folder / "tls")
    data = setup.experiment.market_data
    api_key = secrets.token_hex(32)
    config = ExchangeConfig(
        seed=setup.scenario.seed,
        sites={site.name: site.feed for site in setup.scenario.sites},
        markets={data.market: MarketConfig(api_keys=[api_key])},
        symbols={symbol: setup.scenario.symbols.get(symbol, Symbol()) for symbol in data.symbols},
        tls=Tls(cert=certificates.cert, key=certificates.key),
        ground_truth_dir=setup.ground_truth_folder if setup.ground_truth else None,
        replay=setup.replay,
    )
    file = setup.folder / "exchange.json"
    file.write_text(config.model_dump_json(indent=2), encoding="utf-8")
    command = [sys.executable, "-m", "latency_sweep.lab.exchange", "--config", str(file)]
    child = cleanup.enter_context(
        Child(
            "exchange",
            command,
            folder=setup.logs,
            environment=clean_environment(),
            priority=setup.priority(Priority.FIRST),
        )
    )
    addresses = _announcement(child)
    return LocalExchange(
        endpoints={name: site["urls"][data.market] for name, site in addresses["sites"].items()},
        time_endpoint=addresses["time"][data.market],
        control_url=addresses["control"],
        ca=certificates.ca,
        child=child,
        api_key=api_key,
    )


def _probe(site: LocalSite, setup: Setup, exchange: LocalExchange) -> Child:
    options = {
        "--config": str(setup.experiment_file),
        "--region": site.region,
        "--instance-family": setup.experiment.instance_types[site.instance_type].family,
        "--experiment-id": setup.experiment.name,
        "--endpoint": exchange.endpoints[site.name],
        "--time-endpoint": exchange.time_endpoint,
        "--time-interval-sec": str(_TIME_INTERVAL_SEC),
        "--metrics-host": "127.0.0.1",
        "--metrics-port": "0",
        "--ca-file": str(exchange.ca),
        "--timestamps": setup.timestamps,
        # LocalExchange and probes run on one machine, whether its clock is synchronised or not.
        "--clock-source": "shared",
    }
    arguments = [part for option in options.items() for part in option]
    command = [console_command("probe"), "run", *arguments]
    return Child(
        f"probe-{site.name}",
        command,
        folder=setup.logs,
        environment=clean_environment(**{_API_KEY_VARIABLE: exchange.api_key}),
        priority=setup.priority(Priority.PROMPT),
    )


def _probe_url(child: Child) -> str:
    url: str = _announcement(child)["metrics_url"]
    return url


def _announcement(child: Child) -> dict[str, Any]:
    """The line of JSON that a child prints when it is ready."""
    child.wait_until(
        lambda: b"\n" in child.output.read_bytes(), within_sec=_READY_WITHIN_SEC, what="get ready"
    )
    document: dict[str, Any] = json.loads(child.output.read_bytes().splitlines()[0])
    return document


def _all_are_up(stack: Stack) -> bool:
    stack.check()
    try:
        up = stack.prometheus.query(f'up{{job="{JOB}"}} == 1')
    except requests.RequestException:
        return False  # too busy to answer, as it may be while it starts
    return {labels["instance"] for labels, _ in up} == {probe.instance for probe in stack.probes}
