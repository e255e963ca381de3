"""Everyone who must not come in is turned away and counted; everyone else is served."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from latency_sweep.contract.metrics import RejectionReason
from latency_sweep.probe.http.limits import EndpointLimits
from latency_sweep.runtime.logs import TextFormatter
from tests.probe.http.conftest import HASH, LARGE, PASSWORD, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.probe.http.conftest import Keys, OpenDoor

    OpenIt = Callable[..., AbstractAsyncContextManager[OpenDoor]]


def basic(user: str, password: str) -> dict[str, str]:
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {login}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def tls(keys: Keys, **options: Any) -> dict[str, Any]:
    cert, key = keys.server
    return {"tls_server_config": {"cert_file": str(cert), "key_file": str(key), **options}}


def mutual_tls(keys: Keys, **options: Any) -> dict[str, Any]:
    return tls(
        keys,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(keys.ours.file),
        **options,
    )


def write(path: Path, document: dict[str, Any]) -> None:
    """JSON is YAML."""
    path.write_text(json.dumps(document))


@pytest.fixture
def users_file(web_file: Path) -> Path:
    write(web_file, {"basic_auth_users": {"prom": HASH}})
    return web_file


@pytest.fixture
def tls_file(web_file: Path, keys: Keys) -> Path:
    write(web_file, tls(keys))
    return web_file


@pytest.fixture
def mutual_file(web_file: Path, keys: Keys) -> Path:
    write(web_file, mutual_tls(keys))
    return web_file


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side closes."""
    try:
        return await reader.read()
    except (ConnectionError, ssl.SSLError):
        return b""


async def test_without_rules_everybody_is_served(open_endpoint: OpenIt) -> None:
    async with open_endpoint() as door:
        assert (await door.get())[:2] == (200, "up 1\n")


async def test_unauthenticated_is_refused_with_what_is_asked_for(
    open_endpoint: OpenIt, users_file: Path, token_file: Path
) -> None:
    async with open_endpoint(users_file, token_file) as door:
        status, _, headers = await door.get()
        assert status == 401
        assert headers["WWW-Authenticate"] == 'Basic realm="probe", Bearer realm="probe"'
        await door.refusals.wait_for(RejectionReason.UNAUTHENTICATED)


async def test_right_password_is_let_in(open_endpoint: OpenIt, users_file: Path) -> None:
    async with open_endpoint(users_file) as door:
        for _ in range(2):
            assert (await door.get(headers=basic("prom", PASSWORD)))[0] == 200
        assert not door.refusals.counts


@pytest.mark.parametrize(
    "headers",
    [
        basic("prom", "wrong"),
        basic("nobody", PASSWORD),
        basic("prom", ""),
        basic("prom", "nul\0byte"),
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic " + base64.b64encode(b"no colon").decode()},
    ],
)
async def test_wrong_password_or_user_is_refused(
    open_endpoint: OpenIt, users_file: Path, headers: dict[str, str]
) -> None:
    async with open_endpoint(users_file) as door:
        assert (await door.get(headers=headers))[0] == 401
        await door.refusals.wait_for(RejectionReason.WRONG_PASSWORD)


async def test_right_token_is_let_in(open_endpoint: OpenIt, token_file: Path) -> None:
    async with open_endpoint(None, token_file) as door:
        assert (await door.get(headers=bearer(TOKEN)))[0] == 200


@pytest.mark.parametrize("token", ["wrong", TOKEN[:-1], TOKEN + "x", ""])
async def test_wrong_token_is_refused(open_endpoint: OpenIt, token_file: Path, token: str) -> None:
    async with open_endpoint(None, token_file) as door:
        status, _, headers = await door.get(headers=bearer(token))
        assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="probe"')
        await door.refusals.wait_for(RejectionReason.WRONG_TOKEN)


async def test_no_path_is_told_to_strangers_and_only_health_is_open(
    open_endpoint: OpenIt, token_file: Path
) -> None:
    async with open_endpoint(None, token_file) as door:
        assert (await door.get("/nothing"))[0] == 401
        assert (await door.get("/-/healthy"))[0] == 200


async def test_what_is_not_served_is_counted(open_endpoint: OpenIt) -> None:
    async with open_endpoint() as door:
        assert (await door.get("/nothing"))[0] == 404
        async with door.client.delete(door.url("/metrics")) as response:
            assert response.status == 405
        await door.refusals.wait_for(RejectionReason.NOT_SERVED, 2)


