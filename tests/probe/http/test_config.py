"""The web configuration means here what it means to Prometheus' exporters."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.probe.http import config, policy
from latency_sweep.probe.http.errors import WebConfigError
from tests.probe.http.conftest import HASH

if TYPE_CHECKING:
    from pathlib import Path

    from tests.probe.http.conftest import Keys

HASH_BY_HTPASSWD = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"


def document(keys: Keys, **sections: Any) -> dict[str, Any]:
    cert, key = keys.server
    return {"tls_server_config": {"cert_file": str(cert), "key_file": str(key)}, **sections}


def with_tls(keys: Keys, **settings: Any) -> dict[str, Any]:
    whole = document(keys)
    whole["tls_server_config"].update(settings)
    return whole


def read(path: Path, whole: dict[str, Any]) -> policy.Policy:
    path.write_text(json.dumps(whole))
    return policy.read(path, None)


def promtool_accepts(promtool: Path, file: Path) -> bool:
    done = subprocess.run(
        [promtool, "check", "web-config", file], capture_output=True, timeout=30, check=False
    )
    return done.returncode == 0


SAME: dict[str, dict[str, Any]] = {
    "nothing but TLS": {},
    "versions": {"min_version": "TLS12", "max_version": "TLS13"},
    "cipher suites": {
        "cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"],
        "prefer_server_cipher_suites": False,
    },
    "one curve": {"curve_preferences": ["X25519"]},
    "another curve": {"curve_preferences": ["CurveP384"]},
}


@pytest.mark.parametrize("settings", SAME.values(), ids=SAME)
def test_we_and_promtool_accept(
    settings: dict[str, Any], web_file: Path, keys: Keys, promtool_binary: Path
) -> None:
    assert read(web_file, with_tls(keys, **settings)).context is not None
    assert promtool_accepts(promtool_binary, web_file)


def test_every_section_is_accepted_by_us_and_promtool(
    web_file: Path, keys: Keys, promtool_binary: Path
) -> None:
    whole = with_tls(
        keys,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(keys.ours.file),
        client_allowed_sans=["client", "127.0.0.1"],
    )
    whole |= {
        "http_server_config": {
            "http2": True,
            "headers": {"Content-Security-Policy": "default-src 'self'", "X-Frame-Options": "deny"},
        },
        "basic_auth_users": {"alice": HASH, "bob": HASH_BY_HTPASSWD},
        "rate_limit": {"interval": "1s", "burst": 20},
    }
    chosen = read(web_file, whole)
    assert chosen.allowed_names == frozenset({"client", "127.0.0.1"})
    assert chosen.headers["X-Frame-Options"] == "deny"
    assert chosen.bucket is not None
    assert promtool_accepts(promtool_binary, web_file)


BOTH_REFUSE: dict[str, tuple[dict[str, Any], str]] = {
    "unknown section": ({"tls": {}}, "tls: unknown key"),
    "unknown header": (
        {"http_server_config": {"headers": {"Server": "x"}}},
        r"http_server_config\.headers\.Server: unknown key",
    ),
    "header value": (
        {"http_server_config": {"headers": {"X-Frame-Options": "allow"}}},
        r"X-Frame-Options: input should be",
    ),
    "no hash": ({"basic_auth_users": {"a": "password"}}, "'a': is no bcrypt hash"),
    "duration": ({"rate_limit": {"interval": "soon", "burst": 1}}, r"rate_limit\.interval: is not"),
    "TLS version": ({"tls_server_config": {"min_version": "SSL3"}}, "min_version: input should be"),
    "cipher suite": (
        {"tls_server_config": {"cipher_suites": ["TLS_RC4"]}},
        r"cipher_suites: 'TLS_RC4' is not known",
    ),
    "curve": ({"tls_server_config": {"curve_preferences": ["P224"]}}, "curve_preferences.0: input"),
    "client authentication": (
        {"tls_server_config": {"client_auth_type": "Maybe"}},
        "client_auth_type: input should be",
    ),
    "authority without authentication": (
        {"tls_server_config": {"client_ca_file": "ours.pem"}},
        "need a client_auth_type",
    ),
    "no key": ({"tls_server_config": {"key_file": ""}}, "key_file is missing"),
    "wrong key": ({"tls_server_config": {"key_file": "nowhere.key"}}, "No such file"),
}


@pytest.mark.parametrize(("sections", "message"), BOTH_REFUSE.values(), ids=BOTH_REFUSE)
def test_we_and_promtool_refuse(
    sections: dict[str, Any], message: str, web_file: Path, keys: Keys, promtool_binary: Path
) -> None:
    sections = dict(sections)
    whole = with_tls(keys, **sections.pop("tls_server_config", {})) | sections
    with pytest.raises(WebConfigError, match=message) as raised:
        read(web_file, whole)
    assert "\n" not in str(raised.value)
    assert str(web_file) in str(raised.value)
    assert not promtool_accepts(promtool_binary, web_file)


WE_REFUSE: dict[str, tuple[dict[str, Any], str]] = {
    "old TLS": ({"min_version": "TLS10"}, "TLS10 is not safe"),
    "several curves": ({"curve_preferences": ["X25519", "CurveP256"]}, "takes one curve"),
    "unverified": ({"client_auth_type": "RequestClientCert"}, "without checking"),
    "any": ({"client_auth_type": "RequireAnyClientCert"}, "without checking"),
    "any, as it was called": ({"client_auth_type": "RequireClientCert"}, "without checking"),
    "public authorities": ({"client_auth_type": "VerifyClientCertIfGiven"}, "needs client_ca_file"),
    "names without authentication": ({"client_allowed_sans": ["x"]}, "need a client_auth_type"),
}


@pytest.mark.parametrize(("settings", "message"), WE_REFUSE.values(), ids=WE_REFUSE)
def test_what_we_cannot_do_is_refused_and_not_ignored(
    settings: dict[str, Any], message: str, web_file: Path, keys: Keys
) -> None:
    with pytest.raises(WebConfigError, match=message):
        read(web_file, with_tls(keys, **settings))


def test_an_empty_file_asks_for_nothing(web_file: Path) -> None:
    web_file.write_text("# nothing yet\n")
    assert policy.read(web_file, None).open_to_all


def test_files_are_relative_to_the_configuration(web_file: Path, keys: Keys) -> None:
    cert, key = keys.server
    names = [os.path.relpath(path, web_file.parent) for path in (cert, key)]
    section = dict(zip(("cert_file", "key_file"), names, strict=True))
    assert read(web_file, {"tls_server_config": section}).context is not None


def test_certificates_may_stand_in_the_file(web_file: Path, keys: Keys) -> None:
    cert, key = keys.server
    section = {
        "cert": cert.read_text(),
        "key": key.read_text(),
        "client_ca": keys.ours.file.read_text(),
        "client_auth_type": "RequireAndVerifyClientCert",
    }
    assert read(web_file, {"tls_server_config": section}).verifies_clients


def test_no_error_shows_a_secret(web_file: Path, keys: Keys) -> None:
    key = keys.server[1].read_text()
    for whole in (
        {"tls_server_config": {"cert": "hidden", "key": key}},
        {"tls_server_config": {"cert": 5, "key": [key]}},
        {"basic_auth_users": {"a": key}},
        {"basic_auth_users": key},
    ):
        with pytest.raises(WebConfigError) as raised:
            read(web_file, whole)
        assert key.splitlines()[1] not in str(raised.value)
        assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1.0), ("1h30m", 5400.0), ("100ms", 0.1), (".5s", 0.5), ("0", 0.0), (10**9, 1.0)],
)
def test_durations_are_those_of_go(text: str | int, seconds: float) -> None:
    limit = config.RateLimit.model_validate({"interval": text, "burst": 1})
    assert limit.interval == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1 s", "-1s", "1d", True, -1, None, 1.5])
def test_what_go_takes_for_no_duration_is_none(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        config.RateLimit.model_validate({"interval": text})


def test_a_cost_that_keeps_a_core_busy_is_refused(web_file: Path) -> None:
    digest = re.sub(r"\$04\$", "$20$", HASH)
    with pytest.raises(WebConfigError, match="bcrypt cost 20 is not 4 to 15"):
        read(web_file, {"basic_auth_users": {"a": digest}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no token"),
        (b"short\n", "16 or more"),
        (b"a token with spaces in it\n", "no spaces"),
        ("ein-langes-Geheimnis-mit-ä\n".encode(), "ASCII"),
        (b"x" * 20_000, "has no token"),
    ],
)
def test_a_token_file_is_checked(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(WebConfigError, match=message):
        policy.read(None, file)
