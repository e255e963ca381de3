"""What signals do to a running probe."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROBE = str(Path(sys.executable).with_name("probe"))
# Nothing listens on the discard port: the probe must live with that.
OFFLINE = ("--endpoint", "ws://127.0.0.1:9", "--time-endpoint", "", "--clock-source", "shared")
WRONG = "wrongwrongwrong"
FOREVER = ("--final-scrape-wait-sec", "3600")


class Probe:
    """A running probe and the URL it announced."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.url = json.loads(process.stdout.readline())["metrics_url"]
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=20) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def value(self, series: str) -> float:
        _, text = self.get("/metrics")
        (line,) = [line for line in text.splitlines() if line.startswith(f"{series} ")]
        return float(line.split()[1])

    def wait_for_log(self, text: str) -> None:
        while text not in self.log:
            assert self.process.poll() is None, self.log
            time.sleep(0.02)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextmanager
def running(folder: Path, *arguments: str, program: Sequence[str] = (PROBE,)) -> Iterator[Probe]:
    log = folder / "probe.log"
    command = [*program, "run", "--metrics-port", "0", *OFFLINE, *arguments]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        try:
            yield Probe(process, log)
        finally:
            process.kill()


def test_after_sigterm_it_is_not_ready_and_ends_once_it_was_scraped(tmp_path: Path) -> None:
    with running(tmp_path, *FOREVER) as probe:
        probe.process.send_signal(signal.SIGTERM)
        probe.wait_for_log("stopping signal=SIGTERM")
        assert probe.get("/-/ready") == (503, "stopping\n")
        assert probe.get("/-/healthy") == (200, "OK\n")
        status, text = probe.get("/metrics")
        assert status == 200
        assert "feed_probe_info" in text
        assert probe.process.wait(timeout=30) == 0


def test_after_sigterm_it_waits_no_longer_than_told(tmp_path: Path) -> None:
    with running(tmp_path, "--final-scrape-wait-sec", "0.1") as probe:
        assert probe.end(signal.SIGTERM) == 0


def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    with running(tmp_path, *FOREVER) as probe:
        probe.process.send_signal(signal.SIGTERM)
        probe.wait_for_log("stopping signal=SIGTERM")
        assert probe.end(signal.SIGTERM) == 0


def test_sigint_waits_for_no_scrape(tmp_path: Path) -> None:
    with running(tmp_path, *FOREVER) as probe:
        assert probe.end(signal.SIGINT) == 0


def test_sighup_reads_the_web_configuration_again_and_keeps_the_old_if_it_is_bad(
    tmp_path: Path,
) -> None:
    web = tmp_path / "web.yml"
    web.write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    successful = "feed_config_last_reload_successful"
    with running(tmp_path, "--web-config-file", str(web)) as probe:
        assert probe.value(successful) == 1
        since = probe.value("feed_config_last_reload_success_timestamp_seconds")
        web.write_text("http_server_config: {headers: {X-Frame-Options: maybe}}\n")
        probe.process.send_signal(signal.SIGHUP)
        probe.wait_for_log("the old access policy stays in force")
        probe.wait_for_log(f'error="{web}: http_server')
        assert probe.value(successful) == 0
        web.write_text("http_server_config: {headers: {X-Frame-Options: sameorigin}}\n")
        probe.process.send_signal(signal.SIGHUP)
        probe.wait_for_log(f"read again changed={web}")
        assert probe.value(successful) == 1
        assert probe.value("feed_config_last_reload_success_timestamp_seconds") > since


def test_sighup_reads_the_api_key_again(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("FIRSTKEY")
    sbe = ("--market", "sbe", "--streams", "trade", "--api-key-file", str(key))
    with running(tmp_path, *sbe) as probe:
        key.write_text("not a key")
        probe.process.send_signal(signal.SIGHUP)
        probe.wait_for_log("the old API key stays in use")
        assert probe.value("feed_config_last_reload_successful") == 0
        key.write_text("SECONDKEY")
        probe.process.send_signal(signal.SIGHUP)
        probe.wait_for_log("the API key has changed")
        assert probe.value("feed_config_last_reload_successful") == 1


def test_it_measures_although_nothing_can_be_written_to_its_output(tmp_path: Path) -> None:
    log = tmp_path / "probe.log"
    command = [PROBE, "run", "--metrics-port", "0", *OFFLINE]
    with (
        log.open("wb") as stderr,
        Path("/dev/full").open("wb") as stdout,
        subprocess.Popen(command, stdout=stdout, stderr=stderr) as process,
    ):
        try:
            while "connect_failed" not in log.read_text(encoding="utf-8"):
                assert process.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
    logged = log.read_text(encoding="utf-8")
    assert 'standard output cannot be written error="No space left on device"' in logged
    assert "metrics_url=http://127.0.0.1:" in logged
    assert "Traceback" not in logged


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--web-config-file", "/nowhere.yml"), "probe: /nowhere.yml: cannot be read"),
        (("--bearer-token-file", "/nowhere"), "probe: --bearer-token-file /nowhere: No such file"),
    ],
)
def test_files_that_cannot_be_used_at_the_start_end_it_with_exit_code_2(
    arguments: tuple[str, ...], message: str
) -> None:
    done = subprocess.run(
        [PROBE, "run", *OFFLINE, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(message)


def test_no_secret_is_shown_anywhere(tmp_path: Path) -> None:
    """Token, password hash and API key: log, output, every page and the list of processes."""
    secrets = {
        "token": "tokentokentokentoken",
        "key": "APIKEYAPIKEY",
        "web": "$2b$04$abcdefghijklmnopqrstuuWpFwc2bRtTVX/EdhPpsXgzeEbyiDSMy",
    }
    token, key, web = tmp_path / "token", tmp_path / "key", tmp_path / "web.yml"
    token.write_text(secrets["token"])
    key.write_text(secrets["key"])
    web.write_text(f"basic_auth_users: {{prom: '{secrets['web']}'}}\n")
    arguments = (
        *("--market", "sbe", "--streams", "trade", "--log-level", "debug"),
        *("--api-key-file", str(key), "--bearer-token-file", str(token)),
        *("--web-config-file", str(web)),
    )
    with running(tmp_path, *arguments) as probe:
        pages = []
        for path in ("/", "/metrics", "/status", "/samples", "/-/healthy", "/-/ready", "/none"):
            for authorization in (
                f"Bearer {secrets['token']}",
                "Bearer wrongwrongwrong",
                "Basic x",
            ):
                request = urllib.request.Request(
                    probe.url + path, headers={"Authorization": authorization}
                )
                try:
                    with urllib.request.urlopen(request, timeout=20) as response:
                        pages.append(f"{response.headers}{response.read().decode()}")
                except urllib.error.HTTPError as error:
                    with error:
                        pages.append(f"{error.headers}{error.read().decode()}")
        probe.process.send_signal(signal.SIGHUP)
        probe.wait_for_log("read again")
        pages.append(Path(f"/proc/{probe.process.pid}/cmdline").read_text(encoding="utf-8"))
        assert probe.end(signal.SIGINT) == 0
        assert probe.process.stdout is not None
        pages += [probe.log, probe.process.stdout.read()]
    assert any("feed_messages_total" in page for page in pages)
    for secret in [*secrets.values(), WRONG]:
        assert not [page for page in pages if secret in page]
