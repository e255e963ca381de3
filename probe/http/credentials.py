"""Authentication: bcrypt passwords and bearer tokens, compared in constant time."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import bcrypt

from latency_sweep.contract.metrics import RejectionReason
from latency_sweep.probe.http.config import bcrypt_cost
from latency_sweep.probe.http.errors import WebConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MIN_TOKEN_CHARS: Final = 16
MAX_TOKEN_FILE_BYTES: Final = 16 * 1024
# bcrypt reads no more of a password; htpasswd and Go cut it there too.
_BCRYPT_BYTES: Final = 72
_CACHED_LOGINS: Final = 64
# Each takes about 0.1 s of a core; beyond so many, clients are told to try again.
_WAITING_LOGINS: Final = 8
_DEFAULT_COST: Final = 10


def read_tokens(path: Path) -> tuple[bytes, ...]:
    """The tokens in a file, one a line; two while one replaces the other.

    Raises:
        WebConfigError: unreadable, empty, or a token that is too short or no text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TOKEN_FILE_BYTES + 1)
    except OSError as error:
        raise WebConfigError(f"--bearer-token-file {path}: {error.strerror}.") from error
    tokens = tuple(line.strip() for line in content.splitlines() if line.strip())
    if not tokens or len(content) > MAX_TOKEN_FILE_BYTES:
        raise WebConfigError(f"--bearer-token-file {path}: has no token; put one in each line.")
    for token in tokens:
        if len(token) < MIN_TOKEN_CHARS or not token.isascii() or b" " in token:
            raise WebConfigError(
                f"--bearer-token-file {path}: a token has {MIN_TOKEN_CHARS} or more ASCII "
                "characters and no spaces; make one with `openssl rand -hex 32`."
            )
    return tokens


class PasswordCheck:
    """Compares passwords with bcrypt hashes in a thread of its own.

    A comparison takes 0.1 s by design. It releases the interpreter's lock and runs at the lowest
    priority, so that receiving goes on. Successful logins are cached, as in exporter-toolkit, as
    digests under a random key.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "bcrypt", initializer=_give_way)
        self._waiting = 0
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._key = secrets.token_bytes(32)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def matches(self, password: bytes, digest: bytes) -> bool | None:
        """Whether a password belongs to a hash; None if too many wait for that already."""
        password = password[:_BCRYPT_BYTES]
        mark = hashlib.blake2b(password + b"\0" + digest, key=self._key).digest()
        if mark in self._known:
            self._known.move_to_end(mark)
            return True
        if self._waiting >= _WAITING_LOGINS:
            return None
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            equal = await loop.run_in_executor(self._pool, _compare, password, digest)
        finally:
            self._waiting -= 1
        if equal:
            self._known[mark] = None
            while len(self._known) > _CACHED_LOGINS:
                self._known.popitem(last=False)
        return equal


def _compare(password: bytes, digest: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, digest)
    except ValueError:  # a password that cannot be one, such as one with a zero byte
        return False


def _give_way() -> None:
    """Give this thread the lowest priority."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 19)


class Credentials:
    """The users and tokens that are accepted; without any, no credentials are needed.

    Args:
        users: bcrypt hash by user.
        tokens: bearer tokens.
    """

    def __init__(self, users: Mapping[str, str], tokens: Sequence[bytes]) -> None:
        self._users = {user.encode(): digest.encode() for user, digest in users.items()}
        # Digests have one length, so that a comparison reveals nothing of a token's.
        self._tokens = [hashlib.sha256(token).digest() for token in tokens]
        # For unknown users, at the highest cost in use, so that they take as long as known ones.
        cost = max(map(bcrypt_cost, users.values()), default=_DEFAULT_COST)
        self._nobody = f"$2b${cost:02}${'.' * 53}".encode()

    @property
    def needed(self) -> bool:
        """Whether a request needs credentials."""
        return bool(self._users or self._tokens)

    @property
    def challenge(self) -> str:
        """Value of `WWW-Authenticate`."""
        schemes = [("Basic", self._users), ("Bearer", self._tokens)]
        return ", ".join(f'{name} realm="probe"' for name, known in schemes if known)

    async def rejection(self, header: str | None, check: PasswordCheck) -> RejectionReason | None:
        """Why an `Authorization` header is rejected; None if it is accepted.

        Args:
            header: its value, or None if there is none.
            check: compares passwords.
        """
        if not self.needed:
            return None
        scheme, _, value = (header or "").partition(" ")
        if scheme.lower() == "bearer" and self._tokens:
            return self._reject_token(value.strip())
        if scheme.lower() == "basic" and self._users:
            return await self._reject_user(value.strip(), check)
        return RejectionReason.UNAUTHENTICATED

    def _reject_token(self, token: str) -> RejectionReason | None:
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        # No early exit at the first match: every token is compared.
        fits = [hmac.compare_digest(digest, known) for known in self._tokens]
        return None if any(fits) else RejectionReason.WRONG_TOKEN

    async def _reject_user(self, value: str, check: PasswordCheck) -> RejectionReason | None:
        try:
            login = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return RejectionReason.WRONG_PASSWORD
        user, colon, password = login.partition(b":")
        if not colon:
            return RejectionReason.WRONG_PASSWORD
        digest = self._users.get(user)
        equal = await check.matches(password, digest or self._nobody)
        if equal is None:
            return RejectionReason.RATE
        return None if equal and digest is not None else RejectionReason.WRONG_PASSWORD
