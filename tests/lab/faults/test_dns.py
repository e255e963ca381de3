"""The laboratory's DNS server answers, fails and changes its mind as it is told."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from latency_sweep.lab.faults.dns import NXDOMAIN, SERVFAIL, DnsServer, Silence, query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAME = "stream.faults.test"


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    server = DnsServer()
    await server.start()
    yield server
    server.stop()


async def ask(server: DnsServer, name: str = NAME, *, within_sec: float = 60.0) -> str:
    """Ask, and wait for the answer as long as a busy machine may take."""
    return await asyncio.to_thread(query, name, server.port, within_sec)


async def test_a_name_has_the_address_it_was_given(server: DnsServer) -> None:
    server.answers[NAME] = "127.0.0.7"
    assert await ask(server) == "127.0.0.7"


async def test_a_name_that_moves_is_found_at_its_new_address(server: DnsServer) -> None:
    server.answers[NAME] = "127.0.0.1"
    await ask(server)
    server.answers[NAME] = "127.0.0.2"
    assert await ask(server) == "127.0.0.2"


@pytest.mark.parametrize(
    ("answer", "code"), [(NXDOMAIN, socket.EAI_NONAME), (SERVFAIL, socket.EAI_AGAIN)]
)
async def test_a_failure_is_that_of_the_systems_resolver(
    answer: int, code: int, server: DnsServer
) -> None:
    server.answers[NAME] = answer
    with pytest.raises(socket.gaierror) as failure:
        await ask(server)
    assert failure.value.errno == code


async def test_silence_is_a_temporary_failure(server: DnsServer) -> None:
    server.answers[NAME] = Silence.SILENT
    with pytest.raises(socket.gaierror) as failure:
        await ask(server, within_sec=0.2)
    assert failure.value.errno == socket.EAI_AGAIN


async def test_a_name_nobody_told_is_unknown(server: DnsServer) -> None:
    with pytest.raises(socket.gaierror):
        await ask(server, "other.faults.test")
