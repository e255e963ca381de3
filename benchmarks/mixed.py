"""CPU time where feeds are mixed, and what a scrape adds: this probe beside other clients.

Over plain ws, so that decryption does not hide the rest. The rows of CPU time are

- saturated, the trades of one symbol;
- saturated, the trades of four symbols in turns;
- paced at 1,000 a second, each message in a write of its own, of four symbols.

The compiled client on barter-data does what a program of its own would do with that library: a
histogram for each symbol and one of all, and a list of the newest messages. It subscribes to raw
streams, whose messages are 33 bytes shorter. The last table is the delay of the probe itself at
10,000 messages a second, while nobody scrapes it and while ten times a second somebody scrapes 40
series.

In every round each client has its turn; medians of rounds are shown, and medians of the ratios
within a round, which other programs on the machine disturb less.

    python benchmarks/mixed.py --rounds 5
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.receive_clients import SCRAPED, WHOLE_PATH
from benchmarks.receive_round import BARTER, RUST, build_rust_client, measure
from benchmarks.receive_sender import SYMBOLS, Load
from latency_sweep.lab.local.tls import make_certificates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latency_sweep.lab.local.tls import Certificates

PICOWS: Final = "picows + msgspec"
PACED_SEC: Final = 3.0
SCRAPE_SEC: Final = 4.0
QUANTILES: Final = {"p50": 0.5, "p99": 0.99}
_CACHE: Final = Path(__file__).parent.parent / ".cache" / "rust_client"

Figures = dict[str, float]


def loads(messages: int) -> dict[str, Load]:
    """What is sent, by the name of the column."""
    return {
        "one symbol": Load(messages, tls=False),
        "four symbols": Load(messages, symbols=len(SYMBOLS), tls=False),
        "1,000/s": Load(int(1_000 * PACED_SEC), rate=1_000, symbols=len(SYMBOLS), tls=False),
    }


def cpu_round(
    clients: Mapping[str, Path | None], messages: int, certificates: Certificates
) -> dict[str, Figures]:
    """CPU microseconds per message by client and column."""
    figures: dict[str, Figures] = {name: {} for name in clients}
    for column, load in loads(messages).items():
        for name, binary in clients.items():
            sent = replace(load, raw=name == BARTER)
            figures[name][column] = measure(name, sent, certificates, rust=binary).cpu_us
    return figures


def scrape_round(certificates: Certificates) -> dict[str, Figures]:
    """Milliseconds from the timestamp to the program."""
    load = Load(int(10_000 * SCRAPE_SEC), rate=10_000, tls=False)
    figures = {}
    for name in (WHOLE_PATH, SCRAPED):
        own_ms = sorted(delay_ns / 1e6 for delay_ns in measure(name, load, certificates).own_ns)
        figures[name] = {q: own_ms[int(len(own_ms) * share)] for q, share in QUANTILES.items()}
    return figures


def show_cpu(rounds: Sequence[Mapping[str, Figures]]) -> None:
    columns = list(loads(1))
    print(f"\nCPU µs per message{'':12} " + " ".join(f"{column:>14}" for column in columns))
    for name in rounds[0]:
        cells = (statistics.median(figures[name][c] for figures in rounds) for c in columns)
        print(f"{name:30} " + " ".join(f"{cell:14.2f}" for cell in cells))
    for peer in rounds[0]:
        if peer == WHOLE_PATH:
            continue
        ratios = (
            statistics.median(figures[WHOLE_PATH][c] / figures[peer][c] for figures in rounds)
            for c in columns
        )
        print(f"{'probe / ' + peer:30} " + " ".join(f"{ratio:14.2f}" for ratio in ratios))


def show_scrapes(rounds: Sequence[Mapping[str, Figures]]) -> None:
    print("\nthe probe's own delay at 10,000/s, ms: p50 / p99")
    for name in (WHOLE_PATH, SCRAPED):
        cells = (statistics.median(figures[name][q] for figures in rounds) for q in QUANTILES)
        print(f"{name:30} " + " / ".join(f"{cell:.3f}" for cell in cells))
    added = (figures[SCRAPED]["p99"] - figures[WHOLE_PATH]["p99"] for figures in rounds)
    print(f"{'added to the p99':30} {statistics.median(added):+.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=200_000, help="of the saturated mode")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--niceness",
        type=int,
        default=0,
        metavar="N",
        help="of sender and clients alike, where others load the machine; needs root below 0",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there too")
    options = parser.parse_args()
    os.nice(options.niceness)
    clients: dict[str, Path | None] = {WHOLE_PATH: None}
    if importlib.util.find_spec("picows") is not None:
        clients[PICOWS] = None
    for name in (RUST, BARTER):
        binary = build_rust_client(name, _CACHE)
        if binary is not None:
            clients[name] = binary
    cpu: list[dict[str, Figures]] = []
    scrapes: list[dict[str, Figures]] = []
    with tempfile.TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder))
        for number in range(options.rounds):
            cpu.append(cpu_round(clients, options.messages, certificates))
            scrapes.append(scrape_round(certificates))
            print(f"round {number + 1} of {options.rounds} done", flush=True)
    print(f"{options.messages} messages saturated, {options.rounds} rounds, medians")
    show_cpu(cpu)
    show_scrapes(scrapes)
    if options.json:
        options.json.write_text(json.dumps({"cpu": cpu, "scrapes": scrapes}, indent=2) + "\n")


if __name__ == "__main__":
    main()
