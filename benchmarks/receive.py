"""How fast, and how truthfully, a client receives: this probe beside other WebSocket clients.

Every client runs its whole path (receive, timestamp, decode, check the sequence, observe a
histogram) against the same sender on 127.0.0.1, over TLS, with trade frames of about 200 bytes;
sender and client each have a core. Measured are

- saturated: CPU time per message, and the messages per second that one core could do at that;
- paced, each message in a write of its own: how much later than the sender's clock a message's
  recorded timestamp is;
- bursts of 500 messages within one millisecond: the same for the last message of a burst;
- what a scrape of 40 series adds to the probe's own delay.

Rounds alternate between the clients, so that a machine that gets slower slows all of them; medians
of rounds and ratios are what to quote.

    python benchmarks/receive.py --rounds 5
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.receive_clients import CAPTURING, CLIENTS, SCRAPED, WHOLE_PATH, may_capture
from benchmarks.receive_round import RUST, Round, build_rust_client, measure
from benchmarks.receive_sender import BURST, Load
from latency_sweep.lab.local.tls import make_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from latency_sweep.lab.local.tls import Certificates

RATES: Final = (1_000, 10_000, 50_000)
PACED_SEC: Final = 2.0
BURSTS: Final = 10
BURSTS_PER_SEC: Final = 5.0
SCRAPE_SEC: Final = 4.0
QUANTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
_REFERENCE: Final = "websockets + json"
_CACHE: Final = Path(__file__).parent.parent / ".cache" / "rust_client"

Figures = dict[str, float]


def quantile_us(values_ns: Sequence[int], q: float) -> float:
    """A quantile of nanoseconds in microseconds, NaN of nothing."""
    if not values_ns:
        return float("nan")
    ordered = sorted(values_ns)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))] / 1e3


def saturated(run: Callable[[Load], Round], messages: int) -> Figures:
    return {"cpu_us": run(Load(messages)).cpu_us}


def paced(run: Callable[[Load], Round], rate: int) -> Figures:
    measured = run(Load(int(rate * PACED_SEC), rate=rate))
    figures = {f"{rate}/s {n}": quantile_us(measured.late_ns, q) for n, q in QUANTILES.items()}
    return {**figures, f"{rate}/s cpu_us": measured.cpu_us}


def bursts(run: Callable[[Load], Round]) -> Figures:
    measured = run(Load(BURSTS * BURST, bursts_per_sec=BURSTS_PER_SEC))
    last = measured.late_ns[BURST - 1 :: BURST]
    return {"last of burst": quantile_us(last, 0.5)}


def scrapes(certificates: Certificates) -> Figures:
    """The probe's own delay at 10,000 messages a second, without and with scrapes."""
    load = Load(int(10_000 * SCRAPE_SEC), rate=10_000)
    measured = {name: measure(name, load, certificates) for name in (WHOLE_PATH, SCRAPED)}
    return {
        f"{name} {q_name}": quantile_us(measured[name].own_ns, q)
        for name in measured
        for q_name, q in QUANTILES.items()
    }


def medians(rounds: Sequence[Figures]) -> Figures:
    return {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}


def run_all(
    names: Sequence[str], messages: int, count: int, certificates: Certificates, rust: Path | None
) -> dict[str, Figures]:
    rounds: dict[str, list[Figures]] = {name: [] for name in [*names, SCRAPED]}
    for number in range(count):
        for name in names:

            def run(load: Load, client: str = name) -> Round:
                return measure(client, load, certificates, rust=rust)

            figures = saturated(run, messages)
            for rate in RATES:
                figures |= paced(run, rate)
            rounds[name].append(figures | bursts(run))
        rounds[SCRAPED].append(scrapes(certificates))
        print(f"round {number + 1} of {count} done", flush=True)
    return {name: medians(results) for name, results in rounds.items()}


def show(results: Mapping[str, Figures]) -> None:
    clients = {name: figures for name, figures in results.items() if name != SCRAPED}
    base = clients[_REFERENCE]["cpu_us"]
    print(f"\n{'saturated':30} {'CPU µs/msg':>10} {'msg/s per core':>15} {'ratio':>6}")
    for name, figures in clients.items():
        cpu_us = figures["cpu_us"]
        print(f"{name:30} {cpu_us:10.2f} {1e6 / cpu_us:15,.0f} {base / cpu_us:6.1f}")
    print("\nstamp minus the sender's clock, µs: p50 / p99 / p99.9")
    print(f"{'':30} " + " ".join(f"{f'{rate}/s':>22}" for rate in RATES))
    for name, figures in clients.items():
        cells = (" / ".join(f"{figures[f'{rate}/s {q}']:.0f}" for q in QUANTILES) for rate in RATES)
        print(f"{name:30} " + " ".join(f"{cell:>22}" for cell in cells))
    print("\nCPU µs per message when paced, each in a record of its own")
    for name, figures in clients.items():
        cells = (f"{figures[f'{rate}/s cpu_us']:.1f}" for rate in RATES)
        print(f"{name:30} " + " ".join(f"{cell:>22}" for cell in cells))
    print(f"\nlast of {BURST} messages within a millisecond: timestamp minus the sender's clock")
    base = clients[_REFERENCE]["last of burst"]
    for name, figures in clients.items():
        late = figures["last of burst"]
        print(f"{name:30} {late:8.0f} µs {late / base:7.1%}")
    print("\nthe probe's own delay at 10000/s, µs: p50 / p99 / p99.9")
    for name in (WHOLE_PATH, SCRAPED):
        cell = " / ".join(f"{results[SCRAPED][f'{name} {q}']:.0f}" for q in QUANTILES)
        print(f"{name:30} {cell:>22}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=200_000, help="of the saturated mode")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--realtime-priority",
        type=int,
        metavar="N",
        help="of sender and clients alike, 1 to 99, where others load the machine; needs root",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the medians there too")
    options = parser.parse_args()
    rust = build_rust_client(RUST, _CACHE)
    names = [name for name in CLIENTS if name != SCRAPED]
    if not may_capture():
        names.remove(CAPTURING)
        print(f"capturing packets needs CAP_NET_RAW: no row for {CAPTURING}.")
    if importlib.util.find_spec("picows") is None:
        names = [name for name in names if "picows" not in name]
    if rust is not None:
        names.append(RUST)
    if options.realtime_priority is not None:
        parameter = os.sched_param(options.realtime_priority)
        os.sched_setscheduler(0, os.SCHED_FIFO, parameter)
    print(f"{options.messages} messages saturated, {options.rounds} rounds, medians")
    with tempfile.TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder))
        results = run_all(names, options.messages, options.rounds, certificates, rust)
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
