"""From the options of a command to the credentials of a Prometheus server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from latency_sweep.analysis.prometheus_api import Access, InvalidAccessError
from latency_sweep.runtime.options import PASSWORD_VARIABLE, TOKEN_VARIABLE, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from latency_sweep.runtime.options import PrometheusOptions


def access_of(options: PrometheusOptions, *, bearer_token: str | None = None) -> Access:
    """Credentials from options, files and environment variables.

    Args:
        options: of the command.
        bearer_token: to use instead of the one that the options name.

    Raises:
        UsageError: a file cannot be read, one option lacks another, or a secret or header cannot
            be sent.
    """
    token = bearer_token if bearer_token is not None else _token(options)
    if (options.client_cert is None) != (options.client_key is None):
        raise UsageError("--client-cert and --client-key need one another.")
    for path in (options.ca_file, options.client_cert, options.client_key):
        if path is not None and not path.is_file():
            what = "cannot be read: Is a directory" if path.is_dir() else "there is no such file"
            raise UsageError(f"{path}: {what}.")
    certificate = None
    if options.client_cert is not None and options.client_key is not None:
        certificate = (options.client_cert, options.client_key)
    try:
        return Access(token, _basic(options), dict(options.headers), options.ca_file, certificate)
    except InvalidAccessError as error:
        raise UsageError(str(error)) from None


def _token(options: PrometheusOptions) -> str | None:
    if options.bearer_token_file is not None:
        return _secret(options.bearer_token_file)
    return _secret_variable(TOKEN_VARIABLE)


def _basic(options: PrometheusOptions) -> tuple[str, str] | None:
    if options.username is None:
        if options.password_file is not None:
            raise UsageError("--password-file needs --username, the name that the password is of.")
        return None
    if options.password_file is not None:
        return options.username, _secret(options.password_file)
    password = _secret_variable(PASSWORD_VARIABLE)
    if password is None:
        raise UsageError(f"--username needs --password-file or ${PASSWORD_VARIABLE}.")
    return options.username, password


def _secret_variable(name: str) -> str | None:
    """A secret from the environment, where it may have kept the line end of the file it is from."""
    found = os.environ.get(name)
    return None if found is None else found.strip()


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"{path}: cannot be read: {reason}.") from error
