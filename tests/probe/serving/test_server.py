"""The probe's HTTP side."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import ssl
import time
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from latency_sweep.contract import metrics
from latency_sweep.lab.local.prometheus_process import running_with
from latency_sweep.probe.connection.session import Session
from latency_sweep.probe.http.policy import LivePolicy
from latency_sweep.probe.options import settings_of
from latency_sweep.probe.serving.server import ListenError, ProbeServer
from latency_sweep.probe.serving.state_collector import StateCollector
from latency_sweep.probe.summary.collect import ProbeParts
from latency_sweep.prometheus.version import NATIVE_HISTOGRAMS_BY_CONFIG
from latency_sweep.runtime.loopback import get_json
from tests.probe.timelines import ONE_RUN
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from latency_sweep.contract.timeline import Run
    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.probe.feeds.binance_spot import BinanceSpot
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.measurement.recorder import Recorder

PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


@pytest.fixture
async def session(feed: BinanceSpot, recorder: Recorder, instruments: Instruments) -> Session:
    return Session([feed], ONE_RUN, recorder, instruments, tls=ssl.create_default_context())


@pytest.fixture
async def client(
    registry: CollectorRegistry, recorder: Recorder, session: Session, instruments: Instruments
) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client of a probe named `<exp>`, to see that it is escaped."""
    registry.register(StateCollector("spot", recorder, session))
    server = ProbeServer(
        settings_of(["--experiment-id", "<exp>", "--metrics-port", "0"], {}),
        registry,
        ProbeParts("spot", "ws://127.0.0.1:1", "socket", recorder, session, instruments),
        version="1.2.3",
        policy=LivePolicy(None, None),
        rejected=lambda reason: instruments.rejected_requests.labels(reason.value).inc(),
    )
    port = await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        yield client
    await server.stop()


# Addresses kept for documentation: no host has them.
@pytest.mark.parametrize(
    ("host", "place"), [("203.0.113.9", "203.0.113.9:0"), ("2001:db8::1", "[2001:db8::1]:0")]
)
async def test_an_address_that_is_not_of_this_host_is_what_to_change(
    host: str,
    place: str,
    registry: CollectorRegistry,
    recorder: Recorder,
    session: Session,
    instruments: Instruments,
) -> None:
    server = ProbeServer(
        settings_of(["--metrics-host", host, "--metrics-port", "0"], {}),
        registry,
        ProbeParts("spot", "ws://127.0.0.1:1", "socket", recorder, session, instruments),
        version="1.2.3",
        policy=LivePolicy(None, None),
        rejected=lambda _: None,
    )
    with pytest.raises(ListenError) as caught:
        await server.start()
    sentence = rf"cannot listen on {re.escape(place)}: [^;()]+; choose another --metrics-host\."
    assert re.fullmatch(sentence, str(caught.value))


def record_one(recorder: Recorder, feed: BinanceSpot, run: Run, frames: Any) -> None:
    recorder.begin_run(run)
    event = run.measure_start_ns
    connection = recorder.receiver(feed, recorder.lines[0], lambda: None)
    connection.record([frames.trade(7, event)], False, event + 2_000_000, event + 3_000_000)
    connection.record([frames.book_ticker(8)], False, event + 2_000_000, event + 3_000_000)


