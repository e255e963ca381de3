"""Can strangers make an authenticated scrape of the probe fail?

A real probe with one user asks for a password of bcrypt's cost 10. Two strangers hold 256
connections, twelve guess passwords as fast as they are answered, and a client scrapes, every second
time on a new connection. Exits with 1 if a scrape fails.

    python benchmarks/endpoint_flood.py --minutes 10 --tls
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt

from latency_sweep.lab.faults.endpoint_flood import Endpoint, FloodReport, flood
from latency_sweep.lab.local.stack import console_command
from latency_sweep.lab.local.tls import make_certificates

if TYPE_CHECKING:
    from collections.abc import Sequence

_COST = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flood; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--interval-sec", type=float, default=0.5, help="between scrapes")
    parser.add_argument("--tls", action="store_true", help="with a certificate on the endpoint")
    parser.add_argument(
        "--one-address", action="store_true", help="strangers have the scraper's address"
    )
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        report = _run(
            Path(folder),
            seconds=given.minutes * 60,
            interval_sec=given.interval_sec,
            tls=given.tls,
            one_address=given.one_address,
        )
    print(f"scrapes                {report.scrapes:8}")
    print(f"failed                 {len(report.failures):8}  {'; '.join(report.failures[:5])}")
    print(f"slowest                {report.slowest_sec:8.3f} s")
    print(f"connections held, most {report.most_held:8}")
    print(f"passwords guessed      {report.guesses:8}  answers {report.guess_statuses}")
    return 1 if report.failures else 0


def _run(
    folder: Path, *, seconds: float, interval_sec: float, tls: bool, one_address: bool
) -> FloodReport:
    password, context = secrets.token_hex(16), None
    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(_COST)).decode()
    document: dict[str, dict[str, str]] = {"basic_auth_users": {"prometheus": digest}}
    if tls:
        files = make_certificates(folder)
        context = ssl.create_default_context(cafile=files.ca)
        document["tls_server_config"] = {"cert_file": str(files.cert), "key_file": str(files.key)}
    web_config = folder / "web.yml"
    web_config.write_text(json.dumps(document))
    command = [
        console_command("probe"),
        *("run", "--metrics-port", "0", "--web-config-file", str(web_config)),
        *("--endpoint", "ws://127.0.0.1:9", "--time-endpoint", "", "--clock-source", "shared"),
        *("--final-scrape-wait-sec", "0"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as probe:
        try:
            assert probe.stdout is not None
            port = int(json.loads(probe.stdout.readline())["metrics_url"].rpartition(":")[2])
            endpoint = Endpoint(port, "prometheus", password, context)
            return asyncio.run(
                flood(endpoint, seconds=seconds, interval_sec=interval_sec, one_address=one_address)
            )
        finally:
            probe.terminate()


if __name__ == "__main__":
    sys.exit(main())
