"""What is configured is not usable, or what answers is not AWS: one sentence, never a traceback."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.collector.aws.session import HOME_REGION, Aws, AwsError, ask_regions
from latency_sweep.collector.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Page:
    """What a server answers to everything."""

    body: bytes
    kind: str = "text/xml"
    status: int = 200


PORTAL = b"<html><body>Please sign in</body></html>"
NOT_AWS = {
    "a captive portal": Page(PORTAL, "text/html; charset=utf-8"),
    "a portal that refuses": Page(PORTAL, "text/html", 403),
    "a portal that is away": Page(PORTAL, "text/html", 502),
    "a redirect to a portal": Page(PORTAL, "text/html", 302),
    "nothing": Page(b""),
    "JSON": Page(b"{}", "application/json"),
    "XML of something else": Page(b"<rss/>"),
    "cut XML": Page(b"<DescribeRegionsResponse><regionInfo>"),
    "bytes": Page(bytes(range(256)), "application/octet-stream"),
    "an answer without what was asked": Page(
        b"<R><requestId>1</requestId><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></R>"
    ),
}


@contextmanager
def answering(page: Page) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(page.status)
            self.send_header("Content-Type", page.kind)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        do_GET = do_HEAD = do_PUT = do_POST  # noqa: N815 - names the base class looks for

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    settings = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/none",
        "AWS_SHARED_CREDENTIALS_FILE": "/none",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # Its pauses between attempts are not what is tested.
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)


@pytest.mark.parametrize("what", NOT_AWS)
def test_what_is_not_aws_is_named(
    what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(NOT_AWS[what]) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(AwsError, match=r"AWS_ENDPOINT_URL, the proxy, and whether"):
            Aws().enabled_regions()
        failed = ask_regions([HOME_REGION], lambda r: Aws().ec2(r).describe_regions()["Regions"])
        assert "AWS_ENDPOINT_URL" in str(failed.failed[HOME_REGION])
        assert main.main(["preflight"]) == 9
    told = capsys.readouterr().err
    assert told.startswith("sweep preflight: ")
    assert told.count("\n") == 1


PROCESSES = {
    "text": "echo hello",
    "bytes": "printf '\\377\\376'",
    "failure": "echo no >&2; exit 3",
    "nothing": "true",
    "a list": "echo '[]'",
    "null": "echo null",
    "another version": """echo '{"Version": 9}'""",
    "no keys": """echo '{"Version": 1}'""",
    "an odd date": "echo '"
    '{"Version":1,"AccessKeyId":"a","SecretAccessKey":"b","Expiration":"never"}'
    "'",
    "expired keys": "echo '"
    '{"Version":1,"AccessKeyId":"a","SecretAccessKey":"b","SessionToken":"c",'
    '"Expiration":"2001-01-01T00:00:00Z"}'
    "'",
}


@pytest.mark.parametrize("process", PROCESSES)
def test_an_odd_credential_process_is_one_sentence(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, file = tmp_path / "credentials", tmp_path / "config"
    program.write_text(f"#!/bin/sh\n{PROCESSES[process]}\n")
    program.chmod(0o755)
    file.write_text(f"[default]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(AwsError) as caught:
        Aws().enabled_regions()
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


CONFIGURATIONS = {
    "no scheme": {"AWS_ENDPOINT_URL": "localhost:4566"},
    "another scheme": {"AWS_ENDPOINT_URL": "ftp://localhost"},
    "half an address": {"AWS_ENDPOINT_URL": "http://[::1"},
    "no certificates": {"AWS_CA_BUNDLE": "/no/such.pem", "AWS_ENDPOINT_URL": "https://127.0.0.1:1"},
    "no such profile": {"AWS_PROFILE": "nope"},
    "odd retries": {"AWS_MAX_ATTEMPTS": "many"},
    "no such mode": {"AWS_RETRY_MODE": "odd"},
    "a proxy that is not there": {
        "HTTPS_PROXY": "http://me:hunter2@127.0.0.1:1",
        "AWS_ENDPOINT_URL": "https://aws.example",
    },
    "half a proxy": {"HTTPS_PROXY": "http://[::1", "AWS_ENDPOINT_URL": "https://aws.example"},
}


@pytest.mark.parametrize("what", CONFIGURATIONS)
def test_a_broken_configuration_is_one_sentence(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CONFIGURATIONS[what].items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AwsError) as caught:
        Aws().enabled_regions()
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["[default\nfoo\n", "foo\n", "\xff\xfe", "[profile]\n=\n"])
def test_a_broken_configuration_file_is_one_sentence(
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "config"
    file.write_text(text, encoding="latin-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    assert main.main(["reap"]) == 9
    told = capsys.readouterr().err
    assert told.startswith("sweep reap: ")
    assert told.count("\n") == 1