async def test_prometheus_gets_protobuf(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics", headers={"Accept": PROTOBUF}) as response:
        assert response.status == 200
        assert response.content_type == "application/vnd.google.protobuf"
        assert b"feed_messages_total" in await response.read()


async def test_classic_buckets_in_protobuf_are_for_who_asks(client: aiohttp.ClientSession) -> None:
    async def size(query: str) -> int:
        async with client.get(f"/metrics{query}", headers={"Accept": PROTOBUF}) as response:
            return len(await response.read())

    # Fifty buckets of at least 11 bytes for each histogram; other values vary by a few bytes.
    asked = [await size(query) for query in ("?classic=1", "?classic=true")]
    others = [await size(query) for query in ("", "?classic=0", "?classic=false", "?other=1")]
    assert min(asked) > max(others) + 50 * 11


async def test_another_value_of_classic_is_an_error(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics?classic=yes") as response:
        assert response.status == 400
        assert "give 1" in await response.text()


async def test_a_real_prometheus_takes_both_kinds_of_buckets_where_it_is_told_to(
    client: aiohttp.ClientSession, prometheus_binaries: Binaries, tmp_path: Path
) -> None:
    assert client._base_url is not None
    by_config = prometheus_binaries.version >= NATIVE_HISTOGRAMS_BY_CONFIG
    common = {
        "static_configs": [{"targets": [f"127.0.0.1:{client._base_url.port}"]}],
        **({"scrape_native_histograms": True} if by_config else {}),
    }
    both = {"always_scrape_classic_histograms": True}
    jobs = [
        {"job_name": "both", **common, **both, "params": {"classic": ["1"]}},
        {"job_name": "without parameter", **common, **both},
        {"job_name": "native", **common},
    ]
    configuration = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}

    def jobs_with(url: str, query: str) -> set[str]:
        try:
            series = get_json(f"{url}/api/v1/query", query=query)["data"]["result"]
        except requests.RequestException:
            return set()
        return {one["metric"]["job"] for one in series}

    def check() -> None:
        with running_with(json.dumps(configuration), prometheus_binaries, tmp_path) as prometheus:
            url, everyone = prometheus.url, {"both", "without parameter", "native"}
            native = "histogram_count(feed_loop_delay_seconds)"
            wait_until("native", lambda: jobs_with(url, native) == everyone)
            assert jobs_with(url, "feed_loop_delay_seconds_bucket{le='+Inf'}") >= {"both"}
            assert jobs_with(url, "feed_loop_delay_seconds_bucket{le!='+Inf'}") == {"both"}

    await asyncio.to_thread(check)


async def test_a_browser_gets_text(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics", headers={"Accept": "text/html,*/*;q=0.8"}) as response:
        assert response.content_type == "text/plain"
        assert "# TYPE feed_messages_total counter" in await response.text()


async def test_gzip_on_request(client: aiohttp.ClientSession) -> None:
    url = client._base_url
    assert url is not None
    async with (
        aiohttp.ClientSession(url, auto_decompress=False) as raw,
        raw.get("/metrics", headers={"Accept-Encoding": "gzip"}) as response,
    ):
        assert response.headers["Content-Encoding"] == "gzip"
        assert b"feed_messages_total" in gzip.decompress(await response.read())


async def test_every_metric_of_the_contract_is_exposed(
    client: aiohttp.ClientSession,
    recorder: Recorder,
    feed: BinanceSpot,
    instruments: Instruments,
    run: Run,
    frames: Any,
) -> None:
    record_one(recorder, feed, run, frames)
    async with client.get("/metrics") as response:
        text = await response.text()
    exposed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {metric.name for metric in metrics.ALL} <= exposed


async def test_promtool_accepts_what_is_exposed(
    client: aiohttp.ClientSession,
    recorder: Recorder,
    feed: BinanceSpot,
    run: Run,
    frames: Any,
    promtool_binary: Path,
) -> None:
    record_one(recorder, feed, run, frames)
    async with client.get("/metrics") as response:
        body = await response.read()
    check = await asyncio.create_subprocess_exec(
        promtool_binary, "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    output, complaints = await check.communicate(body)
    assert (check.returncode, output, complaints) == (0, b"", b"")


async def test_counters_start_at_zero_for_every_channel(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as response:
        text = await response.text()
    for stream in ("trade", "aggTrade", "depth@100ms", "bookTicker"):
        labels = f'{{market="spot",stream="{stream}",symbol="BTCUSDT"}}'
        assert f"feed_messages_total{labels} 0.0" in text
        shown = f"feed_messages_lost_total{labels}" in text
        assert shown == (stream != "bookTicker")


async def test_healthy_as_long_as_it_answers(client: aiohttp.ClientSession) -> None:
    async with client.get("/-/healthy") as response:
        assert (response.status, await response.text()) == (200, "OK\n")


async def test_not_ready_until_connected(
    client: aiohttp.ClientSession, session: Session, feed: BinanceSpot
) -> None:
    async with client.get("/-/ready") as response:
        assert (response.status, await response.text()) == (503, "not connected\n")
    session.connectivity.opened(feed, "0", "127.0.0.1")
    async with client.get("/-/ready") as response:
        assert (response.status, await response.text()) == (503, "warming up\n")


async def test_status_summarises_every_stream(
    client: aiohttp.ClientSession, recorder: Recorder, feed: BinanceSpot, run: Run, frames: Any
) -> None:
    record_one(recorder, feed, run, frames)
    async with client.get("/status") as response:
        status = await response.json()
    assert status["info"]["version"] == "1.2.3"
    trade = next(s for s in status["streams"] if s["stream"] == "trade")
    assert trade["messages"] == 1
    assert trade["latency"]["count"] == 1
    for key in ("min", "max", "mean", "p50", "p90", "p95", "p99", "p99.9"):
        assert trade["latency"][f"{key}_sec"] == pytest.approx(0.002, rel=0.003), key
    ticker = next(s for s in status["streams"] if s["stream"] == "bookTicker")
    assert "latency" not in ticker
    assert status["counters"]["feed_messages_total"] == 2


async def test_status_before_the_first_message_has_no_numbers_yet(
    client: aiohttp.ClientSession, recorder: Recorder, run: Run
) -> None:
    recorder.begin_run(run)
    async with client.get("/status") as response:
        status = await response.json()
    latency = status["streams"][0]["latency"]
    assert latency.pop("count") == 0
    assert set(latency.values()) == {None}


async def test_samples_show_what_was_received(
    client: aiohttp.ClientSession, recorder: Recorder, feed: BinanceSpot, run: Run, frames: Any
) -> None:
    record_one(recorder, feed, run, frames)
    async with client.get("/samples") as response:
        trade, ticker = await response.json()
    assert (trade["stream"], trade["first_id"]) == ("trade", 7)
    assert trade["event_ns"] == run.measure_start_ns
    assert trade["latency_sec"] == pytest.approx(0.002)
    assert (ticker["event_ns"], ticker["latency_sec"]) == (None, None)


async def test_landing_page_links_and_escapes(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as response:
        page = await response.text()
    assert "&lt;exp&gt;" in page
    assert "<exp>" not in page
    for path in ("metrics", "status", "samples", "-/healthy", "-/ready"):
        assert f'href="{path}"' in page


HOSTILE = "\"><script>alert('1')</script>\\ {}\u202e\U0001f600%s"


async def test_hostile_label_values_are_escaped_and_come_back_as_they_were(
    client: aiohttp.ClientSession, instruments: Instruments, promtool_binary: Path
) -> None:
    told = ("1", HOSTILE, f"{HOSTILE}\n# TYPE x counter\n", "local", "local", "local", "socket")
    instruments.probe_info.labels(*told).set(1)
    async with client.get("/metrics") as response:
        body = await response.read()
    check = await asyncio.create_subprocess_exec(
        promtool_binary, "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    assert await check.communicate(body) == (b"", b"")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    (sample,) = families["feed_probe_info"].samples
    assert sample.labels["experiment"] == HOSTILE
    assert sample.labels["region"] == f"{HOSTILE}\n# TYPE x counter\n"
    assert "x" not in families


async def test_unknown_paths_and_methods_are_refused(client: aiohttp.ClientSession) -> None:
    async with client.get("/nothing") as response:
        assert response.status == 404
    async with client.post("/metrics") as response:
        assert response.status == 405


async def test_run_and_phase_are_exposed(client: aiohttp.ClientSession, recorder: Recorder) -> None:
    recorder.begin_run(ONE_RUN.run_at(time.time_ns()))
    async with client.get("/metrics") as response:
        text = await response.text()
    assert 'phase="measure"' in text
    assert "feed_run_phase_started_timestamp_seconds" in text
