"""Many faults at once: a probe and a proxy for each, one exchange, one Prometheus.

The exchange is stopped at the end, so that its ground truth is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from websockets.asyncio.client import connect

from latency_sweep.contract import metrics
from latency_sweep.contract.metrics import ErrorKind
from latency_sweep.lab.exchange.config import (
    Constant,
    ExchangeConfig,
    LimitOverrides,
    SiteConfig,
    Symbol,
)
from latency_sweep.lab.exchange.process import ExchangeProcess
from latency_sweep.lab.faults import accounting
from latency_sweep.lab.faults.accounting import Account
from latency_sweep.lab.faults.certificates import make_identities
from latency_sweep.lab.faults.dns import DnsServer
from latency_sweep.lab.faults.proxy import HOST, FaultProxy
from latency_sweep.lab.faults.registry import Entry, FaultContext
from latency_sweep.lab.faults.scraper import LABEL
from latency_sweep.runtime.loopback import get_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from latency_sweep.lab.faults.scraper import Scraper
    from latency_sweep.runtime.child import Child

SYMBOL: Final = "BTCUSDT"
STREAMS: Final = ("trade", "depth@100ms")
TRADES_PER_SEC: Final = 40.0
WITNESS: Final = "witness"
# Frames on every connection before the first fault.
_CALM_FRAMES: Final = 50
# Longer than a trial of two connections takes to settle.
_CALM_AGAIN_SEC: Final = 4.0
_READY_WITHIN_SEC: Final = 60.0
_RECOVERED_WITHIN_SEC: Final = 120.0
_NEWEST: Final = "[1m]"
# A missing message counts as lost a second after the gap; the scrape has to come later.
_SETTLED_SEC: Final = 2.5
_POLL_SEC: Final = 0.05
# From the start of the probes to the measurement, and what has to be left of its cycle.
_WARMUP_SEC: Final = 20.0
_LONGEST_SEC: Final = 1800
_CYCLE_SEC: Final = 3600


class LaboratoryError(Exception):
    """The run cannot be evaluated; the message says why."""


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A probe to start.

    Attributes:
        name: of its fault.
        arguments: for `probe run`.
        patched: see `registry.Entry.patched`.
    """

    name: str
    arguments: tuple[str, ...]
    patched: str


@dataclass(frozen=True, slots=True)
class FaultResult:
    """The result of one fault for its probe. Counters are as Prometheus has them.

    Attributes:
        survived: whether the probe still runs and counted no internal error.
        recovered_sec: from the end of the fault, or from its injection if it is momentary, to
            the first message that passed the proxy unchanged; None if there was none.
        began_ns: when the fault began, Unix nanoseconds.
        over_ns: just before it was lifted.
        accounts: of each stream.
        shown: value of each series that must show the fault.
        disconnected_sec: time without a connection.
    """

    survived: bool
    recovered_sec: float | None
    began_ns: int
    over_ns: int
    accounts: Mapping[str, Account]
    shown: Mapping[str, float]
    disconnected_sec: float


# Starts probes that resolve names at a port; the processes end with the context.
Start: TypeAlias = (
    "Callable[[Sequence[ProbeSpec], int, Path], AbstractContextManager[Sequence[Child]]]"
)


@dataclass(slots=True)
class _Subject:
    """One probe, its proxy and its fault."""

    name: str
    entry: Entry
    proxy: FaultProxy
    context: FaultContext
    began_ns: int = 0
    over_ns: int = 0
    recovered_sec: float | None = None


async def run(
    faults: Mapping[str, Entry], folder: Path, scraper: Scraper, start: Start
) -> dict[str, FaultResult]:
    """Inject each fault for a probe of its own, all at the same time.

    Args:
        faults: by name.
        folder: receives configuration and logs; made if needed.
        scraper: the Prometheus that scrapes the probes.
        start: starts the probes.

    Raises:
        LaboratoryError: probes received nothing before the faults, or Prometheus lags behind.
        ChildError: a process does not start, or ended.
    """
    async with AsyncExitStack() as stack:
        dns = DnsServer()
        await dns.start()
        stack.callback(dns.stop)
        hosts = {name: f"{name}.faults.test" for name in faults}
        identities = make_identities(folder, list(hosts.values()))
        exchange = stack.enter_context(ExchangeProcess(exchange_config(list(faults)), folder))
        witness = asyncio.create_task(keep_listening(exchange.url(WITNESS)))
        stack.push_async_callback(_end, witness)
        subjects = []
        for name, entry in faults.items():
            upstream = urlsplit(exchange.url(name))
            assert upstream.hostname is not None
            assert upstream.port is not None
            proxy = FaultProxy((upstream.hostname, upstream.port), identities.contexts)
            await stack.enter_async_context(proxy)
            dns.answers[hosts[name]] = HOST
            subjects.append(_Subject(name, entry, proxy, FaultContext(dns, hosts[name])))
        measure_from = time.time() + _WARMUP_SEC
        specs = [_spec(subject, identities.ca, measure_from) for subject in subjects]
        children = stack.enter_context(start(specs, dns.port, folder))
        scraper.scrape(await _urls(children, len(specs)))
        await _calm(subjects, children)
        await asyncio.sleep(measure_from + 1 - time.time())
        await asyncio.gather(*(_strike(subject, exchange) for subject in subjects))
        await asyncio.sleep(_CALM_AGAIN_SEC)
        await scraped(scraper, len(subjects), time.time())
        shown = await _shown(scraper, faults)
        disconnected = await asyncio.to_thread(_by_fault, scraper, metrics.DISCONNECTED.name)
        # Its own thread: the last messages have to pass the proxies meanwhile.
        await asyncio.to_thread(exchange.stop)
        await scraped(scraper, len(subjects), time.time() + _SETTLED_SEC)
        for child in children:
            child.check()
        return _results(subjects, exchange, scraper, shown, disconnected)