async def test_no_client_certificate_is_refused(
    open_endpoint: OpenIt, mutual_file: Path, keys: Keys
) -> None:
    async with open_endpoint(mutual_file) as door:
        await door.refuses(keys.client_context())
        await door.refusals.wait_for(RejectionReason.NO_CLIENT_CERTIFICATE)


async def test_a_strangers_certificate_is_refused(
    open_endpoint: OpenIt, mutual_file: Path, keys: Keys
) -> None:
    async with open_endpoint(mutual_file) as door:
        await door.refuses(keys.client_context(keys.stranger))
        await door.refusals.wait_for(RejectionReason.WRONG_CLIENT_CERTIFICATE)


async def test_a_certificate_of_another_name_is_refused(
    open_endpoint: OpenIt, web_file: Path, keys: Keys
) -> None:
    write(web_file, mutual_tls(keys, client_allowed_sans=["client"]))
    async with open_endpoint(web_file) as door:
        await door.refuses(keys.client_context(keys.other_client))
        await door.refusals.wait_for(RejectionReason.WRONG_CLIENT_CERTIFICATE)
        assert (await door.get(ssl=keys.client_context(keys.client)))[0] == 200


async def test_the_right_certificate_is_let_in(
    open_endpoint: OpenIt, mutual_file: Path, keys: Keys
) -> None:
    async with open_endpoint(mutual_file) as door:
        assert (await door.get(ssl=keys.client_context(keys.client)))[0] == 200


async def test_plain_http_to_the_tls_port_is_closed(open_endpoint: OpenIt, tls_file: Path) -> None:
    async with open_endpoint(tls_file) as door:
        reader, writer = await door.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in await closed(reader)
        await door.refusals.wait_for(RejectionReason.PLAIN_HTTP)


async def test_noise_to_the_tls_port_is_closed(open_endpoint: OpenIt, tls_file: Path) -> None:
    async with open_endpoint(tls_file) as door:
        reader, writer = await door.connect()
        writer.write(bytes(100))
        assert b"200" not in await closed(reader)
        await door.refusals.wait_for(RejectionReason.TLS)


async def test_an_older_tls_is_refused(open_endpoint: OpenIt, web_file: Path, keys: Keys) -> None:
    write(web_file, tls(keys, min_version="TLS13"))
    context = keys.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with open_endpoint(web_file) as door:
        await door.refuses(context)
        await door.refusals.wait_for(RejectionReason.TLS)


async def test_tls_to_the_plain_port_is_refused(open_endpoint: OpenIt) -> None:
    async with open_endpoint() as door:
        with pytest.raises(aiohttp.ClientError):
            await door.client.get(f"https://127.0.0.1:{door.port}/metrics")
        await door.refusals.wait_for(RejectionReason.MALFORMED)


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", b"414", RejectionReason.REQUEST_LINE),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000, b"431", RejectionReason.HEADERS),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3000, b"431", RejectionReason.HEADERS),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n" + bytes(30_000),
            b"413",
            RejectionReason.BODY,
        ),
        (
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
            b"413",
            RejectionReason.BODY,
        ),
        (b"\x16\x03\x01 noise\r\n\r\n", b"400", RejectionReason.MALFORMED),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"400", RejectionReason.MALFORMED),
    ],
    ids=["line", "header", "headers", "body", "chunks", "noise", "no header"],
)
async def test_too_large_or_no_request_is_refused(
    open_endpoint: OpenIt, request_bytes: bytes, status: bytes, reason: RejectionReason
) -> None:
    async with open_endpoint() as door:
        reader, writer = await door.connect()
        writer.write(request_bytes)
        assert (await closed(reader)).split(b" ")[1:2] == [status]
        await door.refusals.wait_for(reason)


