"""Probes of the fault laboratory that need patches: real probes, several per process if required.

What is replaced, and only that: where names are resolved (a host's own resolver needs root to be
pointed elsewhere), and the long waits of `connection.supervisor` (23 h 50 min cannot be
waited for).

    python -m latency_sweep.lab.faults.patched_probes FILE

FILE is JSON: `probes`, a list of arguments of `probe run` for each one; `dns_port`, a DNS server on
127.0.0.1 for names under `.test`; `waits`, constants of `connection.supervisor`. Prints what
each probe prints, and ends with SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVarTuple

import uvloop

from latency_sweep.lab.faults import dns
from latency_sweep.probe.app import Probe
from latency_sweep.probe.connection import supervisor
from latency_sweep.probe.net import transport
from latency_sweep.probe.net.timestamped_socket import keep_timestamping_on
from latency_sweep.probe.options import settings_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Resolve = Callable[[str, int], Awaitable[Sequence[Any]]]


_Ts = TypeVarTuple("_Ts")


def resolving_test_names(resolve: Resolve, dns_port: int) -> Resolve:
    """A resolver that asks the DNS server of the laboratory for names under `.test`."""

    async def resolve_here(host: str, port: int) -> Sequence[Any]:
        if host.endswith(".test"):
            host = await asyncio.to_thread(dns.query, host, dns_port)
        return await resolve(host, port)

    return resolve_here


async def serve(probes: list[list[str]]) -> None:
    """Run probes in this process until SIGTERM."""
    tasks = [
        asyncio.create_task(Probe(settings_of(arguments, os.environ)).serve())
        for arguments in probes
    ]
    await asyncio.gather(*tasks)


class SharedLoop(uvloop.Loop):
    """Probes share it, so SIGTERM is not theirs."""

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Leave SIGTERM to its default."""
        if sig != signal.SIGTERM:
            super().add_signal_handler(sig, callback, *args)


def main() -> None:
    """Run the probes that a file names."""
    setup = json.loads(Path(sys.argv[1]).read_text())
    for name, seconds in setup["waits"].items():
        assert hasattr(supervisor, name)
        setattr(supervisor, name, seconds)
    transport.resolve = resolving_test_names(transport.resolve, setup["dns_port"])  # type: ignore[assignment]
    with keep_timestamping_on(), asyncio.Runner(loop_factory=SharedLoop) as runner:
        runner.run(serve(setup["probes"]))


if __name__ == "__main__":
    main()
