"""Comparing passwords with bcrypt hashes, in a fair order."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import bcrypt

if TYPE_CHECKING:
    from collections.abc import Callable

# bcrypt reads no more of a password; htpasswd and Go cut it there too.
_BCRYPT_BYTES: Final = 72
_CACHED_LOGINS: Final = 64
# Each takes about 0.1 s of a core; beyond so many, clients are told to try again.
_WAITING_LOGINS: Final = 128
_WAITING_PER_CLIENT: Final = 16
_REMEMBERED_CLIENTS: Final = 1024
_WRONG_HALF_LIFE_SEC: Final = 60.0
# One wrong password a minute ago.
_SUSPECTED_ABOVE: Final = 0.5
_LOWEST_PRIORITY: Final = 19


@dataclass(eq=False, frozen=True, slots=True)
class _Login:
    """A login that waits for its comparison, and the answer: None for "too many, try again"."""

    client: str
    password: bytes
    digest: bytes
    mark: bytes
    answer: asyncio.Future[bool | None]


class _WrongGuesses:
    """How many wrong passwords each client has sent lately; half as many count a minute later."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def of(self, client: str) -> float:
        count, at = self._seen.get(client, (0.0, 0.0))
        return count * 0.5 ** ((time.monotonic() - at) / _WRONG_HALF_LIFE_SEC) if count else 0.0

    def add(self, client: str) -> None:
        self._seen[client] = self.of(client) + 1, time.monotonic()
        self._seen.move_to_end(client)
        if len(self._seen) > _REMEMBERED_CLIENTS:
            self._seen.popitem(last=False)


class _Queue:
    """Logins that wait for a thread, which compares one at a time.

    Args:
        nice: priority of the thread.
        wrong: orders the logins: first the client with the fewest wrong passwords.
        compared: called with each answer.
    """

    def __init__(
        self, nice: int, wrong: _WrongGuesses, compared: Callable[[_Login, bool], None]
    ) -> None:
        self._pool = ThreadPoolExecutor(1, "bcrypt", initializer=partial(_lower_priority, nice))
        self._wrong = wrong
        self._compared = compared
        self._waiting: list[_Login] = []
        self._worker: asyncio.Task[None] | None = None

    def close(self) -> None:
        """End the thread; logins that still wait are told to try again."""
        if self._worker is not None:
            self._worker.cancel()
        self._turn_away()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def make_room(self, client: str) -> bool:
        """Let a login wait, instead of one of a client with more wrong passwords if need be."""
        if len(self._waiting) < _WAITING_LOGINS:
            return True
        # Of those that are equal, the one that came last.
        worst = max(reversed(self._waiting), key=lambda login: self._wrong.of(login.client))
        if self._wrong.of(worst.client) <= self._wrong.of(client):
            return False
        self._waiting.remove(worst)
        _set(worst, None)
        return True

    def add(self, login: _Login) -> None:
        """Have a login compared."""
        self._waiting.append(login)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    def forget(self, login: _Login) -> None:
        """Do not compare a login that nobody waits for any more."""
        if login in self._waiting:
            self._waiting.remove(login)

    def answer_all(self, mark: bytes) -> None:
        """Answer the logins that turned out to be right."""
        for login in [login for login in self._waiting if login.mark == mark]:
            self._waiting.remove(login)
            _set(login, True)  # noqa: FBT003 - the answer

    async def _work(self) -> None:
        """Answer logins until none waits."""
        loop = asyncio.get_running_loop()
        current: _Login | None = None
        try:
            while self._waiting:
                # Of those that are equal, the one that came first.
                current = min(self._waiting, key=lambda login: self._wrong.of(login.client))
                self._waiting.remove(current)
                equal = await loop.run_in_executor(
                    self._pool, _compare, current.password, current.digest
                )
                self._compared(current, equal)
                _set(current, equal)
        finally:
            # All are answered but at the endpoint's end, and after an error of our own.
            if current is not None:
                _set(current, None)
            self._turn_away()

    def _turn_away(self) -> None:
        for login in self._waiting:
            _set(login, None)


class PasswordCheck:
    """Compares passwords with bcrypt hashes, in threads of its own.

    A comparison takes 0.1 s by design. It releases the interpreter's lock and gives way to others,
    so that receiving goes on. Successful logins are cached, as in exporter-toolkit, as digests
    under a random key.

    Clients that have sent a wrong password within the last minute wait for a thread of their own,
    of the lowest priority. So a right password never waits for their guesses.
    """

    def __init__(self) -> None:
        self._wrong = _WrongGuesses()
        self._unsuspected = _Queue(0, self._wrong, self._compared)
        self._suspected = _Queue(_LOWEST_PRIORITY, self._wrong, self._compared)
        self._per_client: Counter[str] = Counter()
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._key = secrets.token_bytes(32)

    def close(self) -> None:
        """End the threads; logins that still wait are told to try again."""
        self._unsuspected.close()
        self._suspected.close()

    async def matches(self, password: bytes, digest: bytes, client: str) -> bool | None:
        """Whether a password belongs to a hash; None if too many wait for that already.

        Args:
            password: as the client sent it.
            digest: the bcrypt hash.
            client: who sent it, for the order.
        """
        password = password[:_BCRYPT_BYTES]
        mark = hashlib.blake2b(password + b"\0" + digest, key=self._key).digest()
        if mark in self._known:
            self._known.move_to_end(mark)
            return True
        suspected = self._wrong.of(client) > _SUSPECTED_ABOVE
        queue = self._suspected if suspected else self._unsuspected
        if self._per_client[client] >= _WAITING_PER_CLIENT or not queue.make_room(client):
            return None
        answer = asyncio.get_running_loop().create_future()
        login = _Login(client, password, digest, mark, answer)
        queue.add(login)
        self._per_client[client] += 1
        try:
            return await login.answer
        finally:
            queue.forget(login)
            self._per_client[client] -= 1
            if not self._per_client[client]:
                del self._per_client[client]

    def _compared(self, login: _Login, equal: bool) -> None:  # noqa: FBT001 - the answer
        if not equal:
            self._wrong.add(login.client)
            return
        self._known[login.mark] = None
        while len(self._known) > _CACHED_LOGINS:
            self._known.popitem(last=False)
        for queue in (self._unsuspected, self._suspected):
            queue.answer_all(login.mark)


def _set(login: _Login, answer: bool | None) -> None:  # noqa: FBT001 - as the future has it
    if not login.answer.done():
        login.answer.set_result(answer)


def _compare(password: bytes, digest: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, digest)
    except ValueError:  # a password that cannot be one, such as one with a zero byte
        return False


def _lower_priority(nice: int) -> None:
    """Have this thread give way to others."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
