"""Every feed end to end: real probes, as processes, on a real exchange with all its markets."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_fd_to_metric_families

from latency_sweep.contract import experiment
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.lab.exchange.config import MARKET_NAMES, parse
from latency_sweep.lab.exchange.process import ExchangeProcess
from latency_sweep.lab.local.environment import clean_environment
from latency_sweep.lab.local.recording import first_run
from latency_sweep.lab.local.stack import console_command
from latency_sweep.lab.local.tls import make_certificates
from latency_sweep.probe.measurement.sequence import GRACE_NS
from latency_sweep.runtime.child import Child
from tests.waiting import WITHIN_SEC, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from latency_sweep.contract.timeline import Run
    from latency_sweep.lab.exchange.config import MarketName
    from latency_sweep.lab.local.tls import Certificates

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

KEY = "Th1s1sASecretKeyThatNobodyMaySee"
WRONG_KEY = "N0tTheKey"
STREAMS: dict[MarketName, list[str]] = {
    "spot": ["trade", "aggTrade", "depth@100ms", "bookTicker"],
    "usdm": ["trade", "aggTrade", "depth@0ms", "bookTicker"],
    "coinm": ["trade", "aggTrade", "depth@0ms", "bookTicker"],
    "sbe": ["trade", "bestBidAsk", "depth", "depth20"],
}
UNIT_NS = {"spot": 1_000, "usdm": 1_000_000, "coinm": 1_000_000, "sbe": 1_000}
# A run's histograms go when the next measurement starts: however busy the machine is, not before
# they have been read.
TIMING = {"warmup_sec": 2, "measurement_sec": 5, "cooldown_sec": 13, "scrape_interval_sec": 1}
PLACE: dict[str, Any] = {
    "latency": {"distribution": "lognormal", "floor_ms": 60.0, "median_ms": 10.0, "sigma": 0.5},
    "loss": {"trade": 0.03},
    "duplicates": {"depth": 0.03},
}
# Where each probe receives, which market, and where it has its key from.
PROBES: dict[str, tuple[MarketName, str | None]] = {
    "spot": ("spot", None),
    "usdm": ("usdm", None),
    "coinm": ("coinm", None),
    "sbe-file": ("sbe", "file"),
    "sbe-environment": ("sbe", "environment"),
}


@dataclass(frozen=True)
class Measured:
    """A probe after a run, cut off from the exchange.

    Attributes:
        market: what it was connected to.
        child: its process, still running.
        url: of its HTTP side.
        run: a run that it took part in from the beginning.
        truth: what the exchange sent to it.
        samples: what it serves in the end, by name and labels.
    """

    market: MarketName
    child: Child
    url: str
    run: Run
    ground_truth: pd.DataFrame = field(repr=False)
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = field(repr=False)

    def value(self, name: str, **labels: str) -> float:
        """One sample; 0 if there is none."""
        return self.samples.get((name, frozenset((labels | {"market": self.market}).items())), 0.0)

    def bucket_at(self, histogram: str, bound: float, **labels: str) -> float:
        """How many are no more than a bound, or than the next one that the histogram has."""
        name = f"{histogram}_bucket"
        bounds = {dict(pairs)["le"] for family, pairs in self.samples if family == name}
        le = min((le for le in bounds if float(le) >= bound), key=float)
        return self.value(name, **labels, le=le)


def scrape(url: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = requests.get(f"{url}/metrics", timeout=10).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_fd_to_metric_families(io.StringIO(text))
        for sample in family.samples
    }


def start_probe(
    folder: Path,
    name: str,
    exchange: ExchangeProcess,
    certificates: Certificates,
    key: dict[str, Any],
) -> Child:
    """A probe at the place of its name; `key` holds `file` or `environment`."""
    market = PROBES[name][0] if name in PROBES else "sbe"
    document = experiment.load().model_dump(by_alias=True)
    document["timing"] = TIMING
    document["market_data"] |= {
        "market": market,
        "symbols": ["BTCUSDT", "ETHUSDT"],
        "streams": STREAMS[market],
        "endpoint": exchange.url(name, market),
        "time_endpoint": exchange.market_time_url(market),
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    options: dict[str, Any] = {
        "--config": file,
        "--ca-file": certificates.ca,
        "--metrics-port": 0,
        "--clock-source": "shared",
        "--log-level": "debug",
    }
    if "file" in key:
        secret = folder / f"{name}.key"
        secret.write_text(f"{key['file']}\n")
        options["--api-key-file"] = secret
    arguments = [str(part) for option in options.items() for part in option]
    added = {"PROBE_API_KEY": key["environment"]} if "environment" in key else {}
    environment = clean_environment(**added)
    command = [console_command("probe"), "run", *arguments]
    return Child(f"probe-{name}", command, folder=folder, environment=environment)


def url_of(child: Child) -> str:
    child.wait_until(
        lambda: b"\n" in child.output.read_bytes(), within_sec=WITHIN_SEC, what="get ready"
    )
    found = re.search(rb'"metrics_url": "(.*?)"', child.output.read_bytes())
    assert found is not None
    return found[1].decode()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def exchange(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExchangeProcess]:
    """All markets, at a place for each probe and one more."""
    folder = tmp_path_factory.mktemp("exchange")
    symbol = {"trades_per_sec": 60.0, "book_updates_per_sec": 40.0}
    document = {
        "sites": dict.fromkeys([*PROBES, "refused"], PLACE),
        "markets": {market: {} for market in MARKET_NAMES} | {"sbe": {"api_keys": [KEY]}},
        "symbols": {"BTCUSDT": symbol, "ETHUSDT": symbol},
        "tls": {"cert": str(certificates.cert), "key": str(certificates.key)},
    }
    with ExchangeProcess(parse(document, source="test"), folder) as process:
        yield process


@pytest.fixture(scope="module")
def measured(
    exchange: ExchangeProcess,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Measured]]:
    """One run of every probe, then nothing more from the exchange."""
    folder = tmp_path_factory.mktemp("probes")
    with ExitStack() as stack:
        children = {
            name: stack.enter_context(
                start_probe(folder, name, exchange, certificates, {source: KEY} if source else {})
            )
            for name, (_, source) in PROBES.items()
        }
        urls = {name: url_of(child) for name, child in children.items()}
        # A probe that is connected has looked at the clock to see which run it may join.
        wait_until("connected", lambda: not any(is_disconnected(url) for url in urls.values()))
        run = first_run(Timeline.of(experiment.Timing.model_validate(TIMING)), time.time_ns())
        over_ns = run.measure_end_ns + NS_PER_SEC
        wait_until("over", lambda: time.time_ns() > over_ns)
        exchange.control("refuse")
        exchange.control("disconnect", code=1001)
        wait_until("cut off", lambda: not any(s["connections"] for s in places(exchange).values()))
        wait_until("down", lambda: all(is_disconnected(url) for url in urls.values()))
        # What is missing may still arrive late until the grace period is over.
        settled_ns = time.time_ns() + GRACE_NS
        wait_until("settled", lambda: time.time_ns() > settled_ns)
        samples = {name: scrape(url) for name, url in urls.items()}
        yield {
            name: Measured(
                PROBES[name][0], child, urls[name], run, exchange.ground_truth(name), samples[name]
            )
            for name, child in children.items()
        }
        for child in children.values():
            child.ask_to_stop()


def places(exchange: ExchangeProcess) -> dict[str, Any]:
    found: dict[str, Any] = exchange.stats()["sites"]
    return found


def is_disconnected(url: str) -> bool:
    return 0.0 in {v for (name, _), v in scrape(url).items() if name == "feed_connected"}


def rows(probe: Measured, symbol: str, stream: str) -> pd.DataFrame:
    """What reached the socket."""
    name = f"{symbol.lower()}@{stream}"
    arrived = probe.ground_truth["outcome"].isin(["sent", "duplicate"])
    return probe.ground_truth[arrived & (probe.ground_truth["stream"] == name)]


def channels(probe: Measured) -> list[tuple[str, str]]:
    return [(symbol, s) for s in STREAMS[probe.market] for symbol in ("BTCUSDT", "ETHUSDT")]


every_probe = pytest.mark.parametrize("name", PROBES)


@every_probe
def test_every_message_that_was_sent_is_counted(measured: dict[str, Measured], name: str) -> None:
    probe = measured[name]
    counted = sum(
        probe.value("feed_messages_total", symbol=symbol, stream=stream)
        for symbol, stream in channels(probe)
    )
    copies = probe.value("feed_redundant_messages_total", connection="0")
    assert counted + copies == sum(len(rows(probe, *channel)) for channel in channels(probe))
    assert set(probe.ground_truth["market"]) == {probe.market}


@every_probe
def test_lost_trades_are_those_that_the_exchange_dropped(
    measured: dict[str, Measured], name: str
) -> None:
    probe = measured[name]
    total = 0.0
    for symbol in ("BTCUSDT", "ETHUSDT"):
        arrived = rows(probe, symbol, "trade")
        name_ = f"{symbol.lower()}@trade"
        dropped = probe.ground_truth[
            (probe.ground_truth["stream"] == name_) & (probe.ground_truth["outcome"] == "dropped")
        ]
        # What one connection lost, another may have brought while they overlapped.
        dropped = dropped[~dropped["last_id"].isin(arrived["last_id"])].drop_duplicates("last_id")
        inside = dropped["last_id"].between(arrived["last_id"].min(), arrived["last_id"].max())
        missing = dropped[inside]
        if probe.market == "sbe":
            # A message covers a range of ids: of several dropped in a row one hole is seen.
            missing = missing[~missing["first_id"].isin(missing["last_id"] + 1)]
        lost = probe.value("feed_messages_lost_total", symbol=symbol, stream="trade")
        assert lost == len(missing)
        total += lost
    assert total > 0


@every_probe
def test_latency_of_a_run_is_that_of_the_truth(measured: dict[str, Measured], name: str) -> None:
    probe = measured[name]
    unit = UNIT_NS[probe.market]
    for symbol, stream in channels(probe):
        labels = {"symbol": symbol, "stream": stream, "run": probe.run.label}
        if (probe.market, stream) == ("spot", "bookTicker"):
            assert probe.value("feed_latency_seconds_count", **labels) == 0
            continue
        arrived = rows(probe, symbol, stream)
        told_ns = arrived["event_ns"] // unit * unit
        inside = told_ns.between(
            probe.run.measure_start_ns, probe.run.measure_end_ns, inclusive="left"
        )
        latency_sec = (arrived["send_ns"] - told_ns)[inside] / 1e9
        assert probe.value("feed_latency_seconds_count", **labels) == len(latency_sec)
        assert probe.value("feed_latency_seconds_sum", **labels) >= latency_sec.sum()
        # The kernel timestamps what is read together with the last of it, so a busy machine adds,
        # and a single pause of it more than all the others have; but not to most of them.
        soon = probe.bucket_at("feed_latency_seconds", 1.5 * latency_sec.median(), **labels)
        assert soon > len(latency_sec) / 2


@every_probe
def test_only_the_end_of_the_market_is_an_error(measured: dict[str, Measured], name: str) -> None:
    errors = {
        dict(labels)["kind"]: value
        for (family, labels), value in measured[name].samples.items()
        if family == "feed_errors_total" and value
    }
    assert errors.keys() <= {"upgrade_rejected"}  # once the exchange refused


@every_probe
def test_the_exchange_s_clock_is_read_in_the_unit_of_its_market(
    measured: dict[str, Measured], name: str
) -> None:
    probe = measured[name]
    offset_sec = probe.value("feed_exchange_clock_offset_seconds")
    bound_sec = probe.value("feed_exchange_clock_error_bound_seconds")
    assert bound_sec > 0
    assert abs(offset_sec) <= bound_sec


@pytest.mark.parametrize("name", ["sbe-file", "sbe-environment"])
def test_the_key_is_shown_nowhere(measured: dict[str, Measured], name: str) -> None:
    probe = measured[name]
    command_line = Path(f"/proc/{probe.child.pid}/cmdline").read_bytes()
    assert b"probe" in command_line
    pages = ("/", "/metrics", "/-/healthy", "/-/ready", "/status", "/samples")
    shown = [
        command_line,
        probe.child.log.read_bytes(),
        probe.child.output.read_bytes(),
        *(requests.get(probe.url + page, timeout=10).content for page in pages),
    ]
    assert all(KEY.encode() not in text for text in shown)


def test_a_wrong_key_is_counted_and_logged_and_does_not_end_the_probe(
    exchange: ExchangeProcess, certificates: Certificates, tmp_path: Path
) -> None:
    exchange.control("resume")
    key = {"environment": WRONG_KEY}
    with start_probe(tmp_path, "refused", exchange, certificates, key) as child:
        url = url_of(child)
        rejected = "feed_errors_total", frozenset({("market", "sbe"), ("kind", "upgrade_rejected")})
        wait_until("refused", lambda: scrape(url).get(rejected, 0) >= 2)
        assert is_disconnected(url)
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(within_sec=WITHIN_SEC) == 0
    assert b"upgrade: server rejected WebSocket connection: HTTP 403" in child.log.read_bytes()
    assert WRONG_KEY.encode() not in child.log.read_bytes()


def test_a_market_that_needs_a_key_is_not_started_without_one() -> None:
    command = [console_command("probe"), "run", "--market", "sbe", "--streams", "trade"]
    environment = {name: v for name, v in os.environ.items() if name != "PROBE_API_KEY"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=WITHIN_SEC
    )
    assert done.returncode == 2
    assert "the sbe market needs an API key" in done.stderr
    assert "Traceback" not in done.stderr
