"""A right password does not wait behind a flood of wrong ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import bcrypt
import pytest

from latency_sweep.probe.http import password_check
from latency_sweep.probe.http.password_check import PasswordCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

RIGHT = b"right"
DIGEST = bcrypt.hashpw(RIGHT, bcrypt.gensalt(4))
GUESSERS = [f"192.0.2.{number}" for number in range(12)]
OTHER = "198.51.100.1"


@pytest.fixture
def check() -> Iterator[PasswordCheck]:
    check = PasswordCheck()
    yield check
    check.close()


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Passwords in the order in which they were compared."""
    passwords: list[bytes] = []

    def compare(password: bytes, _: bytes) -> bool:
        passwords.append(password)
        return password == RIGHT

    monkeypatch.setattr(password_check, "_compare", compare)
    return passwords


async def guesses(check: PasswordCheck, client: str, number: int) -> list[bool | None]:
    return await asyncio.gather(
        *(check.matches(b"%s %d" % (client.encode(), at), DIGEST, client) for at in range(number))
    )


async def test_who_has_guessed_wrong_waits_for_who_has_not(
    check: PasswordCheck, compared: list[bytes]
) -> None:
    for guesser in GUESSERS:
        await guesses(check, guesser, 1)
    compared.clear()
    flood = [asyncio.create_task(guesses(check, guesser, 10)) for guesser in GUESSERS]
    await asyncio.sleep(0)  # they wait now
    assert await check.matches(RIGHT, DIGEST, OTHER)
    assert compared.index(RIGHT) <= 2
    await asyncio.gather(*flood)


async def test_clients_without_a_past_take_turns(
    check: PasswordCheck, compared: list[bytes]
) -> None:
    first = asyncio.create_task(guesses(check, GUESSERS[0], 10))
    second = asyncio.create_task(guesses(check, GUESSERS[1], 10))
    await asyncio.gather(first, second)
    order = [password.split()[0].decode() for password in compared]
    assert all(abs(order[:n].count(GUESSERS[0]) - n / 2) <= 1 for n in range(len(order)))


async def test_one_client_cannot_fill_what_others_wait_in(
    check: PasswordCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_check, "_WAITING_PER_CLIENT", 3)
    flood = asyncio.create_task(guesses(check, GUESSERS[0], 10))
    await asyncio.sleep(0)
    assert await check.matches(RIGHT, DIGEST, OTHER)
    assert (await flood).count(None) == 7


async def test_a_full_queue_makes_room_for_who_has_guessed_less(
    check: PasswordCheck, compared: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_check, "_WAITING_LOGINS", 4)
    for guesser in GUESSERS[:2]:
        await guesses(check, guesser, 1)
    compared.clear()
    flood = [asyncio.create_task(guesses(check, guesser, 10)) for guesser in GUESSERS[:2]]
    await asyncio.sleep(0)
    assert await check.matches(RIGHT, DIGEST, OTHER)
    answers = await asyncio.gather(*flood)
    assert sum(found.count(None) for found in answers) >= 16


async def test_a_full_queue_keeps_those_that_wait_in_it_where_nobody_is_better(
    check: PasswordCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_check, "_WAITING_LOGINS", 2)
    assert (await guesses(check, OTHER, 5)).count(None) == 3


async def test_who_went_away_is_not_compared(check: PasswordCheck, compared: list[bytes]) -> None:
    gone = [asyncio.create_task(check.matches(b"gone", DIGEST, OTHER)) for _ in range(5)]
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await asyncio.wait(gone)
    assert await check.matches(RIGHT, DIGEST, OTHER)
    assert compared.count(b"gone") <= 1


async def test_the_same_right_password_is_compared_once_however_many_send_it(
    check: PasswordCheck, compared: list[bytes]
) -> None:
    answers = [check.matches(RIGHT, DIGEST, guesser) for guesser in GUESSERS]
    assert all(await asyncio.gather(*answers))
    assert compared == [RIGHT]


async def test_at_the_end_nobody_waits_for_ever(check: PasswordCheck) -> None:
    waiting = asyncio.create_task(guesses(check, OTHER, 5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    check.close()
    assert None in await waiting
