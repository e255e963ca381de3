"""The web configuration file of Prometheus' exporters.

Format: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md, so
that `promtool check web-config` checks it and one file serves all exporters of a host. What this
probe cannot do is rejected, not ignored: its author relies on it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from latency_sweep.contract import bounded_yaml
from latency_sweep.contract.bounded_yaml import YamlError
from latency_sweep.probe.http.errors import WebConfigError

if TYPE_CHECKING:
    from pathlib import Path

TlsVersion = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
ClientAuth = Literal[
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "RequireClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
    "",
]
Curve = Literal["CurveP256", "CurveP384", "CurveP521", "X25519"]
# bcrypt as htpasswd and Go write it; a higher cost would keep a core busy for seconds per login.
MAX_BCRYPT_COST: Final = 15
_BCRYPT: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_MIN_BCRYPT_COST: Final = 4
_UNIT_SEC: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def _go_duration(value: object) -> float:
    """Seconds of a Go duration: `1h30m`, `100ms`, or a whole number of nanoseconds."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value * 1e-9
    if isinstance(value, str):
        if value == "0":
            return 0.0
        parts = _DURATION_PART.findall(value)
        if value and "".join(number + unit for number, unit in parts) == value:
            return sum(float(number) * _UNIT_SEC[unit] for number, unit in parts)
    raise ValueError("is not a duration such as 1s or 100ms")


class _Section(BaseModel):
    # Values may be secrets: no error shows one.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class TlsServer(_Section):
    """`tls_server_config`; file names are relative to the configuration's folder."""

    cert: str = ""
    key: str = Field(default="", repr=False)
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: ClientAuth = ""
    client_allowed_sans: list[str] | None = None
    min_version: TlsVersion = "TLS12"
    max_version: TlsVersion = "TLS13"
    cipher_suites: list[str] = []
    prefer_server_cipher_suites: bool = True
    curve_preferences: list[Curve] = []

    @property
    def enabled(self) -> bool:
        """Whether TLS is spoken at all."""
        return bool(
            self.cert
            or self.key
            or self.client_ca
            or self.cert_file
            or self.key_file
            or self.client_ca_file
            or self.client_auth_type
        )


class Headers(_Section):
    """Headers that may be added to responses."""

    content_security_policy: str = Field(default="", alias="Content-Security-Policy")
    frame_options: Literal["", "deny", "sameorigin"] = Field(default="", alias="X-Frame-Options")
    content_type_options: Literal["", "nosniff"] = Field(default="", alias="X-Content-Type-Options")
    xss_protection: str = Field(default="", alias="X-XSS-Protection")
    strict_transport_security: str = Field(default="", alias="Strict-Transport-Security")


class HttpServer(_Section):
    """`http_server_config`; `http2` permits HTTP/2, and this probe speaks HTTP/1.1."""

    http2: bool = True
    headers: Headers = Headers()


class RateLimit(_Section):
    """`rate_limit`: a token bucket over all requests; an interval of 0 s means none."""

    interval: Annotated[float, BeforeValidator(_go_duration)] = 0.0
    burst: Annotated[int, Field(ge=0)] = 0


class WebConfig(_Section):
    """A whole web configuration file."""

    tls_server_config: TlsServer = TlsServer()
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: dict[str, str] = Field(default={}, repr=False)
    rate_limit: RateLimit = RateLimit()


def load(path: Path) -> WebConfig:
    """Read and validate a web configuration file.

    Raises:
        WebConfigError: it cannot be read, or is not valid.
    """
    try:
        document = bounded_yaml.load(path)
    except YamlError as error:
        raise WebConfigError(str(error)) from error
    if document is None:
        return WebConfig()
    if not isinstance(document, dict):
        raise WebConfigError(f"{path}: expected sections such as `tls_server_config:`.")
    try:
        config = WebConfig.model_validate(_without_nulls(document))
    except ValidationError as error:
        raise WebConfigError(_sentence(error, path)) from error
    for value in config.http_server_config.headers.model_dump().values():
        if not value.isprintable():
            raise WebConfigError(f"{path}: http_server_config.headers: a value has line breaks.")
    for user, digest in config.basic_auth_users.items():
        _check_user(user, digest, path)
    return config


def bcrypt_cost(digest: str) -> int:
    """Cost of a bcrypt hash that `load` has accepted."""
    return int(digest[4:6])


def _check_user(user: str, digest: str, path: Path) -> None:
    where = f"{path}: basic_auth_users: {user!r}"
    if ":" in user:
        raise WebConfigError(f"{where}: a user's name has no colon in basic authentication.")
    match = _BCRYPT.fullmatch(digest)
    if match is None:
        raise WebConfigError(f"{where}: is no bcrypt hash; make one with `htpasswd -nBC 10 ''`.")
    if not _MIN_BCRYPT_COST <= int(match[1]) <= MAX_BCRYPT_COST:
        raise WebConfigError(
            f"{where}: its bcrypt cost {int(match[1])} is not "
            f"{_MIN_BCRYPT_COST} to {MAX_BCRYPT_COST}."
        )


def _without_nulls(document: Any) -> Any:
    """A key without a value means its default."""
    if isinstance(document, dict):
        return {k: _without_nulls(v) for k, v in document.items() if v is not None}
    return document


def _sentence(error: ValidationError, path: Path) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{path}: {key}: unknown key; remove it or correct its spelling."
    message = fault["msg"].removeprefix("Value error, ")
    return f"{path}: {key}: {message[:1].lower()}{message[1:]}."