async def test_a_malformed_request_is_not_quoted_in_the_log(
    open_endpoint: OpenIt, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.handler.setFormatter(TextFormatter())
    async with open_endpoint() as door:
        reader, writer = await door.connect()
        writer.write(b"GET / HTTP/1.1\r\nAuthorization: Bearer \x01secret\r\n\r\n")
        await closed(reader)
        await door.refusals.wait_for(RejectionReason.MALFORMED)
    assert "secret" not in caplog.text


async def test_the_files_rate_limit_holds(open_endpoint: OpenIt, web_file: Path) -> None:
    write(web_file, {"rate_limit": {"interval": "1h", "burst": 2}})
    async with open_endpoint(web_file) as door:
        answers = [await door.get() for _ in range(3)]
        assert [status for status, _, _ in answers] == [200, 200, 429]
        assert answers[2][2]["Retry-After"] == "1"
        await door.refusals.wait_for(RejectionReason.RATE)


async def test_too_many_requests_of_one_address_are_refused(open_endpoint: OpenIt) -> None:
    async with open_endpoint(limits=EndpointLimits(new_per_sec=0.001, burst=3)) as door:
        reader, writer = await door.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
        answers = await closed(reader)
        assert (answers.count(b"HTTP/1.1 200"), answers.count(b"HTTP/1.1 429")) == (3, 1)
        await door.refusals.wait_for(RejectionReason.RATE)


async def test_too_many_new_connections_are_closed(open_endpoint: OpenIt) -> None:
    async with open_endpoint(limits=EndpointLimits(new_per_sec=0.001, burst=1)) as door:
        assert (await door.get())[0] == 200
        reader, _ = await door.connect()
        assert await closed(reader) == b""
        await door.refusals.wait_for(RejectionReason.RATE)


async def test_of_too_many_connections_at_once_the_oldest_is_closed(open_endpoint: OpenIt) -> None:
    async with open_endpoint(limits=EndpointLimits(connections_per_client=2)) as door:
        reader, _ = await door.connect()
        await door.connect()
        assert (await door.get())[0] == 200
        assert await closed(reader) == b""
        await door.refusals.wait_for(RejectionReason.CONNECTIONS)


async def test_a_place_is_free_again_after_a_connection_ended(open_endpoint: OpenIt) -> None:
    async with open_endpoint(limits=EndpointLimits(connections_per_client=1)) as door:
        for _ in range(5):
            reader, writer = await door.connect()
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b"up 1" in await closed(reader)
            writer.close()
            await writer.wait_closed()
        assert not door.refusals.counts


async def test_slow_loris_is_cut_off_while_others_are_served(open_endpoint: OpenIt) -> None:
    async with open_endpoint(limits=EndpointLimits(head_sec=1.5)) as door:
        reader, writer = await door.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        assert (await door.get())[0] == 200

        async def trickle() -> None:
            while True:
                writer.write(b"a: b\r\n")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert await closed(reader) == b""
        trickling.cancel()
        await asyncio.wait({trickling})
        await door.refusals.wait_for(RejectionReason.SLOW)


async def test_a_slow_second_request_is_cut_off_too(open_endpoint: OpenIt) -> None:
    async with open_endpoint(limits=EndpointLimits(head_sec=1.5)) as door:
        reader, writer = await door.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /me")
        assert (await closed(reader)).count(b"HTTP/1.1 200") == 1
        await door.refusals.wait_for(RejectionReason.SLOW)


async def test_a_slow_handshake_is_cut_off(open_endpoint: OpenIt, tls_file: Path) -> None:
    async with open_endpoint(tls_file, limits=EndpointLimits(handshake_sec=0.2)) as door:
        reader, writer = await door.connect()
        writer.write(b"\x16\x03\x01")
        assert await closed(reader) == b""
        await door.refusals.wait_for(RejectionReason.SLOW)


async def test_who_does_not_read_the_answer_is_cut_off(open_endpoint: OpenIt) -> None:
    async with open_endpoint(limits=EndpointLimits(answer_sec=1.5)) as door:
        _, writer = await door.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await door.refusals.wait_for(RejectionReason.SLOW)


async def test_an_idle_connection_is_closed_and_not_blamed(open_endpoint: OpenIt) -> None:
    async with open_endpoint(limits=EndpointLimits(idle_sec=0.1)) as door:
        reader, writer = await door.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"up 1" in await closed(reader)
        writer.close()
        assert not door.refusals.counts


async def test_fifty_clients_at_once_are_all_served(
    open_endpoint: OpenIt, web_file: Path, keys: Keys
) -> None:
    write(web_file, {**tls(keys), "basic_auth_users": {"prom": HASH}})
    # Each waits for its turn among all the handshakes, and both sides take turns in this process.
    patient = EndpointLimits(handshake_sec=60.0, head_sec=60.0)
    async with open_endpoint(web_file, limits=patient) as door:
        headers = basic("prom", PASSWORD)
        assert (await door.get(headers=headers))[0] == 200
        answers = await asyncio.gather(*(door.get(headers=headers) for _ in range(50)))
        assert {answer[:2] for answer in answers} == {(200, "up 1\n")}
        assert not door.refusals.counts


async def test_a_flood_of_logins_does_not_keep_out_who_is_known(
    open_endpoint: OpenIt, users_file: Path
) -> None:
    async with open_endpoint(users_file) as door:
        known = basic("prom", PASSWORD)
        assert (await door.get(headers=known))[0] == 200
        flood = [door.get(headers=basic("prom", f"guess {n}")) for n in range(40)]
        statuses = [s for s, _, _ in await asyncio.gather(*flood, door.get(headers=known))]
        assert statuses[-1] == 200
        assert set(statuses[:-1]) <= {401, 429}


async def test_configured_headers_are_on_every_answer(
    open_endpoint: OpenIt, web_file: Path
) -> None:
    headers = {"X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=9"}
    document = {"http_server_config": {"headers": headers}, "basic_auth_users": {"prom": HASH}}
    write(web_file, document)
    async with open_endpoint(web_file) as door:
        for path in ("/metrics", "/-/healthy"):
            _, _, shown = await door.get(path)
            assert headers.items() <= shown.items()


async def test_a_new_certificate_is_shown_from_the_next_connection_on(
    open_endpoint: OpenIt, web_file: Path, keys: Keys, tmp_path: Path
) -> None:
    cert, key = tmp_path / "a.crt", tmp_path / "a.key"
    cert.write_bytes(keys.other_client[0].read_bytes())
    key.write_bytes(keys.other_client[1].read_bytes())
    write(web_file, {"tls_server_config": {"cert_file": "a.crt", "key_file": "a.key"}})

    async def shown() -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=keys.client_context())
        certificate = writer.get_extra_info("peercert")
        writer.close()
        await writer.wait_closed()
        return str(dict(part[0] for part in certificate["subject"])["commonName"])

    async with open_endpoint(web_file) as door:
        assert await shown() == "other-client"
        cert.write_bytes(keys.server[0].read_bytes())
        # Half of a change: certificate and key do not belong together.
        assert await shown() == "other-client"
        assert door.policy.last_error is not None
        key.write_bytes(keys.server[1].read_bytes())
        assert await shown() == "server"
        assert door.policy.last_error is None


