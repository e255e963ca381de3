"""A TLS context of Python's `ssl` from the web configuration's settings for Go's."""

from __future__ import annotations

import ipaddress
import os
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.probe.http.errors import WebConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latency_sweep.probe.http.config import TlsServer

_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
# OpenSSL chooses among these by itself, as Go does: neither lets them be configured.
_TLS13_SUITES: Final = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)
_TLS12_SUITES: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
# What Go offers by default, all with forward secrecy and authenticated encryption.
_DEFAULT_TLS12: Final = tuple(name for name in _TLS12_SUITES if not name.endswith("_CBC_SHA"))
_CURVES: Final = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
_UNVERIFIED: Final = frozenset({"RequestClientCert", "RequireAnyClientCert", "RequireClientCert"})


def make_context(section: TlsServer, source: Path) -> ssl.SSLContext:
    """The server's context.

    Args:
        section: `tls_server_config`, enabled.
        source: the configuration file, whose folder relative names start from.

    Raises:
        WebConfigError: a file cannot be used, or a setting cannot be met.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    where = f"{source}: tls_server_config"
    _set_versions(context, section, where)
    _set_cipher_suites(context, section, where)
    _set_curve(context, section, where)
    _set_client_auth(context, section, source, where)
    _load_certificate(context, section, source, where)
    # A client could have it repeat the handshake, which costs the server most.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def files_of(section: TlsServer, source: Path) -> list[Path]:
    """The files that the section names."""
    names = (section.cert_file, section.key_file, section.client_ca_file)
    return [source.parent / name for name in names if name]


def alternative_names(certificate: dict[str, Any]) -> set[str]:
    """DNS names, addresses, e-mail addresses and URIs of a certificate of `getpeercert`."""
    names = set()
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "IP Address":
            # OpenSSL writes IPv6 out, Go shortens it.
            with suppress(ValueError):  # of neither four nor sixteen bytes
                names.add(str(ipaddress.ip_address(value.strip())))
        elif kind in {"DNS", "email", "URI"}:
            names.add(value)
    return names


def _set_versions(context: ssl.SSLContext, section: TlsServer, where: str) -> None:
    for key, name in (("min_version", section.min_version), ("max_version", section.max_version)):
        if name not in _VERSIONS:
            raise WebConfigError(
                f"{where}: {key}: {name} is not safe and not spoken here; use TLS12 or TLS13."
            )
    if section.min_version > section.max_version:
        raise WebConfigError(f"{where}: min_version is above max_version.")
    context.minimum_version = _VERSIONS[section.min_version]
    context.maximum_version = _VERSIONS[section.max_version]


def _set_cipher_suites(context: ssl.SSLContext, section: TlsServer, where: str) -> None:
    for name in section.cipher_suites:
        if name not in _TLS12_SUITES and name not in _TLS13_SUITES:
            raise WebConfigError(f"{where}: cipher_suites: {name!r} is not known or not safe.")
    chosen = section.cipher_suites or _DEFAULT_TLS12
    older = [_TLS12_SUITES[name] for name in chosen if name in _TLS12_SUITES]
    if older:
        try:
            context.set_ciphers(":".join(older))
        except ssl.SSLError as error:
            raise WebConfigError(f"{where}: cipher_suites: OpenSSL has none of them.") from error
    elif section.max_version == "TLS12":
        raise WebConfigError(f"{where}: cipher_suites: none is for TLS 1.2, the max_version.")
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if section.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def _set_curve(context: ssl.SSLContext, section: TlsServer, where: str) -> None:
    if not section.curve_preferences:
        return
    if len(section.curve_preferences) > 1:
        raise WebConfigError(
            f"{where}: curve_preferences: Python's ssl takes one curve; name one, or none for "
            "OpenSSL's choice."
        )
    context.set_ecdh_curve(_CURVES[section.curve_preferences[0]])


def _set_client_auth(context: ssl.SSLContext, section: TlsServer, source: Path, where: str) -> None:
    kind = section.client_auth_type or "NoClientCert"
    if section.client_ca and section.client_ca_file:
        raise WebConfigError(f"{where}: give client_ca or client_ca_file, not both.")
    has_ca = bool(section.client_ca or section.client_ca_file)
    if kind in _UNVERIFIED:
        raise WebConfigError(
            f"{where}: client_auth_type: {kind} takes certificates without checking them, which "
            "this probe does not; use RequireAndVerifyClientCert."
        )
    if kind == "NoClientCert":
        if has_ca or section.client_allowed_sans is not None:
            raise WebConfigError(
                f"{where}: client_ca_file and client_allowed_sans need a client_auth_type; use "
                "RequireAndVerifyClientCert."
            )
        return
    if not has_ca:
        raise WebConfigError(
            f"{where}: client_auth_type: {kind} needs client_ca_file; otherwise the clients of "
            "every public CA would be accepted."
        )
    try:
        if section.client_ca:
            context.load_verify_locations(cadata=section.client_ca)
        else:
            context.load_verify_locations(cafile=source.parent / section.client_ca_file)
    except (OSError, ssl.SSLError) as error:
        shown = section.client_ca_file or "client_ca"
        raise WebConfigError(f"{where}: {shown} is no certificate: {_why(error)}.") from error
    required = kind == "RequireAndVerifyClientCert"
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL


def _load_certificate(
    context: ssl.SSLContext, section: TlsServer, source: Path, where: str
) -> None:
    for text, name in ((section.cert, "cert"), (section.key, "key")):
        file = getattr(section, f"{name}_file")
        if text and file:
            raise WebConfigError(f"{where}: give {name} or {name}_file, not both.")
        if not text and not file:
            raise WebConfigError(f"{where}: {name}_file is missing.")
    with (
        _file(section.cert, source.parent / section.cert_file) as cert,
        _file(section.key, source.parent / section.key_file) as key,
    ):
        try:
            # An empty password: OpenSSL would otherwise ask for one at the terminal.
            context.load_cert_chain(cert, key, password="")
        except (OSError, ssl.SSLError) as error:
            shown = (section.cert_file or "cert", section.key_file or "key")
            raise WebConfigError(
                f"{where}: {shown[0]} and {shown[1]} are no certificate and its unencrypted "
                f"key: {_why(error)}."
            ) from error


@contextmanager
def _file(text: str, path: Path) -> Iterator[str]:
    """A file's name for a text, which never reaches a disk, or else the path's."""
    if not text:
        yield str(path)
        return
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").replace("_", " ").lower()
    return error.strerror or str(error)