def exchange_config(sites: Sequence[str]) -> ExchangeConfig:
    """An undisturbed exchange with these sites, and the witness."""
    site = SiteConfig(latency=Constant(ms=1.0))
    return ExchangeConfig(
        sites=dict.fromkeys((*sites, WITNESS), site),
        symbols={SYMBOL: Symbol(trades_per_sec=TRADES_PER_SEC, book_updates_per_sec=20.0)},
        # Pings every second, and pongs to the laboratory's own pings break no limit.
        limits=LimitOverrides(
            messages_per_sec=100_000, ping_interval_sec=1.0, pong_timeout_sec=60.0
        ),
    )


def probe_arguments(
    name: str, endpoint: str, ca: Path, measure_from: float, metrics_port: int = 0
) -> list[str]:
    """Arguments of `probe run` for a probe of the laboratory; its experiment is its name."""
    return [
        f"--experiment-id={name}",
        f"--symbols={SYMBOL}",
        f"--streams={','.join(STREAMS)}",
        f"--endpoint={endpoint}",
        "--time-endpoint=",
        f"--metrics-port={metrics_port}",
        "--clock-source=shared",
        f"--ca-file={ca}",
        *timing_arguments(measure_from),
    ]


def timing_arguments(measure_from: float) -> list[str]:
    """Flags for a run whose measurement begins then, within a second, and goes on for long."""
    # Runs begin at multiples of their length since 1970. Doubling the length until one fits can
    # take weeks, longer than a phase may be; of lengths a second apart one soon fits.
    cycle = _CYCLE_SEC
    while cycle - measure_from % cycle < _LONGEST_SEC:
        cycle += 1
    warmup = int(measure_from % cycle) + 1
    return [
        f"--warmup-sec={warmup}",
        f"--measurement-sec={cycle - warmup - 1}",
        "--cooldown-sec=1",
    ]


def _spec(subject: _Subject, ca: Path, measure_from: float) -> ProbeSpec:
    host = subject.context.host if subject.entry.patched == "dns" else HOST
    endpoint = f"wss://{host}:{subject.proxy.port}"
    arguments = probe_arguments(subject.name, endpoint, ca, measure_from)
    return ProbeSpec(subject.name, tuple(arguments), subject.entry.patched)


async def keep_listening(url: str) -> None:
    """Receive everything from a site of the exchange until it ends: the witness."""
    streams = "/".join(f"{SYMBOL.lower()}@{stream}" for stream in STREAMS)
    target = f"{url}/stream?streams={streams}&timeUnit=MICROSECOND"
    with contextlib.suppress(OSError):
        async with connect(target, compression=None, ping_interval=None, proxy=None) as connection:
            async for _ in connection:
                pass


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _urls(children: Sequence[Child], count: int) -> dict[str, str]:
    """Base URL of each probe by its fault, as soon as all of them listen."""
    deadline = time.monotonic() + _READY_WITHIN_SEC
    while len(lines := [x for c in children for x in c.output.read_bytes().splitlines()]) < count:
        for child in children:
            child.check()
        if time.monotonic() > deadline:
            raise LaboratoryError(f"only {len(lines)} of {count} probes got ready")
        await asyncio.sleep(_POLL_SEC)
    urls = [str(json.loads(line)["metrics_url"]) for line in lines]
    return {await asyncio.to_thread(_experiment_of, url): url for url in urls}


def _experiment_of(url: str) -> str:
    experiment: str = get_json(f"{url}/status")["info"]["experiment"]
    return experiment


async def _calm(subjects: Sequence[_Subject], children: Sequence[Child]) -> None:
    """Wait until every probe has received enough messages."""
    deadline = time.monotonic() + _READY_WITHIN_SEC
    while late := [s.name for s in subjects if _frames(s) < _CALM_FRAMES]:
        for child in children:
            child.check()
        if time.monotonic() > deadline:
            raise LaboratoryError(f"no messages reached {', '.join(late)}")
        await asyncio.sleep(_POLL_SEC)


