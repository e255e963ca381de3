"""Passwords and tokens are compared with care and at a bounded cost."""

from __future__ import annotations

import asyncio
import base64
import hmac
from typing import TYPE_CHECKING

import bcrypt
import pytest

from latency_sweep.contract.metrics import RejectionReason
from latency_sweep.probe.http import password_check
from latency_sweep.probe.http.credentials import Credentials
from latency_sweep.probe.http.password_check import PasswordCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

# Made by Go's bcrypt and by htpasswd: "$2a$" and "$2y$".
GO_HASH = "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga"
GO_PASSWORD = b"allmine"
CLIENT = "192.0.2.1"


@pytest.fixture
def check() -> Iterator[PasswordCheck]:
    check = PasswordCheck()
    yield check
    check.close()


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Hashes that bcrypt really compared with."""
    hashes: list[bytes] = []
    compare = bcrypt.checkpw

    def checkpw(password: bytes, digest: bytes) -> bool:
        hashes.append(digest)
        return compare(password, digest)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return hashes


def header(user: str, password: str) -> str:
    return "basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
async def test_hashes_of_other_programs_are_understood(check: PasswordCheck, prefix: str) -> None:
    digest = GO_HASH.replace("$2a$", prefix).encode()
    assert await check.matches(GO_PASSWORD, digest, CLIENT)
    assert not await check.matches(b"other", digest, CLIENT)


async def test_a_right_password_is_compared_once(
    check: PasswordCheck, comparisons: list[bytes]
) -> None:
    known = Credentials({"a": bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()}, ())
    for _ in range(3):
        assert await known.rejection(header("a", "x"), check, CLIENT) is None
    assert len(comparisons) == 1


async def test_a_wrong_password_is_compared_each_time(
    check: PasswordCheck, comparisons: list[bytes]
) -> None:
    known = Credentials({"a": bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()}, ())
    for _ in range(3):
        assert (
            await known.rejection(header("a", "y"), check, CLIENT) is RejectionReason.WRONG_PASSWORD
        )
    assert len(comparisons) == 3


async def test_an_unknown_user_costs_as_much_as_a_known_one(
    check: PasswordCheck, comparisons: list[bytes]
) -> None:
    known = Credentials({"a": bcrypt.hashpw(b"x", bcrypt.gensalt(6)).decode()}, ())
    assert await known.rejection(header("b", "x"), check, CLIENT) is RejectionReason.WRONG_PASSWORD
    assert [digest[4:6] for digest in comparisons] == [b"06"]


async def test_a_long_password_is_cut_as_htpasswd_does(check: PasswordCheck) -> None:
    digest = bcrypt.hashpw(b"p" * 72, bcrypt.gensalt(4))
    assert await check.matches(b"p" * 100, digest, CLIENT)


async def test_too_many_logins_at_once_are_put_off(
    check: PasswordCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_check, "_WAITING_PER_CLIENT", 2)
    digest = bcrypt.hashpw(b"x", bcrypt.gensalt(4))
    guesses = [check.matches(b"%d" % number, digest, CLIENT) for number in range(5)]
    assert (await asyncio.gather(*guesses)).count(None) == 3


async def test_tokens_are_all_compared_in_constant_time(
    check: PasswordCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []

    def compare_digest(a: bytes, b: bytes) -> bool:
        lengths.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare_digest)
    known = Credentials({}, [b"first-token-of-two", b"second"])
    assert await known.rejection("Bearer first-token-of-two", check, CLIENT) is None
    assert await known.rejection("Bearer f", check, CLIENT) is RejectionReason.WRONG_TOKEN
    assert lengths == [(32, 32)] * 4


async def test_both_of_two_tokens_are_let_in(check: PasswordCheck) -> None:
    known = Credentials({}, [b"old", b"new"])
    assert await known.rejection("Bearer old", check, CLIENT) is None
    assert await known.rejection("bearer  new", check, CLIENT) is None


async def test_a_scheme_that_is_not_configured_is_no_answer(check: PasswordCheck) -> None:
    known = Credentials({}, [b"token"])
    assert await known.rejection(header("a", "x"), check, CLIENT) is RejectionReason.UNAUTHENTICATED
