"""A real Prometheus comes in with a password, a token or a certificate, and not without."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
import requests
import yaml

from latency_sweep.lab.local.prometheus_process import running_with
from latency_sweep.lab.local.stack import console_command
from latency_sweep.runtime.child import Child
from latency_sweep.runtime.loopback import get_json
from tests.probe.http.conftest import SigningCa
from tests.waiting import WITHIN_SEC, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from latency_sweep.lab.binaries.prometheus_binary import Binaries

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

PASSWORD = "a password"
TOKEN = "a-token-of-many-characters"


def start_probe(stack: ExitStack, folder: Path, name: str, *arguments: str | Path) -> str:
    """Start a probe; its address."""
    command = [
        console_command("probe"),
        *("run", "--metrics-port", "0", "--final-scrape-wait-sec", "0", "--endpoint"),
        *("ws://127.0.0.1:9", "--time-endpoint", "", "--clock-source", "shared"),
        *arguments,
    ]
    child = stack.enter_context(Child(name, command, folder=folder))
    child.wait_until(
        lambda: b"\n" in child.output.read_bytes(), within_sec=WITHIN_SEC, what="listen"
    )
    url: str = json.loads(child.output.read_text())["metrics_url"]
    assert url.startswith("https://")
    return url.removeprefix("https://")


def job(name: str, address: str, ours: SigningCa, **options: Any) -> dict[str, Any]:
    tls = {"ca_file": str(ours.file), **options.pop("tls", {})}
    return {
        "job_name": name,
        "scheme": "https",
        "tls_config": tls,
        "static_configs": [{"targets": [address]}],
        **options,
    }


def test_prometheus_scrapes_with_what_is_asked_for_and_not_without(
    prometheus_binaries: Binaries, tmp_path: Path
) -> None:
    ours = SigningCa(tmp_path, "ours")
    server, client = ours.sign("server"), ours.sign("client")
    section: dict[str, Any] = {"cert_file": str(server[0]), "key_file": str(server[1])}
    digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
    users, mutual, token = (tmp_path / name for name in ("users.yml", "mutual.yml", "token"))
    users.write_text(
        json.dumps({"tls_server_config": section, "basic_auth_users": {"prom": digest}})
    )
    mutual.write_text(
        json.dumps(
            {
                "tls_server_config": {
                    **section,
                    "client_auth_type": "RequireAndVerifyClientCert",
                    "client_ca_file": str(ours.file),
                    "client_allowed_sans": ["client"],
                }
            }
        )
    )
    token.write_text(TOKEN)
    with ExitStack() as stack:
        asked = start_probe(
            stack, tmp_path, "asked", "--web-config-file", users, "--bearer-token-file", token
        )
        shown = start_probe(stack, tmp_path, "shown", "--web-config-file", mutual)
        password = {"username": "prom", "password": PASSWORD}
        certificate = {"cert_file": str(client[0]), "key_file": str(client[1])}
        jobs = [
            job("password", asked, ours, basic_auth=password),
            job("token", asked, ours, authorization={"credentials_file": str(token)}),
            job("nothing", asked, ours),
            job("certificate", shown, ours, tls=certificate),
            job("no_certificate", shown, ours),
        ]
        configuration = yaml.safe_dump(
            {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
        )
        prometheus = stack.enter_context(running_with(configuration, prometheus_binaries, tmp_path))
        url = f"{prometheus.url}/api/v1/query"

        def values(query: str) -> dict[str, float]:
            try:
                series = get_json(url, query=query)["data"]["result"]
            except requests.RequestException:
                return {}
            return {
                s["metric"].get("job", s["metric"].get("reason", "")): float(s["value"][1])
                for s in series
            }

        wait_until("all scraped", lambda: len(values("up")) == len(jobs))
        expected = {
            "password": 1.0,
            "token": 1.0,
            "nothing": 0.0,
            "certificate": 1.0,
            "no_certificate": 0.0,
        }
        wait_until("as expected", lambda: values("up") == expected)
        refusals = "max by (reason) (feed_http_rejected_requests_total) > 0"
        wait_until(
            "counted",
            lambda: values(refusals).keys() == {"unauthenticated", "no_client_certificate"},
        )
        # Native histograms come through the same door.
        wait_until(
            "native histograms",
            lambda: values("histogram_count(feed_loop_delay_seconds)").keys() >= {"password"},
        )
