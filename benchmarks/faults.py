"""What the probe does when things go wrong, and how much it can take: `docs/reliability.md`.

Three parts, each with the real `probe` command, a simulated exchange and a real Prometheus:

- `--table`: every fault of `latency_sweep.lab.faults.registry`, and whether every message is
  accounted for;
- `--load`: the highest rate without loss and with a p99 receive delay below 1 ms, on one core;
- `--soak SECONDS`: a fault every 5 s at 20,000 messages a second.

Each writes its part of the document; `--no-document` only prints.

    python -m benchmarks.faults --table --load
    python -m benchmarks.faults --soak 600
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from latency_sweep.lab.binaries.prometheus_binary import find_or_fetch
from latency_sweep.lab.faults import laboratory
from latency_sweep.lab.faults.certificates import Identity, make_identities
from latency_sweep.lab.faults.dns import DnsServer
from latency_sweep.lab.faults.probes import each_its_own
from latency_sweep.lab.faults.proxy import HOST, FaultProxy
from latency_sweep.lab.faults.registry import FAULTS, FaultContext
from latency_sweep.lab.faults.scraper import LABEL, running_scraper
from latency_sweep.lab.local.stack import console_command
from latency_sweep.runtime.child import Child, Priority

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latency_sweep.lab.faults.laboratory import FaultResult
    from latency_sweep.lab.faults.scraper import Scraper

DOCUMENT = Path(__file__).parents[1] / "docs" / "reliability.md"
WAVE = 17
# Those that take the probe longest to notice come first, together.
SLOW = (
    "half-open",
    "stream-stall",
    "quiet",
    "backlog",
    "wrong-route",
    "tls-never",
    "dns-silent",
)
STREAM = "trade"
WARMUP_SEC = 8.0

START_RATE = 5_000.0
RATE_STEP = 1.4
STEP_SEC = 5
TRIES = 5
MAX_DELAY_SEC = 0.001
PROBE_CPU = os.cpu_count() or 1

SOAK_RATE = 20_000.0
FAULT_EVERY_SEC = 5.0
# Those that break the connection alternate with those that do not: one that breaks within ten
# seconds of its beginning is given ever longer pauses, and the soak would be mostly pause.
SOAK_BREAKING = (
    "reset",
    "cut-mid-frame",
    "close-1001",
    "oversize",
    "close-1011",
    "refuse",
    "wrong-mask",
    "http-503",
    "close-1006",
    "tls-expired",
    "fragments",  # at the soak's rate more frames than a connection may have
    "reset-on-accept",
)
SOAK_BENDING = (
    "stall",
    "gaps",
    "duplicates",
    "reordering",
    "delay",
    "bad-utf8",
    "join",
)
SOAK_WINDOW_SEC = 3.0
SETTLED_SEC = 5.0


def table(folder: Path, scraper: Scraper) -> str:
    names = [*SLOW, *(name for name in FAULTS if name not in SLOW)]
    outcomes: dict[str, FaultResult] = {}
    for number in range(0, len(names), WAVE):
        wave = {name: FAULTS[name] for name in names[number : number + WAVE]}
        say(f"faults {number + 1} to {number + len(wave)} of {len(names)} ...")
        outcomes |= asyncio.run(
            laboratory.run(wave, folder / f"wave-{number}", scraper, each_its_own),
        )
    lines = [
        (
            "| fault | what happens | survived | recovered in s | sent | received "
            "| lost, counted | in flight | unaccounted |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in FAULTS.items():
        outcome = outcomes[name]
        account = outcome.accounts[STREAM]
        recovered = "never" if outcome.recovered_sec is None else f"{outcome.recovered_sec:.2f}"
        mark = " ¹" if entry.patched == "dns" else " ²" if entry.patched else ""
        lines.append(
            f"| `{name}`{mark} | {entry.description} "
            f"| {'yes' if outcome.survived else 'no'} | {recovered} "
            f"| {account.sent:,} | {account.received:,} | {account.lost:,} | {account.in_flight} "
            f"| {account.unaccounted} |"
        )
    unaccounted = sum(abs(o.accounts[STREAM].unaccounted) for o in outcomes.values())
    sent = sum(o.accounts[STREAM].sent for o in outcomes.values())
    lines += ["", f"{len(outcomes)} faults, {sent:,} trades sent, {unaccounted} unaccounted."]
    return "\n".join(lines)


@dataclass(frozen=True)
class Report:
    """What the sender says in the end."""

    first_sent: int
    last_sent: int
    last: int


class FastSender:
    """A process of `latency_sweep.lab.faults.sender`, on the cores that the probe does not have."""

    def __init__(self, cpus: set[int], certificate: Path | None) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "latency_sweep.lab.faults.sender",
                *([str(certificate)] if certificate else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(self._process.pid, cpus)
        assert self._process.stdout is not None
        self.port = int(json.loads(self._process.stdout.readline())["port"])

    def set_rate(self, messages_per_sec: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{messages_per_sec}\n")
        self._process.stdin.flush()

    def finish(self) -> Report:
        output, _ = self._process.communicate()
        return Report(**json.loads(output))

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def fast_sender(certificate: Path | None = None) -> Iterator[FastSender]:
    cpus = set(range(os.cpu_count() or 1))
    sender = FastSender(cpus - {PROBE_CPU - 1} or cpus, certificate)
    try:
        yield sender
    finally:
        sender.kill()


@contextmanager
def probe(name: str, endpoint: str, folder: Path, *more: str) -> Iterator[tuple[Child, str]]:
    arguments = [
        f"--experiment-id={name}",
        "--symbols=BTCUSDT",
        "--streams=trade",
        f"--endpoint={endpoint}",
        "--time-endpoint=",
        "--metrics-port=0",
        "--clock-source=shared",
        f"--cpu={PROBE_CPU - 1}",
        *laboratory.timing_arguments(time.time() + WARMUP_SEC),
        *more,
    ]
    command = [console_command("probe"), "run", *arguments]
    with Child(name, command, folder=folder, priority=Priority.PROMPT) as child:
        child.wait_until(lambda: b"\n" in child.output.read_bytes(), within_sec=60, what="listen")
        yield child, str(json.loads(child.output.read_bytes().splitlines()[0])["metrics_url"])


@dataclass(frozen=True)
class Step:
    rate: float
    received: float
    p99_sec: float
    lost: float
    cpu: float

    @property
    def held(self) -> bool:
        kept_up = self.received > 0.97 * self.rate
        return kept_up and not self.lost and self.p99_sec < MAX_DELAY_SEC


def load(folder: Path, scraper: Scraper) -> str:
    """Raise the rate until it is not held; each has some tries, as the machine has other work."""
    identities = make_identities(folder, [])
    ca = f"--ca-file={identities.ca}"
    steps: list[Step] = []
    with (
        fast_sender(folder / f"{Identity.TRUSTED}.pem") as sender,
        probe("load", f"wss://{HOST}:{sender.port}", folder, ca) as (child, url),
    ):
        scraper.scrape({"load": url})
        sender.set_rate(START_RATE)
        watch_until(scraper, "feed_receive_delay_seconds", child)
        rate = START_RATE
        while True:
            sender.set_rate(rate)
            time.sleep(2)
            for _ in range(TRIES):
                time.sleep(STEP_SEC)
                step = measured(scraper, rate)
                say(f"{step}")
                if step.held:
                    break
            steps.append(step)
            if not step.held:
                break
            rate *= RATE_STEP
    highest = max((step.rate for step in steps if step.held), default=0.0)
    lines = [
        (
            "| messages per second | received per second | p99 receive delay, µs | lost "
            "| CPU of the probe |"
        ),
        "|---|---|---|---|---|",
        *(
            f"| {s.rate:,.0f} | {s.received:,.0f} | {s.p99_sec * 1e6:,.0f} | {s.lost:.0f} "
            f"| {s.cpu:.0%} |"
            for s in steps
        ),
        "",
        (
            f"**Held: {highest:,.0f} messages per second** without loss and with a p99 receive "
            "delay below 1 ms, on one core."
        ),
    ]
    return "\n".join(lines)


def watch_until(scraper: Scraper, metric: str, child: Child) -> None:
    """Wait until the measurement has begun: the histogram has observations."""
    child.wait_until(
        lambda: scraper.query(f"histogram_count({metric}) > 0") != {},
        within_sec=60,
        what="measure",
    )


def measured(scraper: Scraper, rate: float) -> Step:
    window = f"[{STEP_SEC}s]"

    def value(expression: str) -> float:
        return scraper.query(expression).get("load", float("nan"))

    quantile = f"histogram_quantile(0.99, rate(feed_receive_delay_seconds{window}))"
    return Step(
        rate=rate,
        received=value(f"rate(feed_messages_total{window})"),
        p99_sec=value(quantile),
        lost=value(f"increase(feed_messages_lost_total{window})"),
        cpu=value(f"rate(process_cpu_seconds_total{window})"),
    )


async def soak(seconds: float, folder: Path, scraper: Scraper) -> str:
    """Faults one after the other on one connection, at full rate; then the books."""
    identities = make_identities(folder, [])
    faults = itertools.cycle(
        name
        for pair in zip(SOAK_BREAKING, itertools.cycle(SOAK_BENDING), strict=False)
        for name in pair
    )
    dns = DnsServer()
    counted: dict[str, int] = {}
    with fast_sender() as sender:
        async with FaultProxy(("127.0.0.1", sender.port), identities.contexts) as proxy:
            endpoint = f"wss://{HOST}:{proxy.port}"
            with probe("soak", endpoint, folder, f"--ca-file={identities.ca}") as started:
                child, url = started
                scraper.scrape({"soak": url})
                sender.set_rate(SOAK_RATE)
                while not any(link.frames for link in proxy.links):
                    await asyncio.sleep(0.1)
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    name = next(faults)
                    counted[name] = counted.get(name, 0) + 1
                    fault = FAULTS[name].make(FaultContext(dns, HOST))
                    proxy.inject(fault)
                    window_sec = min(FAULTS[name].window_sec, SOAK_WINDOW_SEC)
                    await asyncio.sleep(window_sec)
                    proxy.lift(fault)
                    await asyncio.sleep(FAULT_EVERY_SEC - window_sec)
                    child.check()
                await healthy(proxy)
                report = await asyncio.to_thread(sender.finish)
                await settled(scraper)
                child.check()
                return soaked(scraper, report, counted, seconds)


async def settled(scraper: Scraper) -> None:
    """Wait until what the proxy and the probe had in hand has been counted and scraped."""
    counted: float | None = None
    since = time.monotonic()
    while time.monotonic() < since + SETTLED_SEC:
        now = scraper.query(f"sum by ({LABEL}) (feed_messages_total)").get("soak")
        if now is None or now != counted:
            counted, since = now, time.monotonic()
        await asyncio.sleep(0.5)


async def healthy(proxy: FaultProxy) -> None:
    """Wait until messages pass again, and a little longer."""
    before = {link: link.frames for link in proxy.links}
    while not any(link.frames > before.get(link, 0) + SOAK_RATE for link in proxy.links):
        await asyncio.sleep(0.1)


def soaked(scraper: Scraper, report: Report, counted: dict[str, int], seconds: float) -> str:
    def value(expression: str) -> float:
        return scraper.query(f"sum by ({LABEL}) ({expression})")["soak"]

    sent = report.last - report.first_sent + 1
    in_flight = report.last - report.last_sent
    messages, duplicates = value("feed_messages_total"), value("feed_duplicates_total")
    lost = value("feed_messages_lost_total") - value("feed_messages_recovered_total")
    received = messages - duplicates
    rows = {
        "length, s": f"{seconds:,.0f}",
        "faults": f"{sum(counted.values()):,}",
        "sent": f"{sent:,}",
        "sent per second": f"{sent / seconds:,.0f}",
        "received": f"{received:,.0f}",
        "duplicates": f"{duplicates:,.0f}",
        "lost, counted": f"{lost:,.0f}",
        "in flight": f"{in_flight:,}",
        "**unaccounted**": f"**{sent - in_flight - received - lost:,.0f}**",
        "new numberings": f"{value('feed_sequence_restarts_total'):,.0f}",
        "connections lost and replaced": f"{value('feed_reconnects_total'):,.0f}",
        "time without a connection, s": f"{value('feed_disconnected_seconds_total'):,.0f}",
        "errors of the probe's own": f"{internal(scraper):,.0f}",
        "CPU seconds of the probe": f"{value('process_cpu_seconds_total'):,.0f}",
        "largest resident memory, MiB": f"{largest_memory(scraper, seconds):,.0f}",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])


def internal(scraper: Scraper) -> float:
    return scraper.query('sum by (fault) (feed_errors_total{kind="internal"})').get("soak", 0.0)


def largest_memory(scraper: Scraper, seconds: float) -> float:
    expression = f"max_over_time(process_resident_memory_bytes[{int(seconds) + 60}s])"
    return scraper.query(expression)["soak"] / 2**20


def machine() -> str:
    return (
        f"Made on {time.strftime('%Y-%m-%d', time.gmtime())} with {os.cpu_count()} CPU cores, "
        f"{platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, load average {os.getloadavg()[1]:.0f}."
    )


def write(part: str, text: str) -> None:
    """Put a text between the marks of its part of the document."""
    document = DOCUMENT.read_text(encoding="utf-8")
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    head, _, rest = document.partition(begin)
    _, _, tail = rest.partition(end)
    DOCUMENT.write_text(f"{head}{begin}\n{machine()}\n\n{text}\n{end}{tail}", encoding="utf-8")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--soak", type=float, metavar="SECONDS")
    parser.add_argument("--no-document", action="store_true")
    options = parser.parse_args()
    parts: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        with running_scraper(find_or_fetch(), folder / "prometheus") as scraper:
            if options.table:
                parts["table"] = table(folder, scraper)
            if options.load:
                parts["load"] = load(folder, scraper)
            if options.soak:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    parts["soak"] = runner.run(soak(options.soak, folder, scraper))
    for part, text in parts.items():
        print(f"{text}\n")
        if not options.no_document:
            write(part, text)


if __name__ == "__main__":
    main()
