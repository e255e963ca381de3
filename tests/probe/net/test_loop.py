"""Whoever ends does not wait for a resolver that does not answer."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from latency_sweep.probe.net.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable

# A resolver that never answers, as the system's own does for half a minute.
UNANSWERED: Final = """
import socket, sys, threading

def lookup(host, *rest):
    if rest[4] & socket.AI_NUMERICHOST:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    print("asked", flush=True)
    threading.Event().wait()

socket.getaddrinfo = lookup
"""
PROBE: Final = """
from latency_sweep.probe.cli import main
sys.exit(main(["run", "--metrics-port", "0", "--metrics-host", "127.0.0.1",
               "--endpoint", "ws://exchange.test", "--time-endpoint", ""]))
"""
# Only names that are not addresses are beyond the real function.
ADDRESSES_AS_EVER: Final = """
answer = socket.getaddrinfo

def lookup_or_address(host, *rest):
    return real(host, *rest) if host == "127.0.0.1" else answer(host, *rest)

socket.getaddrinfo = lookup_or_address
"""


def run(looking_up: Callable[[asyncio.AbstractEventLoop], object]) -> object:
    async def ask() -> object:
        return await looking_up(asyncio.get_running_loop())  # type: ignore[misc]

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(ask())


def test_a_probe_that_is_told_to_stop_does_not_wait_for_the_resolver() -> None:
    program = f"import socket\nreal = socket.getaddrinfo\n{UNANSWERED}{ADDRESSES_AS_EVER}{PROBE}"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert "listening" in process.stdout.readline()
            assert process.stdout.readline() == "asked\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


def test_a_name_is_looked_up() -> None:
    found = run(lambda loop: loop.getaddrinfo("localhost", 9443, type=socket.SOCK_STREAM))
    assert ("127.0.0.1", 9443) in [address for *_, address in found]  # type: ignore[attr-defined]


def test_a_name_that_does_not_exist_says_so() -> None:
    with pytest.raises(socket.gaierror):
        run(lambda loop: loop.getaddrinfo("name.invalid", 1))


def test_a_name_that_cannot_be_one_says_so() -> None:
    with pytest.raises(UnicodeError):
        run(lambda loop: loop.getaddrinfo("a..test", 1))


def test_an_address_needs_no_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("threading.Thread", refuse)
    found = run(lambda loop: loop.getaddrinfo("::1", 9443, type=socket.SOCK_STREAM))
    assert found == socket.getaddrinfo("::1", 9443, type=socket.SOCK_STREAM)
