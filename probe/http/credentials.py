"""Authentication: bcrypt passwords and bearer tokens, compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.metrics import RejectionReason
from latency_sweep.probe.http.config import bcrypt_cost
from latency_sweep.probe.http.errors import WebConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from latency_sweep.probe.http.password_check import PasswordCheck

MIN_TOKEN_CHARS: Final = 16
MAX_TOKEN_FILE_BYTES: Final = 16 * 1024
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

    async def rejection(
        self, header: str | None, check: PasswordCheck, client: str
    ) -> RejectionReason | None:
        """Why an `Authorization` header is rejected; None if it is accepted.

        Args:
            header: its value, or None if there is none.
            check: compares passwords.
            client: who sent it.
        """
        if not self.needed:
            return None
        scheme, _, value = (header or "").partition(" ")
        if scheme.lower() == "bearer" and self._tokens:
            return self._reject_token(value.strip())
        if scheme.lower() == "basic" and self._users:
            return await self._reject_user(value.strip(), check, client)
        return RejectionReason.UNAUTHENTICATED

    def _reject_token(self, token: str) -> RejectionReason | None:
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        # No early exit at the first match: every token is compared.
        fits = [hmac.compare_digest(digest, known) for known in self._tokens]
        return None if any(fits) else RejectionReason.WRONG_TOKEN

    async def _reject_user(
        self, value: str, check: PasswordCheck, client: str
    ) -> RejectionReason | None:
        try:
            login = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return RejectionReason.WRONG_PASSWORD
        user, colon, password = login.partition(b":")
        if not colon:
            return RejectionReason.WRONG_PASSWORD
        digest = self._users.get(user)
        equal = await check.matches(password, digest or self._nobody, client)
        if equal is None:
            return RejectionReason.RATE
        return None if equal and digest is not None else RejectionReason.WRONG_PASSWORD