async def test_a_removed_user_is_out_at_once(open_endpoint: OpenIt, users_file: Path) -> None:
    async with open_endpoint(users_file) as door:
        headers = basic("prom", PASSWORD)
        assert (await door.get(headers=headers))[0] == 200
        write(users_file, {"basic_auth_users": {"other": HASH}})
        assert (await door.get(headers=headers))[0] == 401


async def test_a_replaced_token_is_used_at_once(open_endpoint: OpenIt, token_file: Path) -> None:
    async with open_endpoint(None, token_file) as door:
        replacement = token_file.with_name("new")
        replacement.write_text("another-token-0123456789")
        os.replace(replacement, token_file)  # noqa: PTH105 - as deployments replace files
        assert (await door.get(headers=bearer(TOKEN)))[0] == 401
        assert (await door.get(headers=bearer("another-token-0123456789")))[0] == 200


async def test_bad_files_leave_the_door_as_it_was(
    open_endpoint: OpenIt, users_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setFormatter(TextFormatter())
    async with open_endpoint(users_file) as door:
        write(users_file, {"basic_auth_users": {"prom": "plain-text-password"}})
        assert (await door.get())[0] == 401
        assert (await door.get(headers=basic("prom", PASSWORD)))[0] == 200
        assert "the old access policy stays in force" in caplog.text
        assert "plain-text-password" not in caplog.text


async def test_an_answer_under_way_is_finished_when_the_door_closes(open_endpoint: OpenIt) -> None:
    async with open_endpoint() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        reading = asyncio.create_task(reader.read())
    assert len(await reading) == LARGE
    writer.close()
    await writer.wait_closed()