def _frames(subject: _Subject) -> int:
    return max((link.frames for link in subject.proxy.links), default=0)


async def _strike(subject: _Subject, exchange: ExchangeProcess) -> None:
    """Inject the fault, and wait until messages pass unchanged again and none is held."""
    entry, proxy = subject.entry, subject.proxy
    fault = entry.make(subject.context)
    struck = time.monotonic()
    subject.began_ns = time.time_ns()
    proxy.inject(fault)
    if entry.command is not None:
        action, parameters = entry.command
        await asyncio.to_thread(exchange.control, action, site=subject.name, **parameters)
    await asyncio.sleep(entry.window_sec)
    # Taken first: whatever it withholds comes later than that.
    lifted, subject.over_ns = time.monotonic(), time.time_ns()
    proxy.lift(fault)
    over = lifted if entry.lasting else struck
    deadline = time.monotonic() + _RECOVERED_WITHIN_SEC
    while time.monotonic() < deadline:
        well = [x.well_since for x in proxy.links if x.well_since and x.well_since >= struck]
        if well and subject.recovered_sec is None:
            subject.recovered_sec = max(0.0, min(well) - over)
        if well and not fault.withholds:
            return
        await asyncio.sleep(_POLL_SEC)


async def _shown(scraper: Scraper, faults: Mapping[str, Entry]) -> dict[str, dict[str, float]]:
    """The series that must show each fault, by selector and fault."""
    selectors = sorted({selector for entry in faults.values() for selector in entry.shows})
    return {
        selector: await asyncio.to_thread(_by_fault, scraper, selector) for selector in selectors
    }


def _by_fault(scraper: Scraper, selector: str) -> dict[str, float]:
    """The newest value of a counter; one scrape that came too late does not matter."""
    return scraper.query(f"sum by ({LABEL}) (last_over_time({selector}{_NEWEST}))")


def _results(
    subjects: Sequence[_Subject],
    exchange: ExchangeProcess,
    scraper: Scraper,
    shown: Mapping[str, Mapping[str, float]],
    disconnected: Mapping[str, float],
) -> dict[str, FaultResult]:
    books = Books(scraper, exchange)
    internal = _by_fault(scraper, f'{metrics.ERRORS.name}{{kind="{ErrorKind.INTERNAL}"}}')
    outcomes = {}
    for subject in subjects:
        name = subject.name
        outcomes[name] = FaultResult(
            survived=not internal.get(name, 0.0),
            recovered_sec=subject.recovered_sec,
            began_ns=subject.began_ns,
            over_ns=subject.over_ns,
            accounts={stream: books.account(name, stream) for stream in STREAMS},
            shown={each: shown[each].get(name, 0.0) for each in subject.entry.shows},
            disconnected_sec=disconnected[name],
        )
    return outcomes


async def scraped(scraper: Scraper, count: int, after: float) -> None:
    """Wait until the newest scrape of every probe is from after a moment, Unix time."""
    deadline = time.monotonic() + _READY_WITHIN_SEC
    expression = f"min by ({LABEL}) (timestamp({metrics.MESSAGES.name}))"
    while True:
        scraped = await asyncio.to_thread(scraper.query, expression)
        if sum(moment > after for moment in scraped.values()) == count:
            return
        if time.monotonic() > deadline:
            raise LaboratoryError(f"Prometheus scraped only {sorted(scraped)} after the end")
        await asyncio.sleep(_POLL_SEC)


class Books:
    """What the exchange sent beside what Prometheus says was received and lost.

    Args:
        scraper: has scraped every probe after all was settled.
        exchange: has been stopped.
    """

    def __init__(self, scraper: Scraper, exchange: ExchangeProcess) -> None:
        self._exchange = exchange
        self._witness = exchange.ground_truth(WITNESS)
        self._counters = {stream: _counters(scraper, stream) for stream in STREAMS}

    def account(self, name: str, stream: str) -> Account:
        """The account of one probe and one stream."""
        wire = f"{SYMBOL.lower()}@{stream}"
        sent = accounting.sent(self._witness, self._exchange.ground_truth(name), wire)
        counters = [int(values[name]) for values in self._counters[stream]]
        messages, duplicates, lost, found = counters
        return Account(
            sent=sent.messages,
            in_flight=sent.in_flight,
            received=messages - duplicates,
            duplicates=duplicates,
            lost=lost - found,
        )


def _counters(scraper: Scraper, stream: str) -> list[dict[str, float]]:
    """Messages, duplicates, losses and what of these came later, of one stream, by fault."""
    counters = (metrics.MESSAGES, metrics.DUPLICATES, metrics.LOST, metrics.RECOVERED)
    return [_by_fault(scraper, f'{metric.name}{{stream="{stream}"}}') for metric in counters]
