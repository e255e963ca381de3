"""Probes that are killed, or run out of descriptors or disk, and a Prometheus that is away.

All of it happens at the same time, to one real `probe` process each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shlex
import signal
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from latency_sweep.lab.exchange.process import ExchangeProcess
from latency_sweep.lab.faults import laboratory
from latency_sweep.lab.faults.at_connect import Refuse
from latency_sweep.lab.faults.certificates import make_identities
from latency_sweep.lab.faults.in_flight import Reset
from latency_sweep.lab.faults.laboratory import STREAMS, WITNESS, Books
from latency_sweep.lab.faults.proxy import HOST, FaultProxy
from latency_sweep.lab.faults.scraper import Scraper, running_scraper
from latency_sweep.lab.local.stack import console_command
from latency_sweep.runtime.child import Child
from latency_sweep.runtime.loopback import hold_port, port_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.lab.faults.accounting import Account

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

DESCRIPTORS, FULL_DISK, KILLED = "descriptors", "full-disk", "killed"
NAMES = (DESCRIPTORS, FULL_DISK, KILLED)
WITHIN_SEC = 90.0
AWAY_SEC = 4.0
TRADES = 'sum by (fault) (feed_messages_total{stream="trade"})'


async def until(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_SEC
    while not condition():
        assert time.monotonic() < deadline, f"not {what} within {WITHIN_SEC:g} s"
        await asyncio.sleep(0.05)


class Subject:
    """A probe behind a proxy of its own."""

    def __init__(
        self, name: str, proxy: FaultProxy, ca: Path, measure_from: float, folder: Path
    ) -> None:
        self.name = name
        self.proxy = proxy
        self.url = ""
        self._authority = ca
        self._measure_from = measure_from
        self._folder = folder
        self.child = self.start()

    def start(self) -> Child:
        port = urlsplit(self.url).port or 0
        endpoint = f"wss://{HOST}:{self.proxy.port}"
        arguments = laboratory.probe_arguments(
            self.name, endpoint, self._authority, self._measure_from, port
        )
        command = [console_command("probe"), "run", *arguments]
        if self.name == FULL_DISK:
            command = ["sh", "-c", f"exec {shlex.join(command)} 2>/dev/full"]
        return Child(self.name, command, folder=self._folder)

    def stop(self) -> None:
        self.child.stop()

    async def listening(self) -> None:
        await until(f"{self.name} listens", lambda: b"\n" in self.child.output.read_bytes())
        self.url = json.loads(self.child.output.read_bytes().splitlines()[0])["metrics_url"]

    async def receiving(self) -> None:
        before = {link: link.frames for link in self.proxy.links}
        await until(
            f"{self.name} receives",
            lambda: any(link.frames > before.get(link, 0) + 20 for link in self.proxy.links),
        )


async def out_of_descriptors(subject: Subject) -> None:
    """No further descriptor, then a lost connection; descriptors again once it has said so."""
    pid = subject.child.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # What is open stays open, beyond the three standard ones nothing more can be opened.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    subject.proxy.inject(Reset())
    await until("it says so", lambda: b"Too many open files" in subject.child.log.read_bytes())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    await subject.receiving()


async def full_disk(subject: Subject) -> None:
    """Warnings that cannot be written anywhere."""
    for _ in range(2):
        subject.proxy.inject(Reset())
        await subject.receiving()


async def killed(subject: Subject, scraper: Scraper) -> None:
    """Killed without a chance to say anything, and started again at the same port.

    It receives again only after a scrape: Prometheus cannot see that a counter began anew if it has
    grown beyond its old value since.
    """
    refused = Refuse()
    subject.proxy.inject(refused)
    os.kill(subject.child.pid, signal.SIGKILL)
    subject.child.wait(within_sec=WITHIN_SEC)
    with hold_port(port_of(subject.url)):
        subject.child = subject.start()
        await subject.listening()
    await until("it is scraped", lambda: scraper.query(TRADES).get(KILLED) == 0)
    subject.proxy.lift(refused)
    await subject.receiving()


@dataclass(frozen=True)
class Aftermath:
    accounts: dict[tuple[str, str], Account]
    scraper: Scraper
    running: dict[str, bool]
    received_since_restart: int
    seen_before_restart: float


@contextlib.asynccontextmanager
async def running_subjects(
    exchange: ExchangeProcess, folder: Path
) -> AsyncIterator[dict[str, Subject]]:
    identities = make_identities(folder, [])
    measure_from = time.time() + 5.0
    async with AsyncExitStack() as stack:
        subjects = {}
        for name in NAMES:
            upstream = urlsplit(exchange.url(name))
            assert upstream.port is not None
            proxy = FaultProxy((HOST, upstream.port), identities.contexts)
            await stack.enter_async_context(proxy)
            subject = Subject(name, proxy, identities.ca, measure_from, folder)
            stack.callback(subject.stop)
            subjects[name] = subject
        for subject in subjects.values():
            await subject.listening()
        yield subjects


async def run(binaries: Binaries, folder: Path, prometheus: ExitStack) -> Aftermath:
    async with AsyncExitStack() as stack:
        exchange = ExchangeProcess(laboratory.exchange_config(NAMES), folder)
        stack.enter_context(exchange)
        witness = asyncio.create_task(laboratory.keep_listening(exchange.url(WITNESS)))
        stack.callback(witness.cancel)
        subjects = await stack.enter_async_context(running_subjects(exchange, folder))
        urls = {name: subject.url for name, subject in subjects.items()}

        with running_scraper(binaries, folder / "prometheus") as first:
            first.scrape(urls)
            for subject in subjects.values():
                await subject.receiving()
            await laboratory.scraped(first, len(NAMES), time.time())
            seen = first.query(TRADES)[KILLED]
            await killed(subjects[KILLED], first)
        away_since = time.monotonic()
        await asyncio.gather(
            out_of_descriptors(subjects[DESCRIPTORS]),
            full_disk(subjects[FULL_DISK]),
        )
        await asyncio.sleep(away_since + AWAY_SEC - time.monotonic())
        second = prometheus.enter_context(running_scraper(binaries, folder / "prometheus"))
        second.scrape(urls)
        await asyncio.to_thread(exchange.stop)
        await laboratory.scraped(second, len(NAMES), time.time() + 2.5)
        books = Books(second, exchange)
        trades = exchange.ground_truth(KILLED)
        trades = trades[(trades["stream"] == "btcusdt@trade") & (trades["outcome"] == "sent")]
        last_connection = trades[trades["connection"] == trades["connection"].max()]
        return Aftermath(
            accounts={
                (name, each): books.account(name, each) for name in NAMES for each in STREAMS
            },
            scraper=second,
            running={name: subject.child.running for name, subject in subjects.items()},
            received_since_restart=len(last_connection),
            seen_before_restart=seen,
        )


@pytest.fixture(scope="module")
def after(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Aftermath]:
    folder = tmp_path_factory.mktemp("staying-up")
    with ExitStack() as prometheus:
        yield asyncio.run(run(prometheus_binaries, folder, prometheus))


@pytest.mark.parametrize("name", NAMES)
def test_the_probe_goes_on(name: str, after: Aftermath) -> None:
    assert after.running[name]


@pytest.mark.parametrize("name", [DESCRIPTORS, FULL_DISK])
def test_counters_lose_nothing_while_prometheus_is_away(name: str, after: Aftermath) -> None:
    account = after.accounts[name, "trade"]
    assert account.lost > 0
    assert account.unaccounted == 0, account


def test_a_lack_of_descriptors_is_counted_as_a_failed_attempt(after: Aftermath) -> None:
    errors = 'last_over_time(feed_errors_total{kind="connect_failed"}[5m])'
    assert after.scraper.query(errors)[DESCRIPTORS] > 0


def test_a_killed_probe_begins_to_count_anew_and_counts_exactly(after: Aftermath) -> None:
    account = after.accounts[KILLED, "trade"]
    assert account.received == after.received_since_restart
    assert account.lost == 0


def test_a_restart_is_one_reset_to_the_rules_and_no_drop(after: Aftermath) -> None:
    messages = 'feed_messages_total{stream="trade"}[5m]'
    assert after.scraper.query(f"resets({messages})")[KILLED] == 1
    increase = after.scraper.query(f"increase({messages})")[KILLED]
    assert increase >= after.received_since_restart
    assert after.seen_before_restart > 0


def test_a_restart_shows_in_the_time_of_the_process_start(after: Aftermath) -> None:
    assert after.scraper.query("changes(process_start_time_seconds[5m])")[KILLED] == 1
