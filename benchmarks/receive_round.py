"""One round of `receive.py`: a sender and a client, in a process and on a core of their own."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from benchmarks.receive_clients import CLIENTS, Meter
from benchmarks.receive_sender import SYMBOLS, Load, path, serve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from latency_sweep.lab.local.tls import Certificates

RUST: Final = "tokio-tungstenite + serde"
BARTER: Final = "barter-data"
_CRATES: Final = {RUST: "rust_client", BARTER: "barter_client"}
_SWITCH_INTERVAL_SEC: Final = 2e-5  # as the probe sets it


@dataclass(frozen=True, slots=True)
class Round:
    """What one client did with one load.

    Attributes:
        cpu_us: CPU time of the client per message, microseconds.
        late_ns: timestamp minus the sender's time of each message, in order.
        own_ns: from timestamp to program of each message, where the client can tell.
    """

    cpu_us: float
    late_ns: Sequence[int]
    own_ns: Sequence[int]


def build_rust_client(name: str, target: Path) -> Path | None:
    """A compiled client's binary; None where there is no cargo, or building fails."""
    cargo = shutil.which("cargo")
    if cargo is None:
        print(f"cargo is not installed: no row for {name}.", file=sys.stderr)
        return None
    crate = _CRATES[name]
    built = subprocess.run(
        [cargo, "build", "--release", "--quiet", "--locked", "--target-dir", target],
        cwd=Path(__file__).parent / crate,
        check=False,
    )
    if built.returncode:
        print(f"cargo build failed: no row for {name}.", file=sys.stderr)
        return None
    return target / "release" / crate.replace("_", "-")


def cores() -> tuple[int | None, int | None]:
    """A core for the sender and one for the client; None where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else (None, None)


def measure(
    client: str, load: Load, certificates: Certificates, *, rust: Path | None = None
) -> Round:
    """Run one client once; errors are noted unless the load saturates it."""
    sender_cpu, client_cpu = cores()
    ready, ready_child = multiprocessing.Pipe()
    sender = multiprocessing.Process(
        target=serve, args=(certificates, load, sender_cpu, ready_child), daemon=True
    )
    sender.start()
    url = f"{'wss' if load.tls else 'ws'}://127.0.0.1:{ready.recv()}{path(load.symbols)}"
    try:
        if client in _CRATES:
            assert rust is not None
            return _measure_rust(rust, client, url, load, certificates.ca, client_cpu)
        meter = Meter(errors=load.is_paced, symbols=load.symbols)
        result, result_child = multiprocessing.Pipe()
        process = multiprocessing.Process(
            target=_run_client,
            args=(
                client,
                url,
                certificates.ca,
                client_cpu,
                Meter(errors=load.is_paced, symbols=load.symbols),
                result_child,
            ),
            daemon=True,
        )
        process.start()
        result_child.close()
        meter = result.recv()
        process.join()
    finally:
        sender.join(timeout=5)
        sender.terminate()
        sender.join()
    return Round(meter.cpu_sec * 1e6 / load.messages, meter.late_ns, meter.own_ns)


def _run_client(  # noqa: PLR0917 - the target of a process
    client: str,
    url: str,
    ca: Path,
    cpu: int | None,
    meter: Meter,
    result: Connection,
) -> None:
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    sys.setswitchinterval(_SWITCH_INTERVAL_SEC)
    tls = ssl.create_default_context(cafile=ca)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(CLIENTS[client](url, tls, meter))
    result.send(meter)


def _measure_rust(  # noqa: PLR0917 - as its only caller has it
    binary: Path, client: str, url: str, load: Load, ca: Path, cpu: int | None
) -> Round:
    pin = ["taskset", "-c", str(cpu)] if cpu is not None and shutil.which("taskset") else []
    if client == BARTER:
        bases = (symbol.removesuffix("USDT").lower() for symbol in SYMBOLS[: load.symbols])
        sent = load.messages // load.per_write * load.per_write
        arguments = [url, str(sent), *bases]
    else:
        arguments = [url, str(ca), *(["errors"] if load.is_paced else [])]
    run = subprocess.run([*pin, str(binary), *arguments], check=True, stdout=subprocess.PIPE)
    measured = json.loads(run.stdout)
    return Round(measured["cpu_sec"] * 1e6 / load.messages, measured["late_ns"], [])
