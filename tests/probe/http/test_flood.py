"""A real probe under a flood of strangers: no authenticated scrape fails."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import bcrypt

from latency_sweep.lab.faults.endpoint_flood import Endpoint, flood

PROBE = str(Path(sys.executable).with_name("probe"))
PASSWORD = "right one"
SECONDS, INTERVAL_SEC = 12.0, 0.1


def test_strangers_do_not_fail_one_authenticated_scrape(tmp_path: Path) -> None:
    digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    web_config = tmp_path / "web.yml"
    web_config.write_text(json.dumps({"basic_auth_users": {"prom": digest}}))
    command = [
        *(PROBE, "run", "--metrics-port", "0", "--web-config-file", str(web_config)),
        *("--endpoint", "ws://127.0.0.1:9", "--time-endpoint", "", "--clock-source", "shared"),
        *("--final-scrape-wait-sec", "0"),
    ]
    log = tmp_path / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as probe,
    ):
        try:
            assert probe.stdout is not None
            port = int(json.loads(probe.stdout.readline())["metrics_url"].rpartition(":")[2])
            endpoint = Endpoint(port, "prom", PASSWORD)
            report = asyncio.run(flood(endpoint, seconds=SECONDS, interval_sec=INTERVAL_SEC))
        finally:
            probe.terminate()
    assert not report.failures
    assert report.scrapes >= 20
    assert report.most_held == 256
    assert report.guesses >= 12
    assert 200 not in report.guess_statuses
    assert "Traceback" not in log.read_text()
