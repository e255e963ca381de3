"""What each option of the probe's receiving gains and costs, beside the default.

The sender is that of `receive.py`; rounds alternate between the options. Columns: the timestamp
minus the sender's clock and the probe's own delay, in microseconds; the share of
messages whose timestamp another one has too; CPU microseconds per message.

    python benchmarks/receive_options.py --rate 10000 --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import os
import ssl
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from benchmarks.receive_clients import Meter, probe
from benchmarks.receive_round import cores
from benchmarks.receive_sender import PATH, Load, serve
from latency_sweep.lab.local.tls import make_certificates
from latency_sweep.probe import tuning
from latency_sweep.probe.net import timestamps_check
from latency_sweep.probe.net.receiving import DEFAULT, Receiving, Timestamps, TimestampsError
from latency_sweep.probe.tuning import Tuning, TuningError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from latency_sweep.lab.local.tls import Certificates

SECONDS: Final = 2.0
NO_TUNING: Final = Tuning()


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run the probe."""

    receiving: Receiving = DEFAULT
    tuning: Tuning = NO_TUNING
    pinned: bool = True
    frozen: bool = True


OPTIONS: Final = {
    "socket, on a core of its own": Option(),
    "not pinned": Option(pinned=False),
    "garbage collector not frozen": Option(frozen=False),
    "--timestamps capture": Option(Receiving(Timestamps.CAPTURE)),
    "--timestamps nic": Option(Receiving(Timestamps.NIC)),
    "--busy-poll-us 200": Option(Receiving(busy_poll_us=200)),
    "--niceness -20": Option(tuning=Tuning(niceness=-20)),
    "--realtime-priority 50": Option(tuning=Tuning(realtime_priority=50)),
    "--low-latency-idle": Option(tuning=Tuning(low_latency_idle=True)),
}


def run_client(
    url: str, ca: Path, option: Option, result: Connection, meter: Meter | None = None
) -> None:
    _, cpu = cores()
    if option.pinned and cpu is not None:
        os.sched_setaffinity(0, {cpu})
    meter = meter or Meter(errors=True)
    tls = ssl.create_default_context(cafile=ca)
    try:
        timestamps_check.check(option.receiving, "127.0.0.1")
        with (
            tuning.applied(option.tuning),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            if option.frozen:
                gc.collect()
                gc.freeze()
            runner.run(probe(url, tls, meter, receiving=option.receiving))
    except (TuningError, TimestampsError) as error:
        result.send(str(error))
    else:
        result.send(meter)


def run_sender(
    certificates: Certificates, load: Load, priority: int | None, ready: Connection
) -> None:
    if priority is not None:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    serve(certificates, load, cores()[0], ready)


def measure(
    option: Option, rate: float, certificates: Certificates, sender_priority: int | None
) -> list[float] | str:
    """The columns of one round, or why the option cannot be had here."""
    messages = int(rate * SECONDS)
    ready, ready_child = multiprocessing.Pipe()
    sender = multiprocessing.Process(
        target=run_sender,
        args=(certificates, Load(messages, rate=rate), sender_priority, ready_child),
        daemon=True,
    )
    sender.start()
    result, result_child = multiprocessing.Pipe()
    url = f"wss://127.0.0.1:{ready.recv()}{PATH}"
    client = multiprocessing.Process(
        target=run_client, args=(url, certificates.ca, option, result_child), daemon=True
    )
    client.start()
    meter: Meter | str = result.recv()
    client.join()
    sender.terminate()
    sender.join()
    if isinstance(meter, str):
        return meter
    late, own = sorted(meter.late_ns), sorted(meter.own_ns)
    return [
        *(values[int(len(values) * q)] / 1e3 for values in (late, own) for q in (0.5, 0.99)),
        100 * meter.shared / messages,
        meter.cpu_sec * 1e6 / messages,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=10_000, help="messages per second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--sender-priority",
        type=int,
        metavar="N",
        help="real-time priority of the sender, where others load the machine; needs root",
    )
    options = parser.parse_args()
    rounds: dict[str, list[list[float] | str]] = {name: [] for name in OPTIONS}
    with tempfile.TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder))
        for _ in range(options.rounds):
            for name, option in OPTIONS.items():
                rounds[name].append(
                    measure(option, options.rate, certificates, options.sender_priority)
                )
    print(f"{options.rate:g} messages a second, {options.rounds} rounds, medians")
    print(f"{'':30} {'error p50':>10} {'p99':>7} {'delay p50':>10} {'p99':>7} {'shared':>7} CPU µs")
    for name, results in rounds.items():
        refused = next((found for found in results if isinstance(found, str)), None)
        if refused is not None:
            print(f"{name:30} {refused}")
            continue
        columns = zip(*(found for found in results if not isinstance(found, str)), strict=True)
        late50, late99, own50, own99, shared, cpu = map(statistics.median, columns)
        print(
            f"{name:30} {late50:10.0f} {late99:7.0f} {own50:10.0f} {own99:7.0f} "
            f"{shared:6.1f}% {cpu:6.1f}"
        )


if __name__ == "__main__":
    main()
