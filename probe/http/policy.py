"""The access policy of the metrics endpoint, as its files have it now."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from latency_sweep.probe.http import config, tls
from latency_sweep.probe.http.credentials import Credentials, read_tokens
from latency_sweep.probe.http.errors import WebConfigError
from latency_sweep.probe.http.token_bucket import TokenBucket
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from latency_sweep.probe.http.config import RateLimit

_LOG: Final = logs.logger(__name__)
_Signature = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is asked of a client.

    Attributes:
        context: for TLS; None for plain HTTP.
        allowed_names: a client's certificate has one of them; None for any.
        credentials: what a request has to show.
        headers: added to every response.
        bucket: limits the rate of all authenticated requests together, or None.
        unauthenticated_bucket: the same for all others, which so take nothing from those.
        rate_limit: what both were made from.
        files: all files it was read from.
    """

    context: ssl.SSLContext | None
    allowed_names: frozenset[str] | None
    credentials: Credentials
    headers: Mapping[str, str]
    bucket: TokenBucket | None
    unauthenticated_bucket: TokenBucket | None
    rate_limit: RateLimit
    files: Sequence[Path]

    @property
    def verifies_clients(self) -> bool:
        """Whether every client needs a certificate."""
        return self.context is not None and self.context.verify_mode is ssl.CERT_REQUIRED

    @property
    def open_to_all(self) -> bool:
        """Whether any client may read."""
        return not self.credentials.needed and not self.verifies_clients


def read(web_config_file: Path | None, bearer_token_file: Path | None) -> Policy:
    """Read the policy from its files.

    Raises:
        WebConfigError: one of them cannot be used.
    """
    files = [path for path in (web_config_file, bearer_token_file) if path is not None]
    chosen = config.WebConfig() if web_config_file is None else config.load(web_config_file)
    context = None
    section = chosen.tls_server_config
    if web_config_file is not None and section.enabled:
        files += tls.files_of(section, web_config_file)
        context = tls.make_context(section, web_config_file)
    names = section.client_allowed_sans
    limit = chosen.rate_limit
    headers = chosen.http_server_config.headers.model_dump(by_alias=True)
    return Policy(
        context=context,
        allowed_names=None if names is None else frozenset(names),
        credentials=Credentials(
            chosen.basic_auth_users,
            () if bearer_token_file is None else read_tokens(bearer_token_file),
        ),
        headers={name: value for name, value in headers.items() if value},
        bucket=_bucket(limit),
        unauthenticated_bucket=_bucket(limit),
        rate_limit=limit,
        files=files,
    )


def _bucket(limit: RateLimit) -> TokenBucket | None:
    return TokenBucket(1 / limit.interval, limit.burst) if limit.interval else None


class LivePolicy:
    """A policy that follows its files.

    As in exporter-toolkit a change takes effect with the next connection or request. Unlike there,
    files that cannot be used leave the old policy in force.

    Args:
        web_config_file: in exporter-toolkit's format, or None.
        bearer_token_file: tokens, or None.
        on_reload: called after each further reading.

    Attributes:
        last_error: what the last reading failed at, or None.

    Raises:
        WebConfigError: the files cannot be used at the start.
    """

    def __init__(
        self,
        web_config_file: Path | None,
        bearer_token_file: Path | None,
        *,
        on_reload: Callable[[], None] = lambda: None,
    ) -> None:
        self._sources = (web_config_file, bearer_token_file)
        self._on_reload = on_reload
        self.last_error: str | None = None
        self._current = read(*self._sources)
        self._signature = _signature(self._current.files)

    @property
    def current(self) -> Policy:
        """The policy, read again if a file has changed since."""
        if _signature(self._current.files) != self._signature:
            self.reload()
        return self._current

    def reload(self) -> None:
        """Read the files again; an error is logged, and the old policy stays in force."""
        old, before = self._current, self._signature
        # Taken first, so that a change while they are read is seen the next time.
        self._signature = _signature(old.files)
        changed = [
            str(path)
            for path, was, is_now in zip(old.files, before, self._signature, strict=True)
            if was != is_now
        ]
        try:
            read_now = read(*self._sources)
        except WebConfigError as error:
            self.last_error = str(error)
            extra = {"error": self.last_error}
            _LOG.error("the old access policy stays in force", extra=extra)
        else:
            self.last_error = None
            if read_now.rate_limit == old.rate_limit:
                read_now = replace(
                    read_now, bucket=old.bucket, unauthenticated_bucket=old.unauthenticated_bucket
                )
            self._current = read_now
            if read_now.files != old.files:
                self._signature = _signature(read_now.files)
            if old.files:
                extra = {"changed": ", ".join(changed) or "nothing"}
                _LOG.info("access policy read again", extra=extra)
        self._on_reload()


def _signature(files: Sequence[Path]) -> _Signature:
    """What changes when one of the files is replaced or rewritten."""
    return tuple(map(_identity, files))


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
